//! Copies of requests for mirrors: sent once, after the request's body is known, and the answers thrown away.
//!
//! Bounded in body size, in number and in time; a copy that does not fit is skipped and counted. A mirror never
//! delays or fails the request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway_snapshot::BackendProtocol;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use pingora_http::RequestHeader;
use tokio::sync::Semaphore;

use crate::shared::Shared;
use crate::upstream::Backend;

/// Longest body that is copied.
const LARGEST: usize = 1 << 20;
/// Copies under way at once.
const AT_ONCE: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies of one request.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    targets: Vec<Arc<Backend>>,
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

/// The clients that send copies.
#[derive(Debug, Clone)]
struct Clients {
    http1: reqwest::Client,
    h2c: reqwest::Client,
    places: Arc<Semaphore>,
}

impl Copies {
    /// Copies for `targets`.
    pub(crate) fn to(targets: Vec<Arc<Backend>>) -> Self {
        Self { targets, ..Self::default() }
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
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
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
        let clients = clients();
        for backend in targets {
            let Ok(place) = Arc::clone(&clients.places).try_acquire_owned() else {
                shared.metrics.mirrors_skipped.inc();
                continue;
            };
            shared.metrics.mirrored.inc();
            let (head, body, shared) = (Arc::clone(&head), body.clone(), Arc::clone(shared));
            tokio::spawn(async move {
                deliver(&backend, &head, body, &shared).await;
                drop(place);
            });
        }
    }
}

/// One copy to one endpoint of `backend`.
async fn deliver(backend: &Arc<Backend>, head: &Head, body: Bytes, shared: &Shared) {
    backend.ready().await;
    let Some(endpoint) = backend.pool.choose(shared.clock.mono_ms(), &[]) else { return };
    let client = match backend.protocol {
        BackendProtocol::Http1 => &clients().http1,
        BackendProtocol::H2c | BackendProtocol::H2 => &clients().h2c,
    };
    let url = format!("http://{}{}", endpoint.address, head.target);
    let request = client.request(head.method.clone(), url).headers(head.headers.clone()).body(body);
    match request.send().await {
        // The answer is read to its end, so that the connection can be used again.
        Ok(answer) => _ = answer.bytes().await,
        Err(error) => tracing::debug!(backend = backend.key, %error, "a mirror did not take a copy"),
    }
}

fn clients() -> &'static Clients {
    static CLIENTS: OnceLock<Clients> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .referer(false)
        };
        let build =
            |builder: reqwest::ClientBuilder| builder.build().expect("a client without special roots");
        Clients {
            http1: build(builder().http1_only()),
            h2c: build(builder().http2_prior_knowledge()),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    })
}
