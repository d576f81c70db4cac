//! The endpoint of gateways in a cluster: TLS with certificates of the operator's CA on both sides.
//!
//! In: connections. Out: those whose certificate names a fleet, and those of operators, apart. The files of our own
//! identity are read again when they change, for connections from then on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

/// What the URI of a fleet begins with.
const FLEET: &str = "spiffe://turnpike/fleet/";
/// The URI of operators.
const OPERATOR: &str = "spiffe://turnpike/operator";
/// For a handshake.
const PATIENCE: Duration = Duration::from_secs(5);
/// Handshakes at once; further callers wait.
const HANDSHAKES: usize = 256;
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// The files of an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("identity in {folder}: {problem}; it needs tls.crt, tls.key and ca.crt")]
pub struct IdentityError {
    folder: PathBuf,
    problem: String,
}

/// A connection and its other end.
type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Accepted connections of one kind of caller.
pub(crate) struct MutualListener {
    local: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
}

impl MutualListener {
    /// Accepts in the background until dropped. Gives the connections of fleets, and those of operators.
    pub(crate) fn start(listener: TcpListener, identity: &Path) -> Result<[Self; 2], IdentityError> {
        let failed = |problem: String| IdentityError { folder: identity.to_owned(), problem };
        let local = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let acceptor = acceptor(identity)?;
        let seen = changed(identity);
        let (fleets, of_fleets) = mpsc::channel(16);
        let (operators, of_operators) = mpsc::channel(16);
        let senders = Senders { fleets, operators };
        tokio::spawn(accept(listener, identity.to_owned(), acceptor, seen, senders));
        Ok([of_fleets, of_operators].map(|accepted| Self { local, accepted }))
    }
}

impl Listener for MutualListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// Where accepted connections go.
#[derive(Clone)]
struct Senders {
    fleets: mpsc::Sender<Accepted>,
    operators: mpsc::Sender<Accepted>,
}

async fn accept(
    listener: TcpListener,
    identity: PathBuf,
    mut acceptor: TlsAcceptor,
    mut seen: Option<SystemTime>,
    senders: Senders,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = senders.fleets.closed() => return,
        };
        let now = changed(&identity);
        if now != seen {
            match self::acceptor(&identity) {
                Ok(newest) => (acceptor, seen) = (newest, now),
                Err(error) => tracing::error!(%error, "the former identity stays in use"),
            }
        }
        let (acceptor, senders) = (acceptor.clone(), senders.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => {
                    if let Some(sender) = senders.of(&stream) {
                        _ = sender.send((stream, peer)).await;
                    } else {
                        tracing::warn!(%peer, "refused: its certificate names neither fleet nor operator");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                Err(_) => tracing::debug!(%peer, "no TLS within the time"),
            }
        });
    }
}

impl Senders {
    /// By the URI in the caller's certificate, which was verified.
    fn of(&self, stream: &TlsStream<TcpStream>) -> Option<&mpsc::Sender<Accepted>> {
        let leaf = stream.get_ref().1.peer_certificates()?.first()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(FLEET) => Some(&self.fleets),
            GeneralName::URI(OPERATOR) => Some(&self.operators),
            _ => None,
        })
    }
}

/// When the certificate was written.
fn changed(identity: &Path) -> Option<SystemTime> {
    std::fs::metadata(identity.join("tls.crt")).and_then(|about| about.modified()).ok()
}

fn acceptor(identity: &Path) -> Result<TlsAcceptor, IdentityError> {
    let failed = |problem: String| IdentityError { folder: identity.to_owned(), problem };
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let all = CertificateDer::pem_file_iter(identity.join(name))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(format!("{name}: {error}")))?;
        if all.is_empty() { Err(failed(format!("{name} holds no certificate"))) } else { Ok(all) }
    };
    let mut roots = RootCertStore::empty();
    for root in certificates("ca.crt")? {
        roots.add(root).map_err(|error| failed(format!("ca.crt: {error}")))?;
    }
    let verifier =
        WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(identity.join("tls.key"))
        .map_err(|error| failed(format!("tls.key: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("tls.crt")?, key)
        .map_err(|error| failed(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
