//! The admin endpoint: health and readiness for everybody who reaches it, metrics and status by token.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listen::Workers;
use crate::shared::Shared;
use crate::status::{Board, Status};
use crate::telemetry::Readings;

/// What the endpoint shows.
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) board: Arc<Board>,
    pub(crate) workers: Workers,
    pub(crate) token: Option<String>,
}

impl Admin {
    /// The state of the process.
    pub(crate) fn status(&self) -> Status {
        let posted = self.board.read();
        let spool = &self.shared.spool;
        Status {
            version: self.shared.config.load().version.clone(),
            ready: self.shared.is_ready(),
            draining: self.shared.is_draining(),
            gateway: spool.gateway().to_string(),
            epoch: spool.epoch(),
            listeners: posted.listeners,
            refused: posted.refused,
            connections: self.workers.open() as u64,
            running: self.shared.in_flight.count(),
            spool: spool.health(spool.clock().now_us()),
            fenced_by: self.shared.leases.fenced(),
        }
    }

    fn metrics(&self) -> String {
        let health = self.shared.spool.health(self.shared.spool.clock().now_us());
        self.shared.metrics.text(Readings {
            connections: self.workers.open() as u64,
            spool_bytes: health.spool_bytes,
            spool_segments: health.segments,
            spool_oldest_us: health.oldest_age_us,
            counted_only: health.counted_only,
            lost: health.lost,
        })
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given =
            headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| equal(given, token.as_bytes()))
    }
}

/// Takes the same time wherever two equally long values differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Serves the endpoint until `stop`; returns where, and the task.
pub(crate) async fn serve(
    address: SocketAddr,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(admin);
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    let task = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin endpoint ended");
        }
    });
    Ok((local, task))
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.shared.is_ready() {
        return "ready".into_response();
    }
    let why = if admin.shared.is_draining() { "draining" } else { "no snapshot is served yet" };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    if !admin.allows(&headers) {
        return unauthorized();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics()).into_response()
}

async fn status(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    if admin.allows(&headers) { Json(admin.status()).into_response() } else { unauthorized() }
}

fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "a token is needed").into_response()
}
