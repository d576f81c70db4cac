//! TLS on both sides: versions, names, and connections that must not be shared.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use gateway_snapshot::{
    Backend, BackendProtocol, BackendRef, BackendTls, Certificate, Endpoint, Filter, Listener, ListenerTls,
    Mirror,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;

use crate::rig::{Rig, eventually, reason};
use crate::snapshot::{Build, PLAIN, certificate, certificate_with_uri, to};
use crate::upstream::Upstream;

/// An upstream that speaks HTTP/1 and HTTP/2 over TLS, and says `secure`.
#[derive(Clone, Default)]
pub(crate) struct Secure {
    /// Version, authority and body of what came.
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Secure {
    async fn start(certificate: &Certificate) -> (Self, SocketAddr) {
        Self::start_for(certificate, None).await
    }

    /// It takes only callers whose certificate `callers` has issued.
    pub(crate) async fn start_for(
        certificate: &Certificate,
        callers: Option<&Certificate>,
    ) -> (Self, SocketAddr) {
        let acceptor = acceptor(certificate, callers, &[b"h2", b"http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self::default();
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (upstream, address)
    }

    async fn serve(self, stream: tokio_rustls::server::TlsStream<TcpStream>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let service = service_fn(move |request: Request<Incoming>| {
            let upstream = self.clone();
            async move {
                let (head, body) = request.into_parts();
                let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
                let host = host.or(head.uri.authority().map(ToString::to_string)).unwrap_or_default();
                let body = body.collect().await.unwrap().to_bytes();
                let told = format!("{:?} {host} {}", head.version, String::from_utf8_lossy(&body));
                upstream.seen.lock().unwrap().push(told);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"secure"))))
            }
        });
        let io = TokioIo::new(stream);
        let _ = if h2 {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        } else {
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
        };
    }
}

fn acceptor(certificate: &Certificate, callers: Option<&Certificate>, protocols: &[&[u8]]) -> TlsAcceptor {
    let (chain, key) = pair(certificate);
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let verifier =
        |ca| WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), provider()).build().unwrap();
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(ca) => builder.with_client_cert_verifier(verifier(ca)),
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

