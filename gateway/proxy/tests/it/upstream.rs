//! An upstream that tells what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct Upstream {
    /// Requests that arrived, as JSON.
    pub(crate) seen: Arc<Mutex<Vec<Value>>>,
    count: Arc<AtomicU32>,
    /// When the last piece of `/flood` was asked for.
    pub(crate) asked: Arc<Mutex<Option<Instant>>>,
}

/// Bytes of `/flood`: more than all buffers on the way hold.
pub(crate) const FLOOD: usize = 64 << 20;
const PIECE: usize = 1 << 18;

impl Upstream {
    /// Serves HTTP/1.1 and HTTP/2 with prior knowledge on a free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let upstream = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/status/{code}", any(status))
            .route("/flaky/{times}", any(flaky))
            .route("/slow/{ms}", any(slow))
            .route("/trickle", get(trickle))
            .route("/big/{bytes}", get(big))
            .route("/flood/{ms}", get(flood))
            .fallback(echo)
            .with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (upstream, address)
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn note(upstream: &Upstream, request: Request) -> Value {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap_or_default();
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let seen = json!({
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map(ToString::to_string),
        "authority": head.uri.authority().map(ToString::to_string),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "length": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(200)]),
    });
    upstream.seen.lock().unwrap().push(seen.clone());
    seen
}

async fn echo(State(upstream): State<Upstream>, request: Request) -> Response {
    let seen = note(&upstream, request).await;
    ([("x-upstream", "yes"), ("keep-alive", "timeout=5")], axum::Json(seen)).into_response()
}

async fn status(State(upstream): State<Upstream>, Path(code): Path<u16>, request: Request) -> Response {
    note(&upstream, request).await;
    (axum::http::StatusCode::from_u16(code).unwrap(), "status").into_response()
}

/// 503 for the first `times` requests.
async fn flaky(State(upstream): State<Upstream>, Path(times): Path<u32>, request: Request) -> Response {
    let seen = note(&upstream, request).await;
    if upstream.count.fetch_add(1, Ordering::SeqCst) < times {
        return (axum::http::StatusCode::SERVICE_UNAVAILABLE, "not yet").into_response();
    }
    axum::Json(seen).into_response()
}

async fn slow(State(upstream): State<Upstream>, Path(ms): Path<u64>, request: Request) -> Response {
    note(&upstream, request).await;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "late".into_response()
}

/// A body in ten pieces over half a second.
async fn trickle() -> Response {
    let pieces = futures::stream::unfold(0, |n| async move {
        if n == 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>("0123456789"), n + 1))
    });
    Body::from_stream(pieces).into_response()
}

async fn big(Path(bytes): Path<usize>) -> Response {
    vec![b'x'; bytes].into_response()
}

/// A body as fast as it is taken, but for a pause before its last piece.
async fn flood(State(upstream): State<Upstream>, Path(pause): Path<u64>) -> Response {
    let pieces = futures::stream::unfold((0, upstream.asked), move |(sent, asked)| async move {
        if sent == FLOOD {
            return None;
        }
        *asked.lock().unwrap() = Some(Instant::now());
        if sent == FLOOD - PIECE {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Some((Ok::<_, std::io::Error>(vec![b'x'; PIECE]), (sent + PIECE, asked)))
    });
    Body::from_stream(pieces).into_response()
}
