//! A snapshot made ready to serve: one value, swapped as a whole, which a request keeps from start to end.
//!
//! In: a candidate's bytes. Out: everything that serving needs, or all the reasons why it cannot be served, each
//! naming the object. Nothing is changed by a candidate that is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_pipeline::Prepared;
use gateway_snapshot::{Listener, Settings, Snapshot};
use rustls::sign::CertifiedKey;

use crate::listen::{Callers, CertificateTable, HeadLimits, Limits, PortId, Wanted, certified_key};
use crate::source::Candidate;
use crate::upstream::{ClientCertificate, Interner, Upstreams};

/// What is served.
#[derive(Debug)]
pub(crate) struct Config {
    /// For decisions.
    pub(crate) prepared: Arc<Prepared>,
    /// In the order of the pipeline's backends.
    pub(crate) upstreams: Upstreams,
    /// Of connections and heads.
    pub(crate) limits: Limits,
    /// What is shown to backends, in the order of the pipeline's listeners.
    client_certificates: Vec<Option<Arc<ClientCertificate>>>,
    /// As in the snapshot.
    pub(crate) settings: Settings,
    /// As in the snapshot.
    pub(crate) version: String,
    /// Ports by listener key.
    pub(crate) listeners: BTreeMap<String, PortId>,
}

/// Reads a candidate; the version is what can be told of it even when it is refused.
pub(crate) fn read(candidate: Candidate) -> Result<Arc<Snapshot>, (String, Vec<String>)> {
    match candidate {
        Candidate::Snapshot(snapshot) => Ok(snapshot),
        Candidate::Json(bytes) => Ok(Arc::new(parse(&bytes)?)),
    }
}

fn parse(bytes: &[u8]) -> Result<Snapshot, (String, Vec<String>)> {
    serde_json::from_slice(bytes).map_err(|error| {
        let version =
            serde_json::from_slice::<VersionOnly>(bytes).map(|known| known.version).unwrap_or_default();
        (version, vec![format!("snapshot: {error}")])
    })
}

/// What any format has.
#[derive(serde::Deserialize)]
struct VersionOnly {
    version: String,
}

impl Config {
    /// Makes `snapshot` ready; what `previous` learned is kept. Also gives the ports it wants.
    pub(crate) fn prepare(
        snapshot: &Snapshot,
        previous: Option<&Self>,
        port_map: &BTreeMap<u16, u16>,
        intern: &Interner,
    ) -> Result<(Self, BTreeMap<PortId, Wanted>), Vec<String>> {
        // What is not sound in itself is not looked at any further.
        let prepared =
            Prepared::new(snapshot, previous.map(|previous| &*previous.prepared), &mut |name| intern(name))
                .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut errors = Vec::new();
        let ports = ports(snapshot, port_map).map_err(|problems| errors.extend(problems));
        let backends = snapshot.backends.iter().map(|(key, backend)| (key.as_str(), backend));
        let upstreams = Upstreams::new(backends, previous.map(|previous| &previous.upstreams), intern)
            .map_err(|problems| errors.extend(problems.iter().map(ToString::to_string)));
        let client_certificates = client_certificates(snapshot).map_err(|problems| errors.extend(problems));
        let (Ok(ports), Ok(upstreams), Ok(client_certificates)) = (ports, upstreams, client_certificates)
        else {
            return Err(errors);
        };
        let config = Self {
            prepared: Arc::new(prepared),
            upstreams,
            client_certificates,
            limits: limits(&snapshot.settings),
            settings: snapshot.settings.clone(),
            version: snapshot.version.clone(),
            listeners: snapshot.listeners.iter().map(|(key, l)| (key.clone(), port_of(key, l))).collect(),
        };
        Ok((config, ports))
    }

    /// What the Gateway of a listener shows to backends.
    pub(crate) fn client_certificate(&self, listener: Option<usize>) -> Option<&Arc<ClientCertificate>> {
        self.client_certificates.get(listener?)?.as_ref()
    }
}

