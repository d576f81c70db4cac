//! The life of our CA: when its Secret is to change, and how.
//!
//! A new CA is made while the old one issues, and everybody is told to trust both; a day later it issues, and everybody's
//! certificate is made anew; when no certificate of the old one can be left, the old one is forgotten. Each step is a new
//! content of the Secret `turnpike-ca`: `tls.crt` and `tls.key` issue, `next.crt` and `next.key` will, `ca.crt` is what is
//! trusted. Pure but for making keys.

use std::collections::BTreeMap;

use crds::k8s_openapi::ByteString;
use crds::k8s_openapi::api::core::v1::Secret;
use jiff::{SignedDuration, Timestamp};
use x509_parser::pem::Pem;

use crate::identity::{BEFORE, LIFE, make_ca};

/// An annotation with any value on the Secret: the next step is taken at once.
pub(crate) const ROTATE: &str = "turnpike.dev/rotate";
/// Until everybody trusts a new CA: Pods see a changed Secret after a minute or two.
const SPREAD: SignedDuration = SignedDuration::from_hours(24);

type Data = BTreeMap<String, ByteString>;

/// What the Secret is to hold from `now` on, when that differs from what it holds.
///
/// # Errors
/// When the Secret does not hold a CA.
pub(crate) fn step(secret: &Secret, now: Timestamp) -> Result<Option<Data>, String> {
    let data = secret.data.clone().unwrap_or_default();
    let asked = secret.metadata.annotations.iter().flatten().any(|(key, _)| key == ROTATE);
    let current = text(&data, "tls.crt")?;
    let (begin, end) = validity(&current)?;
    let trusted = trusted(&data)?;
    if let Ok(next) = text(&data, "next.crt") {
        let due = asked || now >= validity(&next)?.0 + BEFORE + SPREAD;
        return Ok(due.then(|| promoted(data, next + &current)));
    }
    if trusted != current && (asked || now >= begin + BEFORE + LIFE) {
        return Ok(Some(with(data, [("ca.crt", current)])));
    }
    if asked || now >= begin + end.duration_since(begin) * 2 / 3 {
        let (certificate, key) = make_ca(now).map_err(|error| error.to_string())?;
        let trusted = trusted + &certificate;
        return Ok(Some(with(data, [("ca.crt", trusted), ("next.crt", certificate), ("next.key", key)])));
    }
    Ok(None)
}

/// All that is trusted, PEM.
pub(crate) fn trusted(data: &Data) -> Result<String, String> {
    text(data, "ca.crt").or_else(|_| text(data, "tls.crt"))
}

/// An entry as text.
pub(crate) fn text(data: &Data, key: &str) -> Result<String, String> {
    let bytes = data.get(key).ok_or(format!("{key} is missing"))?;
    String::from_utf8(bytes.0.clone()).map_err(|_| format!("{key} is not PEM"))
}

fn with<const N: usize>(mut data: Data, entries: [(&str, String); N]) -> Data {
    data.extend(entries.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))));
    data
}

fn promoted(mut data: Data, trusted: String) -> Data {
    for (next, key) in [("next.crt", "tls.crt"), ("next.key", "tls.key")] {
        let moved = data.remove(next);
        data.extend(moved.map(|bytes| (key.to_owned(), bytes)));
    }
    with(data, [("ca.crt", trusted)])
}

fn validity(pem: &str) -> Result<(Timestamp, Timestamp), String> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next().ok_or("there is no certificate")?;
    let pem = pem.map_err(|error| error.to_string())?;
    let validity = pem.parse_x509().map_err(|error| error.to_string())?.validity().clone();
    let time = |seconds| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn secret(data: Data) -> Secret {
        Secret { data: Some(data), ..Secret::default() }
    }

    fn count(data: &Data) -> usize {
        trusted(data).unwrap().matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn a_ca_is_followed_by_the_next_and_nobody_is_left_without_one_to_trust() {
        let born = Timestamp::from_second(1_800_000_000).unwrap();
        let (certificate, key) = make_ca(born).unwrap();
        let mut data = with(Data::new(), [("tls.crt", certificate.clone()), ("tls.key", key)]);
        let mut log = Vec::new();
        for day in 0..800 {
            let now = born + DAY * day;
            if let Some(after) = step(&secret(data.clone()), now).unwrap() {
                let issuer = text(&after, "tls.crt").unwrap();
                assert!(trusted(&data).unwrap().contains(&issuer), "who issues was trusted before");
                assert!(trusted(&after).unwrap().contains(&issuer), "who issues is trusted");
                log.push((day, count(&after), issuer == certificate));
                data = after;
            }
        }
        // Two thirds of a year; a day; ninety days from its making. And once more.
        assert_eq!(log[..3], [(244, 2, true), (245, 2, false), (334, 1, false)], "{log:?}");
        assert_eq!(log.len(), 8, "{log:?}");
        assert!(!data.contains_key("next.key") || count(&data) == 2);
    }

    #[test]
    fn an_annotation_takes_the_next_step_at_once() {
        let born = Timestamp::from_second(1_800_000_000).unwrap();
        let (certificate, key) = make_ca(born).unwrap();
        let mut asked = secret(with(Data::new(), [("tls.crt", certificate), ("tls.key", key)]));
        asked.metadata.annotations = Some([(ROTATE.to_owned(), String::new())].into());
        for trusted in [2, 2, 1] {
            let after = step(&asked, born).unwrap().unwrap();
            assert_eq!(count(&after), trusted);
            asked.data = Some(after);
        }
        assert!(step(&secret(Data::new()), born).unwrap_err().contains("tls.crt is missing"));
    }
}
