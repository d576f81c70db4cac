//! A receiver of alert webhooks for demos and tests: it accepts only what is signed (Standard Webhooks).

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::mpsc;

use super::demo::Receiver;

/// Alerts that wait to be printed.
const QUEUE: usize = 64;

#[derive(Clone)]
struct Shared {
    verifier: std::sync::Arc<standardwebhooks::Webhook>,
    alerts: mpsc::Sender<Value>,
}

/// Listens, and passes on each alert whose signature is right.
pub(crate) async fn listen(receiver: &Receiver) -> anyhow::Result<mpsc::Receiver<Value>> {
    let (alerts, incoming) = mpsc::channel(QUEUE);
    let verifier = standardwebhooks::Webhook::new(&receiver.secret)
        .map_err(|error| anyhow::anyhow!("the receiver's secret: {error:?}"))?;
    let shared = Shared { verifier: verifier.into(), alerts };
    let listener = bind(receiver.listen).await?;
    let app = Router::new().fallback(post(receive)).with_state(shared);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(incoming)
}

async fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot receive alerts on {address}"))
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if shared.verifier.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(alert) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    match shared.alerts.try_send(alert) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