/// Of each listener, in the order of their keys.
fn client_certificates(snapshot: &Snapshot) -> Result<Vec<Option<Arc<ClientCertificate>>>, Vec<String>> {
    let mut errors = Vec::new();
    let mut known: BTreeMap<&str, Arc<ClientCertificate>> = BTreeMap::new();
    for key in snapshot.listeners.values().filter_map(|listener| listener.client_certificate.as_deref()) {
        let Some(certificate) = snapshot.certificates.get(key).filter(|_| !known.contains_key(key)) else {
            continue;
        };
        match ClientCertificate::new(certificate) {
            Ok(certificate) => _ = known.insert(key, Arc::new(certificate)),
            Err(error) => errors.push(format!("certificate {key}: {error}")),
        }
    }
    let of = |listener: &Listener| known.get(listener.client_certificate.as_deref()?).cloned();
    let all = snapshot.listeners.values().map(of).collect();
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// The ports that `snapshot` wants.
pub(crate) fn ports(
    snapshot: &Snapshot,
    port_map: &BTreeMap<u16, u16>,
) -> Result<BTreeMap<PortId, Wanted>, Vec<String>> {
    let mut errors = Vec::new();
    let keys = certificates(snapshot, &mut errors);
    let ports = wanted(snapshot, &keys, port_map, &mut errors);
    if errors.is_empty() { Ok(ports) } else { Err(errors) }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        connections: settings.max_connections as usize,
        head: HeadLimits {
            fields: settings.max_headers as usize,
            bytes: settings.max_header_bytes as usize,
            target: settings.max_uri_bytes as usize,
        },
        head_time: Duration::from_millis(settings.header_timeout_ms.max(1)),
        idle: Duration::from_millis(settings.idle_timeout_ms.max(1)),
    }
}

fn certificates<'a>(
    snapshot: &'a Snapshot,
    errors: &mut Vec<String>,
) -> BTreeMap<&'a str, Arc<CertifiedKey>> {
    let mut keys = BTreeMap::new();
    for (key, certificate) in &snapshot.certificates {
        match certified_key(certificate) {
            Ok(certified) => _ = keys.insert(key.as_str(), certified),
            Err(error) => errors.push(format!("certificate {key}: {error}")),
        }
    }
    keys
}

fn port_of(key: &str, listener: &Listener) -> PortId {
    if listener.port == 0 { PortId::Any(key.to_owned()) } else { PortId::Number(listener.port) }
}

/// The ports of all listeners; those of one port must agree on TLS.
fn wanted(
    snapshot: &Snapshot,
    keys: &BTreeMap<&str, Arc<CertifiedKey>>,
    port_map: &BTreeMap<u16, u16>,
    errors: &mut Vec<String>,
) -> BTreeMap<PortId, Wanted> {
    let mut by_port: BTreeMap<PortId, Vec<(&String, &Listener)>> = BTreeMap::new();
    for (key, listener) in &snapshot.listeners {
        by_port.entry(port_of(key, listener)).or_default().push((key, listener));
    }
    let mut ports = BTreeMap::new();
    for (id, listeners) in by_port {
        let (first, listener) = listeners[0];
        if let Some((other, _)) =
            listeners.iter().find(|(_, other)| other.tls.is_some() != listener.tls.is_some())
        {
            errors.push(format!(
                "listener {other}: port {} is plain and TLS at once (see {first})",
                listener.port
            ));
            continue;
        }
        let certificates = listener.tls.is_some().then(|| table(snapshot, &listeners, keys));
        let callers = listener.tls.as_ref().and_then(|tls| tls.callers.as_ref()).map(Callers::new);
        let callers = callers.transpose().unwrap_or_else(|error| {
            errors.push(format!("listener {first}: certificates of callers: {error}"));
            None
        });
        let socket_port = port_map.get(&listener.port).copied().unwrap_or(listener.port);
        let listeners = listeners.iter().map(|(key, _)| (*key).clone()).collect();
        ports.insert(id, Wanted { socket_port, certificates, callers, listeners });
    }
    ports
}

/// The certificates of a port: first what listeners' hostnames ask for, then what the certificates name.
fn table(
    snapshot: &Snapshot,
    listeners: &[(&String, &Listener)],
    keys: &BTreeMap<&str, Arc<CertifiedKey>>,
) -> CertificateTable {
    let mut table = CertificateTable::default();
    let named = |listener: &Listener| -> Vec<(Vec<String>, Arc<CertifiedKey>)> {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        let known =
            certificates.filter_map(|key| Some((snapshot.certificates.get(key)?, keys.get(key.as_str())?)));
        known.map(|(certificate, key)| (certificate.names.clone(), Arc::clone(key))).collect()
    };
    for (_, listener) in listeners {
        let Some(hostname) = &listener.hostname else { continue };
        let certificates = named(listener);
        let fits = certificates.iter().find(|(names, _)| names.contains(hostname)).or(certificates.first());
        if let Some((_, key)) = fits {
            table.add(std::slice::from_ref(hostname), key);
        }
    }
    for (_, listener) in listeners {
        for (names, key) in named(listener) {
            table.add(&names, &key);
        }
    }
    table
}
