//! Backends and their endpoints.

use serde::{Deserialize, Serialize};

/// Where requests can go: one port of a Service, or an XBackend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Ready endpoints. Empty: 503.
    #[serde(deserialize_with = "crate::tight")]
    pub endpoints: Vec<Endpoint>,
    /// What the endpoints speak.
    pub protocol: BackendProtocol,
    /// TLS towards the endpoints.
    pub tls: Option<BackendTls>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// IP address, or a DNS name that the gateway resolves.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `appProtocol` of a Service port, or the protocol of an XBackend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendProtocol {
    /// HTTP/1.1, upgrades included.
    #[default]
    Http1,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

/// TLS towards a backend (BackendTLSPolicy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendTls {
    /// Server name to ask for and, without `subject_alt_names`, to verify.
    pub server_name: String,
    /// PEM bundle; empty: the system's roots.
    pub ca: String,
    /// Names of which the certificate must carry at least one.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}
