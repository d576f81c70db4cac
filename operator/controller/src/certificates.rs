//! The certificates of listeners in words: which are served, by how many gateways, and until when.
//!
//! Pure: in, the snapshot of a fleet and how many of its gateways serve its certificates; out, sentences that are true now.

use std::collections::BTreeMap;

use gateway_snapshot::{Certificate, Key, Snapshot};
use jiff::Timestamp;

/// What is to be said of a listener's certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Behind the listener's own message.
    pub(crate) note: String,
    /// Of those that end soon: part of the note, too.
    pub(crate) alarms: Vec<String>,
}

/// Of each listener with TLS, by its key. `served`: how many gateways of how many serve these very certificates.
pub(crate) fn said(snapshot: &Snapshot, served: (usize, usize), now: Timestamp) -> BTreeMap<Key, Said> {
    let of_listener = |(key, listener): (&Key, &gateway_snapshot::Listener)| {
        let mut said = Said::default();
        for name in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let Some(certificate) = snapshot.certificates.get(name) else { continue };
            let (what, alarm) = one(name, certificate, served, now);
            said.note.push_str("; ");
            said.note.push_str(&what);
            said.alarms.extend(alarm);
        }
        (key.clone(), said)
    };
    snapshot.listeners.iter().map(of_listener).filter(|(_, said)| !said.note.is_empty()).collect()
}

fn one(
    name: &Key,
    certificate: &Certificate,
    (served, all): (usize, usize),
    now: Timestamp,
) -> (String, Option<String>) {
    let Certificate { serial, not_after, .. } = certificate;
    let until =
        Timestamp::from_second(*not_after).map_or_else(|_| "for ever".to_owned(), |end| end.to_string());
    let known = format!("certificate {name} (serial {serial}, not after {until})");
    let alarm = match certificate {
        _ if now.as_second() >= *not_after => Some(format!("{known} has expired: renew it in its Secret")),
        _ if certificate.ends_soon(now.as_second()) => {
            Some(format!("{known} ends soon and has not been renewed"))
        }
        _ => None,
    };
    (format!("{}, served by {served} of {all}", alarm.as_ref().unwrap_or(&known)), alarm)
}

#[cfg(test)]
mod tests {
    use gateway_snapshot::{Listener, ListenerProtocol, ListenerTls};

    use super::*;

    const DAY: i64 = 86_400;

    fn at(days: i64) -> String {
        let mut snapshot = Snapshot::default();
        let tls = ListenerTls { certificates: vec!["shop/tls".to_owned()], callers: None };
        let listener = Listener {
            gateway: "shop/web".to_owned(),
            name: "https".to_owned(),
            port: 443,
            protocol: ListenerProtocol::Https,
            hostname: None,
            tls: Some(tls),
            client_certificate: None,
        };
        let plain = Listener { tls: None, protocol: ListenerProtocol::Http, port: 80, ..listener.clone() };
        snapshot.listeners.insert("shop/web/https".to_owned(), listener);
        snapshot.listeners.insert("shop/web/http".to_owned(), plain);
        let certificate = Certificate {
            chain: String::new(),
            key: String::new(),
            names: vec![],
            serial: "0a".to_owned(),
            not_before: 0,
            not_after: 90 * DAY,
        };
        snapshot.certificates.insert("shop/tls".to_owned(), certificate);
        let said = said(&snapshot, (1, 2), Timestamp::from_second(days * DAY).unwrap());
        assert_eq!(said.len(), 1, "nothing is said of a listener without TLS");
        let Said { note, alarms } = &said["shop/web/https"];
        assert!(alarms.iter().all(|alarm| note.contains(alarm)));
        format!("{}{note}", alarms.len())
    }

    #[test]
    fn a_certificate_is_named_with_its_end_and_an_end_near_by_is_an_alarm() {
        let name = "; certificate shop/tls (serial 0a, not after 1970-04-01T00:00:00Z)";
        assert_eq!(at(1), format!("0{name}, served by 1 of 2"));
        assert_eq!(at(83), format!("0{name}, served by 1 of 2"));
        assert_eq!(at(84), format!("1{name} ends soon and has not been renewed, served by 1 of 2"));
        assert_eq!(at(90), format!("1{name} has expired: renew it in its Secret, served by 1 of 2"));
    }
}
