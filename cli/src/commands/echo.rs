//! `turnpike echo`: an upstream for examples and tests that answers with what it received.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Map, Value, json};

/// Longest answer of `/bytes/N`.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest pause of `/delay/MS`.
const MAX_DELAY_MS: u64 = 60_000;
/// Longest request body that is read.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Answer requests with a description of themselves.
///
/// /status/CODE answers with that status, /delay/MS waits first, /bytes/N sends N bytes, /ws echoes WebSocket
/// messages; everything else is described as JSON.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = gateway_program::address::listen)]
    listen: SocketAddr,
    /// Name to answer with, to tell several upstreams apart.
    #[arg(long, default_value = "echo")]
    name: String,
    /// Print each request and its body as a line of JSON, as for a look at webhooks.
    #[arg(long)]
    print: bool,
}

pub(crate) async fn run(
    args: Args,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    gateway_program::announce(listener.local_addr()?);
    axum::serve(listener, router(args.name, args.print)).with_graceful_shutdown(shutdown).await?;
    Ok(())
}

fn router(name: String, print: bool) -> Router {
    let describe = move |request: Request| {
        let name = name.clone();
        async move { description(&name, request, print).await }
    };
    Router::new()
        .route("/status/{code}", any(status))
        .route("/delay/{ms}", any(delay))
        .route("/bytes/{count}", get(bytes))
        .route("/ws", any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo_messages) }))
        .fallback(describe)
}

async fn status(Path(code): Path<u16>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(code) => (code, format!("{code}\n")).into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "not a status code\n").into_response(),
    }
}

async fn delay(Path(ms): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(ms.min(MAX_DELAY_MS))).await;
    format!("waited {ms} ms\n")
}

async fn bytes(Path(count): Path<usize>) -> Response {
    if count > MAX_BYTES {
        return (StatusCode::BAD_REQUEST, format!("at most {MAX_BYTES} bytes\n")).into_response();
    }
    Body::from(Bytes::from(vec![b'x'; count])).into_response()
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(_) | Message::Binary(_) => message,
            Message::Close(_) => return,
            // Pings are answered by the library.
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

async fn description(name: &str, request: Request, print: bool) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "body too large\n").into_response();
    };
    let mut headers: Map<String, Value> = Map::new();
    for (field, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers
            .entry(field.as_str())
            .and_modify(|old| *old = json!(format!("{}, {value}", old.as_str().unwrap_or_default())))
            .or_insert_with(|| json!(value));
    }
    let mut description = json!({
        "upstream": name,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "protocol": format!("{:?}", head.version),
        "headers": headers,
        "body_bytes": body.len(),
    });
    let answer = axum::Json(description.clone()).into_response();
    if print {
        description["body"] = json!(String::from_utf8_lossy(&body));
        if let Err(error) = crate::output::say(&description.to_string()) {
            tracing::warn!(%error, "cannot print a request");
        }
    }
    answer
}
