//! Listeners and the certificates that they serve.

use serde::{Deserialize, Serialize};

use crate::{Hostname, Key};

/// Added to listener ports below 1024 where sockets are bound without a privilege.
pub const UNPRIVILEGED: u16 = 64_512;

/// One listener of a Gateway. Listeners that share a port are told apart by hostname.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `namespace/name` of its Gateway.
    pub gateway: Key,
    /// Its name within the Gateway.
    pub name: String,
    /// TCP port. 0 lets the system choose; the gateway's status tells which.
    pub port: u16,
    /// What is spoken on the port.
    pub protocol: ListenerProtocol,
    /// Only requests for this host, or for all when absent.
    pub hostname: Option<Hostname>,
    /// Present exactly when the protocol is HTTPS.
    pub tls: Option<ListenerTls>,
    /// What its Gateway shows to backends over TLS that ask for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Key>,
}

impl Listener {
    /// Keys of all certificates that it refers to.
    pub fn certificates(&self) -> impl Iterator<Item = &Key> {
        self.tls.iter().flat_map(|tls| &tls.certificates).chain(&self.client_certificate)
    }
}

/// What a listener speaks downstream; HTTP/2 is negotiated in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// Plain TCP: HTTP/1.1, or HTTP/2 with prior knowledge (RFC 9113, 3.3).
    Http,
    /// TLS terminated here.
    Https,
}

/// Termination of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates in order of preference; the first that fits the server name is served.
    pub certificates: Vec<Key>,
    /// Certificates that callers show; absent: none is asked for. Equal on all listeners of a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<CallerCertificates>,
}

/// Certificates that callers show in the handshake (GEP-91).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerCertificates {
    /// PEM bundle of the authorities that issue them.
    pub ca: String,
    /// Whether a connection needs one.
    pub mode: CallerCertificateMode,
}

/// Which connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerCertificateMode {
    /// Only those with a certificate that one of the authorities has issued.
    Valid,
    /// All, whatever they show.
    Any,
}

/// A certificate chain and its private key, checked to belong together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM (PKCS#8, PKCS#1 or SEC1).
    pub key: String,
    /// DNS names of the leaf.
    pub names: Vec<String>,
    /// Serial number of the leaf, hex.
    pub serial: String,
    /// Begin of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

impl Certificate {
    /// Whether it ought to have been renewed: less than a week is left, and less than a fifth of its life. Those who renew
    /// certificates by themselves do so when a third is left.
    pub fn ends_soon(&self, now: i64) -> bool {
        const WEEK: i64 = 7 * 24 * 3600;
        let left = self.not_after.saturating_sub(now);
        left < WEEK.min(self.not_after.saturating_sub(self.not_before) / 5)
    }
}

impl std::fmt::Debug for Certificate {
    // The private key must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
