//! Copies of requests for mirrors: sent once, after the request's body is known, and the answers thrown away.
//!
//! Bounded in body size, in number and in time; a copy that does not fit is skipped and counted. A mirror never
//! delays or fails the request. Connections are made as for requests, with the backend's demands on TLS, and kept
//! in a pool of their own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri, Version};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use tokio::sync::Semaphore;

use crate::shared::Shared;
use crate::thread;
use crate::upstream::{Backend, ClientCertificate};

/// Longest body that is copied.
const LARGEST: usize = 1 << 20;
/// Copies under way at once.
const AT_ONCE: usize = 256;
/// For a copy and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Idle connections are closed after this.
const IDLE: Duration = Duration::from_secs(50);

/// Copies of one request.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    targets: Vec<Arc<Backend>>,
    certificate: Option<Arc<ClientCertificate>>,
    head: Option<Head>,
    body: BytesMut,
    too_large: bool,
}

#[derive(Debug)]
struct Head {
    method: Method,
    target: String,
    headers: HeaderMap,
}

impl Copies {
    /// Copies for `targets`; `certificate` is shown to those that ask for it.
    pub(crate) fn to(targets: Vec<Arc<Backend>>, certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { targets, certificate, ..Self::default() }
    }

    /// Whether a copy is wanted.
    pub(crate) fn wanted(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Takes in the head as it goes upstream.
    pub(crate) fn head(&mut self, request: &RequestHeader) {
        if !self.wanted() || self.head.is_some() {
            return;
        }
        let mut headers = request.headers.clone();
        if !headers.contains_key(HOST)
            && let Some(value) = request.uri.authority().and_then(|a| a.as_str().parse().ok())
        {
            headers.insert(HOST, value);
        }
        for name in [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let target = String::from_utf8_lossy(request.raw_path()).into_owned();
        self.head = Some(Head { method: request.method.clone(), target, headers });
    }

    /// Takes in a piece of the body that no attempt has seen before.
    pub(crate) fn body(&mut self, piece: &[u8]) {
        if !self.wanted() || self.too_large {
            return;
        }
        self.too_large = self.body.len() + piece.len() > LARGEST;
        if self.too_large {
            self.body = BytesMut::new();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// Sends the copies; the body is complete.
    pub(crate) fn send(&mut self, shared: &Arc<Shared>) {
        let targets = std::mem::take(&mut self.targets);
        let Some(head) = self.head.take().filter(|_| !targets.is_empty()) else { return };
        if self.too_large {
            shared.metrics.mirrors_skipped.inc_by(targets.len() as u64);
            return;
        }
        let (head, body) = (Arc::new(head), std::mem::take(&mut self.body).freeze());
        for backend in targets {
            let Ok(place) = places().try_acquire() else {
                shared.metrics.mirrors_skipped.inc();
                continue;
            };
            shared.metrics.mirrored.inc();
            let (head, body, shared) = (Arc::clone(&head), body.clone(), Arc::clone(shared));
            let certificate = self.certificate.clone();
            tokio::spawn(async move {
                deliver(&backend, certificate.as_ref(), &head, body, &shared).await;
                drop(place);
            });
        }
    }
}

/// One copy to one endpoint of `backend`.
async fn deliver(
    backend: &Arc<Backend>,
    certificate: Option<&Arc<ClientCertificate>>,
    head: &Head,
    body: Bytes,
    shared: &Shared,
) {
    backend.ready().await;
    let Some(endpoint) = backend.pool.choose(shared.clock.mono_ms(), &[]) else { return };
    let peer = backend.peer(&endpoint, PATIENCE, Some(PATIENCE), false, certificate);
    match tokio::time::timeout(PATIENCE, exchange(&peer, backend.is_secure(), head, body)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(backend = backend.key, %error, "a mirror did not take a copy"),
        Err(_) => tracing::debug!(backend = backend.key, "a mirror took too long"),
    }
}

/// Sends a copy, and reads the answer to its end, so that the connection can be used again.
async fn exchange(peer: &HttpPeer, secure: bool, head: &Head, body: Bytes) -> Result<()> {
    let (mut session, _) = connector().get_http_session(peer).await?;
    session.set_read_timeout(Some(PATIENCE));
    session.set_write_timeout(Some(PATIENCE));
    let http2 = session.as_http2().is_some();
    let header = if http2 { head.http2(secure)? } else { head.http1(body.len())? };
    session.write_request_header(Box::new(header)).await?;
    if !body.is_empty() {
        session.write_request_body(body, false).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    while session.response_header().is_some_and(|answer| answer.status.is_informational()) {
        session.read_response_header().await?;
    }
    while session.read_response_body().await?.is_some() {}
    if let HttpSession::H1(http1) = &mut session {
        http1.respect_keepalive();
    }
    connector().release_http_session(session, peer, Some(IDLE)).await;
    Ok(())
}

impl Head {
    fn http1(&self, length: usize) -> Result<RequestHeader> {
        let mut header = self.with_fields(self.target.as_bytes())?;
        if length > 0 || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            header.insert_header(CONTENT_LENGTH, length)?;
        }
        Ok(header)
    }

    /// HTTP/2 has no `Host`; its authority is part of the target.
    fn http2(&self, secure: bool) -> Result<RequestHeader> {
        let authority = self.headers.get(HOST).map_or(&b""[..], http::HeaderValue::as_bytes);
        let uri = Uri::builder()
            .scheme(if secure { "https" } else { "http" })
            .authority(authority)
            .path_and_query(self.target.as_str())
            .build()
            .or_err(ErrorType::InvalidHTTPHeader, "a copy has no target for HTTP/2")?;
        let mut header = self.with_fields(b"/")?;
        header.remove_header(&HOST);
        header.set_uri(uri);
        header.set_version(Version::HTTP_2);
        Ok(header)
    }

    fn with_fields(&self, target: &[u8]) -> Result<RequestHeader> {
        let mut header = RequestHeader::build(self.method.clone(), target, Some(self.headers.len() + 1))?;
        for (name, value) in &self.headers {
            header.append_header(name.clone(), value.clone())?;
        }
        Ok(header)
    }
}

/// The calling worker's, as a rule: two threads that want one connection at once can both lose it.
fn connector() -> &'static Connector {
    static CONNECTORS: [OnceLock<Connector>; 16] = [const { OnceLock::new() }; 16];
    thread::own(&CONNECTORS).get_or_init(|| Connector::new(None))
}

fn places() -> &'static Semaphore {
    static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
    &PLACES
}
