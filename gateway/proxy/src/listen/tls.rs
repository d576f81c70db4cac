//! Termination of TLS: certificates by server name, replaced while connections are open.
//!
//! In: the certificates that a port's listeners name. Out: one `rustls` configuration per port, whose resolver
//! looks into a table that is swapped as a whole: handshakes under way keep what they have, sessions stay
//! resumable. Never logs a key.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_snapshot::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};

use super::callers::Callers;

/// A certificate that cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The chain is not PEM, or empty.
    #[error("the chain is not a PEM certificate chain")]
    Chain,
    /// The key is not PEM of a known form.
    #[error("the key is not a PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    /// Nothing to verify callers against.
    #[error("the bundle of authorities holds no PEM certificate that can be trusted")]
    Bundle,
    /// They do not belong together, or the key's kind is unknown.
    #[error("the key cannot be used with the chain: {0}")]
    Pair(#[from] rustls::Error),
}

/// Parses a certificate for serving.
pub(crate) fn certified_key(certificate: &Certificate) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain);
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(|_| TlsError::Key)?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// The process's cryptography; installs ours if nobody did.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    Arc::clone(CryptoProvider::get_default().expect("installed above"))
}

/// Certificates of one port by server name.
#[derive(Debug, Default)]
pub(crate) struct CertificateTable {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For callers that name nothing known: a certificate is better than none, and the request's host is
    /// checked by the routes.
    first: Option<Arc<CertifiedKey>>,
}

impl CertificateTable {
    /// Adds a certificate for `names`; earlier ones win.
    pub(crate) fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        self.first.get_or_insert_with(|| Arc::clone(key));
        for name in names {
            let name = name.to_ascii_lowercase();
            let (map, name) = match name.strip_prefix("*.") {
                Some(rest) => (&mut self.wildcard, rest.to_owned()),
                None => (&mut self.exact, name),
            };
            map.entry(name).or_insert_with(|| Arc::clone(key));
        }
    }

    /// The certificate for `name`: its own, or the closest wildcard above it, or the port's first.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return self.first.clone() };
        if let Some(key) = self.exact.get(&name) {
            return Some(Arc::clone(key));
        }
        let mut rest = name.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(key) = self.wildcard.get(above) {
                return Some(Arc::clone(key));
            }
            rest = above;
        }
        self.first.clone()
    }
}

/// The table in force.
#[derive(Debug, Default)]
pub(crate) struct Certificates(ArcSwap<CertificateTable>);

impl Certificates {
    /// Serves `table` from the next handshake on.
    pub(crate) fn replace(&self, table: CertificateTable) {
        self.0.store(Arc::new(table));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().find(hello.server_name())
    }
}

/// The process's cryptography, with AES-128-GCM and SHA-256 in front: processors do both by themselves, where the
/// SHA-384 of AES-256 makes a handshake a sixth dearer. Callers that offer only others get one of those.
fn preferring_aes_128() -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    Arc::new(provider)
}

/// A port's configuration: TLS 1.2 and 1.3, HTTP/2 preferred.
pub(crate) fn server_config(certificates: Arc<Certificates>, callers: Option<&Callers>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(preferring_aes_128())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider offers suites of both versions");
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(callers) => builder.with_client_cert_verifier(callers.verifier()),
    };
    let mut config = builder.with_cert_resolver(certificates);
    // Most clients put AES-256 first for no reason of their own.
    config.ignore_client_order = true;
    // Sealed tickets: any number of callers can resume, and none of them takes memory here.
    if let Ok(ticketer) = Ticketer::new() {
        config.ticketer = ticketer;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}
