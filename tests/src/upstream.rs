//! An upstream in the test's own process, which counts what reaches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};

/// A running upstream on a port of its own.
#[derive(Debug, Clone)]
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<AtomicU64>,
}

impl Upstream {
    /// Starts it. `/bytes/N` answers with N bytes, `/delay/MS` after that time, `/ws`
    /// echoes messages, everything else with `ok`.
    pub async fn start() -> anyhow::Result<Self> {
        let seen = Arc::new(AtomicU64::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let counter = seen.clone();
        let app = Router::new()
            // Bodies are read: a server that answers without reading one closes the connection behind the answer.
            .route(
                "/bytes/{count}",
                axum::routing::any(|Path(count): Path<usize>, _: Bytes| async move { "x".repeat(count) }),
            )
            .route("/delay/{ms}", axum::routing::any(|Path(ms): Path<u64>, _: Bytes| delay(ms)))
            .route("/ws", axum::routing::any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
            .fallback(|_: Bytes| async { "ok" })
            .layer(axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
                counter.fetch_add(1, Ordering::Relaxed);
                next.run(request)
            }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, seen })
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests that reached it.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

async fn delay(ms: u64) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "late"
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
