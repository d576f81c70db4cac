//! Long connections, limits on connections, and the way out.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use gateway_snapshot::BackendProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::raw2::{DATA, GOAWAY, HEADERS, Raw2, get};
use crate::rig::{Rig, eventually, raw};
use crate::snapshot::Build;
use crate::upstream::Upstream;

/// An upstream that sends WebSocket messages back.
async fn websocket_upstream() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_stays_open_through_reloads() {
    let (_, echo) = Upstream::start().await;
    let build = Build::new()
        .backend("ws", BackendProtocol::Http1, &[websocket_upstream().await])
        .backend("b", BackendProtocol::Http1, &[echo])
        .route("/ws", "ws")
        .route("/", "b");
    let mut rig = Rig::start(&build).await;
    let (mut socket, response) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", rig.plain().await)).await.unwrap();
    assert_eq!(response.status(), 101);
    for n in 2..12 {
        rig.apply(&build.clone().version(&n.to_string())).await;
        socket.send(Message::text(format!("message {n}"))).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(format!("message {n}")));
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    let rows = rig.records().await;
    assert_eq!((rows[0].status, rows[0].protocol.as_str(), rows.len()), (101, "websocket", 1), "{rows:?}");
}

/// The upstream's answer may come before anything else happens: the tunnel must not take that for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_websocket_that_opens_stays_open() {
    let (_, echo) = Upstream::start().await;
    let build = Build::new()
        .backend("ws", BackendProtocol::Http1, &[websocket_upstream().await])
        .backend("b", BackendProtocol::Http1, &[echo])
        .route("/ws", "ws")
        .route("/", "b");
    let mut rig = Rig::start(&build).await;
    let plain = rig.plain().await;
    for n in 0..60 {
        let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{plain}/ws")).await.unwrap();
        socket.send(Message::text(format!("{n}"))).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(format!("{n}")));
        // An upstream that does not agree: an ordinary answer.
        if n % 20 == 0 {
            assert!(tokio_tungstenite::connect_async(format!("ws://{plain}/no")).await.is_err());
            assert_eq!(reqwest::get(format!("http://{plain}/no")).await.unwrap().status(), 200);
        }
    }
    let statuses: Vec<_> = rig.records().await.iter().map(|row| row.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 60);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_running_requests_end() {
    let (upstream, address) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[address]).route("/", "b");
    let mut rig = Rig::start(&build).await;
    let plain = rig.plain().await;
    let slow = tokio::spawn(raw(plain, b"GET /slow/700 HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut idle = TcpStream::connect(plain).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    eventually(|| async { (upstream.count() == 2).then_some(()) }).await;
    rig.begin_drain();
    let end = tokio::time::timeout(Duration::from_secs(2), idle.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "an idle connection is closed");
    let answer = slow.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    let rows = rig.records().await;
    assert_eq!(rows.len(), 2);
    assert!(TcpStream::connect(plain).await.is_err(), "nothing listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_http2_callers_to_go_and_ends_their_streams() {
    let (upstream, address) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[address]).route("/", "b");
    let mut rig = Rig::start(&build).await;
    let mut caller = Raw2::connect(rig.plain().await).await;
    caller.send(HEADERS, 1, &get("/slow/700")).await;
    eventually(|| async { (upstream.count() == 1).then_some(()) }).await;
    rig.begin_drain();
    let mut frames = Vec::new();
    while let Some(frame) = caller.next().await {
        frames.push(frame);
    }
    let goaway = frames.iter().position(|frame| frame.kind == GOAWAY).expect("a GOAWAY");
    let end = frames.iter().position(|frame| frame.kind == DATA && frame.stream == 1 && frame.flags & 1 == 1);
    assert!(end.expect("the stream ends") > goaway, "{frames:?}");
    let rows = rig.records().await;
    assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlives_the_drain_time_is_cut_and_recorded() {
    let (upstream, address) = Upstream::start().await;
    let build = Build::new()
        .backend("b", BackendProtocol::Http1, &[address])
        .route("/", "b")
        .settings(|settings| settings.drain_timeout_ms = 200);
    let mut rig = Rig::start(&build).await;
    let slow = tokio::spawn(raw(rig.plain().await, b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = rig.url("/slow/60000").await;
    let slow_h2 = tokio::spawn(async move { h2.get(url).send().await.is_err() });
    eventually(|| async { (upstream.count() == 2).then_some(()) }).await;
    let rows = rig.records().await;
    assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [499, 499], "{rows:?}");
    assert_eq!(slow.await.unwrap(), "");
    assert!(slow_h2.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_limit_are_told_so() {
    let build = Build::new().settings(|settings| settings.max_connections = 2);
    let mut rig = Rig::start(&build).await;
    let plain = rig.plain().await;
    let _held = (TcpStream::connect(plain).await.unwrap(), TcpStream::connect(plain).await.unwrap());
    eventually(|| async { (rig.status().await["connections"] == 2).then_some(()) }).await;
    let answer = raw(plain, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too_many_connections"), "{answer}");
    assert_eq!(rig.records().await[0].reason, "too_many_connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_endpoint_asks_for_its_token() {
    let rig = Rig::start_with(&Build::new(), |options| options.admin_token = Some("right".into())).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, secret) in [("/healthz", false), ("/readyz", false), ("/metrics", true), ("/status", true)] {
        let url = format!("http://{}{path}", rig.admin());
        let refused = if secret { 401 } else { 200 };
        assert_eq!(client.get(&url).send().await.unwrap().status(), refused, "{path}");
        for (token, status) in [("wrong", refused), ("righ", refused), ("rights", refused), ("right", 200)] {
            let response = client.get(&url).header("authorization", format!("Bearer {token}"));
            assert_eq!(response.send().await.unwrap().status(), status, "{path} {token:?}");
        }
        let basic = client.get(&url).header("authorization", "Basic right").send().await.unwrap();
        assert_eq!(basic.status(), refused, "{path}");
        assert_eq!(basic.headers().contains_key("www-authenticate"), secret);
    }
}