fn pair(certificate: &Certificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

fn roots(ca: &Certificate) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    pair(ca).0.into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn backend(address: SocketAddr, protocol: BackendProtocol, tls: BackendTls) -> Backend {
    let endpoints = vec![Endpoint { host: address.ip().to_string(), port: address.port() }];
    Backend { endpoints, protocol, tls: Some(tls) }
}

pub(crate) fn demand(name: &str, ca: &str, names: &[&str]) -> BackendTls {
    let subject_alt_names = names.iter().map(ToString::to_string).collect();
    BackendTls { server_name: name.into(), ca: ca.into(), subject_alt_names }
}

/// Each demand as a backend of the same upstream, behind a path of its own; those that begin with `no-` must fail.
async fn check(address: SocketAddr, protocol: BackendProtocol, demands: &[(&str, BackendTls)]) {
    let mut build = Build::new();
    for (key, tls) in demands {
        build = build.route(&format!("/{key}"), key);
        build.0.backends.insert((*key).into(), backend(address, protocol, tls.clone()));
    }
    // Each worker has a pool of its own.
    let rig = Rig::start_with(&build, |options| options.threads = 1).await;
    // Twice: a connection that a good demand left in the pool must not serve a bad one.
    for _ in 0..2 {
        for (key, _) in demands {
            let response = reqwest::get(rig.url(&format!("/{key}")).await).await.unwrap();
            if key.starts_with("no-") {
                assert_eq!(
                    (response.status().as_u16(), reason(response).await.as_str()),
                    (502, "upstream_tls"),
                    "{key}"
                );
            } else {
                assert_eq!(response.status(), 200, "{key}");
                assert_eq!(response.text().await.unwrap(), "secure", "{key}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_certificates_are_verified() {
    let right = certificate_with_uri(&["up.example", "*.wild.example"], "spiffe://shop/up");
    let wrong = certificate(&["up.example"]);
    let ca = right.chain.as_str();
    let (upstream, address) = Secure::start(&right).await;
    let demands = [
        ("plain", demand("up.example", ca, &[])),
        ("no-ca", demand("up.example", &wrong.chain, &[])),
        ("no-name", demand("other.example", ca, &[])),
        ("host", demand("other.example", ca, &["nope.example", "up.example"])),
        ("wild", demand("other.example", ca, &["a.wild.example"])),
        ("pattern", demand("other.example", ca, &["*.wild.example"])),
        ("uri", demand("up.example", ca, &["spiffe://shop/up"])),
        ("no-host", demand("up.example", ca, &["nope.example"])),
        ("no-uri", demand("up.example", ca, &["spiffe://shop/other"])),
        ("no-ca-host", demand("up.example", &wrong.chain, &["up.example"])),
    ];
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2] {
        check(address, protocol, &demands).await;
    }
    // Five good demands for each protocol, and each kept its connection.
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 10);
    let seen = upstream.seen.lock().unwrap();
    assert_eq!(seen.iter().filter(|told| told.starts_with("HTTP/2.0")).count(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_take_their_copies_over_tls() {
    let certificate = certificate(&["up.example"]);
    let (secure, address) = Secure::start(&certificate).await;
    let (_, plain) = Upstream::start().await;
    let mut build = Build::new().backend("b", BackendProtocol::Http1, &[plain]);
    let demands = [
        ("h1", BackendProtocol::Http1, demand("up.example", &certificate.chain, &[])),
        ("h2", BackendProtocol::H2, demand("up.example", &certificate.chain, &[])),
        ("names", BackendProtocol::Http1, demand("other.example", &certificate.chain, &["up.example"])),
        ("no-name", BackendProtocol::Http1, demand("other.example", &certificate.chain, &[])),
    ];
    for (key, protocol, tls) in demands {
        build.0.backends.insert(key.into(), backend(address, protocol, tls));
    }
    let mirror = |key: &str| {
        Filter::Mirror(Mirror { backend: BackendRef::To(key.into()), numerator: 1, denominator: 1 })
    };
    let build = build.rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.filters = ["h1", "h2", "names", "no-name"].map(mirror).into();
    });
    let rig = Rig::start(&build).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..2 {
        let answer = client.post(rig.url("/").await).body("copy me").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let _ = answer.bytes().await;
    }
    eventually(|| async { (secure.seen.lock().unwrap().len() == 6).then_some(()) }).await;
    let authority = rig.plain().await;
    let mut seen = secure.seen.lock().unwrap().clone();
    seen.sort();
    let told = |version: &str| format!("{version} {authority} copy me");
    let (one, two) = (told("HTTP/1.1"), told("HTTP/2.0"));
    assert!(
        seen[..4].iter().all(|told| *told == one) && seen[4..].iter().all(|told| *told == two),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_go_over_tls() {
    let certificate = certificate(&["up.example"]);
    let acceptor = acceptor(&certificate, None, &[b"http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_text() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut build = Build::new().route("/plain", "plain").route("/names", "names");
    for (key, name, names) in [("plain", "up.example", &[][..]), ("names", "other.example", &["up.example"])]
    {
        let tls = demand(name, &certificate.chain, names);
        build.0.backends.insert(key.into(), backend(address, BackendProtocol::Http1, tls));
    }
    let rig = Rig::start(&build).await;
    for n in 0..20 {
        for path in ["plain", "names"] {
            let url = format!("ws://{}/{path}", rig.plain().await);
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
            for n in [n, n + 1] {
                socket.send(Message::text(format!("{n}"))).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(format!("{n}")), "{path}");
            }
        }
    }
}

/// A TLS connection with one version and one server name.
async fn connect(
    address: SocketAddr,
    ca: &Certificate,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> TlsStream<TcpStream> {
    connect_as(address, None, ca, name, version).await.unwrap()
}

/// The same, with a certificate of the caller's own to show.
pub(crate) async fn connect_as(
    address: SocketAddr,
    caller: Option<&Certificate>,
    ca: &Certificate,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(ca));
    let config = match caller.map(pair) {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// One request and its answer, after which the connection ends.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A caller that does not wait for the close alert still has the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_speak_both_versions_of_tls() {
    let certificate = certificate(&["a.example"]);
    let rig = Rig::start(&Build::new().secure(&[("shop/a", certificate.clone())])).await;
    // The caller would like AES-256 better.
    for (version, suite) in [
        (&rustls::version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&rustls::version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    ] {
        let mut stream = connect(rig.secure().await, &certificate, "a.example", version).await;
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.negotiated_cipher_suite().map(|agreed| agreed.suite()), Some(suite));
        assert!(ask(&mut stream, "a.example").await.starts_with("HTTP/1.1 404 "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_however_many_others_came() {
    let certificate = certificate(&["a.example"]);
    let rig = Rig::start(&Build::new().secure(&[("shop/a", certificate.clone())])).await;
    let config = |version| {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
        Arc::new(builder.unwrap().with_root_certificates(roots(&certificate)).with_no_client_auth())
    };
    let address = rig.secure().await;
    let call = async |config: &Arc<ClientConfig>| {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await.unwrap();
        assert!(ask(&mut stream, "a.example").await.starts_with("HTTP/1.1 404 "));
        stream.get_ref().1.handshake_kind().unwrap()
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let known = config(version);
        assert_eq!(call(&known).await, HandshakeKind::Full);
        for _ in 0..300 {
            assert_eq!(call(&config(version)).await, HandshakeKind::Full);
        }
        assert_eq!(call(&known).await, HandshakeKind::Resumed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_of_one_port_are_told_apart_by_host() {
    let (_, upstream) = Upstream::start().await;
    let (exact, wild) = (certificate(&["a.example"]), certificate(&["*.b.example", "*.x.b.example"]));
    let mut build = Build::new();
    let plain: Listener = build.0.listeners.get(PLAIN).unwrap().clone();
    for (key, hostname, certificate) in [("exact", "a.example", &exact), ("wild", "*.b.example", &wild)] {
        build.0.certificates.insert(key.into(), certificate.clone());
        let tls = Some(ListenerTls { certificates: vec![key.into()], callers: None });
        let hostname = Some(hostname.to_owned());
        let protocol = gateway_snapshot::ListenerProtocol::Https;
        let listener = Listener { name: key.into(), port: 443, hostname, tls, protocol, ..plain.clone() };
        build.0.listeners.insert(format!("shop/web/{key}"), listener);
    }
    let build = build.backend("b", BackendProtocol::Http1, &[upstream]).route("/", "b");
    // The listeners' port is 443; the socket's is a free one.
    let mut rig = Rig::start_with(&build, |options| _ = options.port_map.insert(443, 0)).await;
    let address = rig.port("shop/web/exact").await;
    assert_eq!(address, rig.port("shop/web/wild").await);
    assert_ne!(address.port(), 443);
    let version = &rustls::version::TLS13;
    for (name, host, status) in [
        ("a.example", "a.example", 200),
        ("x.b.example", "x.b.example", 200),
        // A wildcard stands for one or more labels.
        ("y.x.b.example", "y.x.b.example", 200),
        // The caller's connection is of the other listener (RFC 9110, 15.5.20).
        ("a.example", "x.b.example", 421),
        ("x.b.example", "a.example", 421),
        ("a.example", "b.example", 404),
    ] {
        let ca = if name == "a.example" { &exact } else { &wild };
        let mut stream = connect(address, ca, name, version).await;
        let answer = ask(&mut stream, host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name} {host}: {answer}");
    }
    let words: Vec<_> = rig.records().await.into_iter().map(|row| row.reason).collect();
    assert_eq!(words, ["ok", "ok", "ok", "no_listener_host", "no_listener_host", "no_route"]);
}
