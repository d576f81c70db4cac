//! What a Gateway shows to backends that ask for a certificate.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use gateway_snapshot::Certificate;
use pingora_core::utils::tls::CertKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::tls::{UpstreamTlsError, certificates, wrapped};

/// A checked certificate with its key. The debug form shows neither.
pub(crate) struct ClientCertificate {
    /// As pingora takes it.
    pub(super) pair: Arc<CertKey>,
    /// For handshakes of our own, the leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Connections are shared only by those who show the same.
    pub(super) group: u64,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("group", &self.group).finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Reads a pair that the compiler has checked to belong together.
    pub(crate) fn new(certificate: &Certificate) -> Result<Self, UpstreamTlsError> {
        let chain = certificates(&certificate.chain)?;
        for der in &chain {
            wrapped(der)?;
        }
        let key =
            PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(|_| UpstreamTlsError::Key)?;
        let ders = chain.iter().map(|der| der.to_vec()).collect();
        let mut hasher = DefaultHasher::new();
        (&certificate.chain, &certificate.key).hash(&mut hasher);
        Ok(Self {
            pair: Arc::new(CertKey::new(ders, key.secret_der().to_vec())),
            chain,
            key,
            group: hasher.finish() | 1,
        })
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}
