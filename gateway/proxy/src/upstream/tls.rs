//! TLS towards upstreams: what a backend demands, in the form pingora takes it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use gateway_snapshot::BackendTls;
use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::names::Names;

/// Demands that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamTlsError {
    /// Nothing to verify against.
    #[error("the CA bundle holds no PEM certificate")]
    Bundle,
    /// A certificate of the bundle is damaged.
    #[error("the CA bundle holds a certificate that cannot be parsed")]
    Certificate,
    /// Of a certificate that is shown to backends.
    #[error("the key is not a PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    /// A client for them cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Client(String),
    /// Without a name nothing would be verified.
    #[error("the server name is empty")]
    ServerName,
}

/// Checked demands.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamTls {
    /// Asked for and, without `names`, verified.
    pub(crate) server_name: String,
    /// Roots; none: the system's.
    pub(crate) ca: Option<Arc<CaType>>,
    /// Names of which the certificate must carry one, instead of `server_name`.
    pub(crate) names: Option<Names>,
    /// Connections are shared only by equal demands.
    pub(crate) group: u64,
}

impl UpstreamTls {
    /// Checks a backend's demands.
    pub(crate) fn new(tls: &BackendTls) -> Result<Self, UpstreamTlsError> {
        if tls.server_name.is_empty() {
            // pingora verifies nothing at all without a server name.
            return Err(UpstreamTlsError::ServerName);
        }
        let mut hasher = DefaultHasher::new();
        (&tls.server_name, &tls.ca, &tls.subject_alt_names).hash(&mut hasher);
        let ca = if tls.ca.is_empty() { None } else { Some(bundle(&tls.ca)?) };
        let names = (!tls.subject_alt_names.is_empty()).then(|| Names::new(tls)).transpose()?;
        Ok(Self { server_name: tls.server_name.clone(), ca, names, group: hasher.finish() | 1 })
    }
}

/// The certificates of a bundle, at least one.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let ders = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| UpstreamTlsError::Bundle)?;
    if ders.is_empty() {
        return Err(UpstreamTlsError::Bundle);
    }
    Ok(ders)
}

fn bundle(pem: &str) -> Result<Arc<CaType>, UpstreamTlsError> {
    certificates(pem)?.iter().map(root).collect()
}

fn root(der: &CertificateDer<'static>) -> Result<WrappedX509, UpstreamTlsError> {
    rustls::RootCertStore::empty().add(der.clone()).map_err(|_| UpstreamTlsError::Certificate)?;
    wrapped(der)
}

/// A certificate in the form pingora takes it.
pub(super) fn wrapped(der: &CertificateDer<'static>) -> Result<WrappedX509, UpstreamTlsError> {
    // pingora's parser panics on what it cannot parse.
    let (rest, _) = x509_parser::parse_x509_certificate(der).map_err(|_| UpstreamTlsError::Certificate)?;
    if !rest.is_empty() {
        return Err(UpstreamTlsError::Certificate);
    }
    Ok(WrappedX509::new(der.to_vec(), parse_x509))
}
