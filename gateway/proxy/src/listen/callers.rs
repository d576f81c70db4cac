//! Certificates of callers (GEP-91): what a port asks for in the handshake, and whom it takes.

use std::sync::Arc;

use gateway_snapshot::{CallerCertificateMode, CallerCertificates};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::tls::{TlsError, provider};

/// A checked demand.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    wanted: CallerCertificates,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl PartialEq for Callers {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted
    }
}

impl Callers {
    /// Checks a demand.
    pub(crate) fn new(wanted: &CallerCertificates) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(wanted.ca.as_bytes()) {
            roots.add(certificate.map_err(|_| TlsError::Bundle)?)?;
        }
        let valid = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| TlsError::Bundle)?;
        let verifier: Arc<dyn ClientCertVerifier> = match wanted.mode {
            CallerCertificateMode::Valid => valid,
            CallerCertificateMode::Any => Arc::new(Anyone(valid)),
        };
        Ok(Self { wanted: wanted.clone(), verifier })
    }

    /// For a port's configuration.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// Asks for a certificate, and takes callers with any or none. Who shows one must still have its key.
#[derive(Debug)]
struct Anyone(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
