//! TLS to backends whose certificate goes by other names than the server name (`subjectAltNames`).
//!
//! In: roots and names. Out: connections whose certificate was issued by one of the roots and carries one of the
//! names. pingora's TLS knows only the server name, so the handshake is done here, and pingora sees the plain side
//! of a socket pair: one copy more, and only for such backends. Must never hand on a connection before its
//! certificate is verified.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use gateway_snapshot::{BackendProtocol, BackendTls};
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_error::{ErrorType, OrErr, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;

use super::identity::ClientCertificate;
use super::tls::{UpstreamTlsError, certificates};
use super::tunnel::{connect, patient};
use crate::listen::provider;

/// Bytes that the copy holds in each direction.
const BUFFER: usize = 16 * 1024;
/// Names of protocols in a handshake (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// A checked demand; cheap to copy.
#[derive(Clone)]
pub(crate) struct Names {
    http1: TlsConnector,
    http2: TlsConnector,
    verifier: Arc<AnyName>,
    server_name: ServerName<'static>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Names {
    /// Checks the demand of a backend that has names.
    pub(super) fn new(tls: &BackendTls) -> Result<Self, UpstreamTlsError> {
        let server_name = ServerName::try_from(tls.server_name.clone())
            .map_err(|error| UpstreamTlsError::Client(error.to_string()))?;
        let names = tls.subject_alt_names.iter().map(|name| Wanted::new(name)).collect();
        let verifier = Arc::new(AnyName { roots: roots(&tls.ca)?, names, provider: provider() });
        let without = |protocol| {
            connector(&verifier, protocol, None).map_err(|error| UpstreamTlsError::Client(error.to_string()))
        };
        Ok(Self { http1: without(HTTP1)?, http2: without(HTTP2)?, verifier, server_name })
    }

    /// Makes `peer`, which pingora is to take for a plain one, connect to `address` in our way. Returns what tells
    /// the address apart among connections that are shared: pingora compares a connection's own address with the
    /// peer's before it shares it, and leaves that only for 0.0.0.0, which therefore stands for the socket pair.
    pub(super) fn place(
        &self,
        peer: &mut HttpPeer,
        address: SocketAddr,
        protocol: BackendProtocol,
        tunnel: bool,
        certificate: Option<&Arc<ClientCertificate>>,
    ) -> u64 {
        let (names, certificate) = (self.clone(), certificate.cloned());
        peer.options.custom_l4 = Some(Arc::new(Connector { names, certificate, protocol, address, tunnel }));
        peer.scheme = Scheme::HTTP;
        peer._address = PeerAddress::Inet((Ipv4Addr::UNSPECIFIED, address.port()).into());
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        hasher.finish()
    }

    /// A client for one connection. With a certificate it is made anew: connections are kept, so that is seldom.
    fn client(
        &self,
        protocol: BackendProtocol,
        certificate: Option<&ClientCertificate>,
    ) -> std::result::Result<TlsConnector, rustls::Error> {
        let (usual, name) = match protocol {
            BackendProtocol::Http1 => (&self.http1, HTTP1),
            BackendProtocol::H2 | BackendProtocol::H2c => (&self.http2, HTTP2),
        };
        match certificate {
            None => Ok(usual.clone()),
            Some(_) => connector(&self.verifier, name, certificate),
        }
    }
}

/// A client that speaks `protocol` and shows `certificate`.
fn connector(
    verifier: &Arc<AnyName>,
    protocol: &[u8],
    certificate: Option<&ClientCertificate>,
) -> std::result::Result<TlsConnector, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<AnyName>::clone(verifier));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => builder.with_client_auth_cert(certificate.chain.clone(), certificate.key())?,
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The bundle's certificates, or the system's.
fn roots(pem: &str) -> Result<RootCertStore, UpstreamTlsError> {
    let mut store = RootCertStore::empty();
    if pem.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    }
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|_| UpstreamTlsError::Certificate)?;
    }
    Ok(store)
}

struct Connector {
    names: Names,
    certificate: Option<Arc<ClientCertificate>>,
    protocol: BackendProtocol,
    address: SocketAddr,
    /// For a request that asks for another protocol.
    tunnel: bool,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, _peer: &PeerAddress) -> Result<Stream> {
        let socket = connect(self.address).await?;
        let client = self.names.client(self.protocol, self.certificate.as_deref());
        let client = client.or_err(ErrorType::InvalidCert, "the client certificate cannot be used")?;
        let mut secure = client
            .connect(self.names.server_name.clone(), socket)
            .await
            .or_err(ErrorType::TLSHandshakeFailure, "the handshake failed")?;
        if self.tunnel {
            return Ok(patient(secure));
        }
        let (near, mut far) =
            UnixStream::pair().or_err(ErrorType::ConnectError, "cannot make a socket pair")?;
        tokio::spawn(async move {
            // Either side's end or failure ends the other, which sees it as its own.
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut secure, &mut far, BUFFER, BUFFER).await;
        });
        Ok(near.into())
    }
}

/// A name that a certificate may carry.
#[derive(Debug)]
enum Wanted {
    Host(ServerName<'static>),
    /// Compared as text: URIs, and host names with a wildcard.
    Text(String),
}

impl Wanted {
    fn new(name: &str) -> Self {
        match ServerName::try_from(name.to_owned()) {
            Ok(host @ ServerName::DnsName(_)) => Self::Host(host),
            _ => Self::Text(name.to_owned()),
        }
    }

    fn is_in(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        match self {
            Self::Host(host) => verify_server_name(parsed, host).is_ok(),
            Self::Text(text) => carries(certificate, text),
        }
    }
}

/// Whether a URI of the certificate is `text` (RFC 6125, 6.5: compared exactly), or a host name as it is written.
fn carries(certificate: &CertificateDer<'_>, text: &str) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match name {
        GeneralName::URI(uri) => *uri == text,
        GeneralName::DNSName(host) => host.eq_ignore_ascii_case(text),
        _ => false,
    })
}

/// Verifies the chain as usual, and one of several names instead of the server's.
#[derive(Debug)]
struct AnyName {
    roots: RootCertStore,
    names: Vec<Wanted>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if self.names.iter().any(|name| name.is_in(certificate, &parsed)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
