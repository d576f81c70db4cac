//! Hostile and broken requests, byte for byte.

use std::fmt::Write;
use std::time::Duration;

use gateway_snapshot::BackendProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, raw};
use crate::snapshot::Build;
use crate::upstream::Upstream;

async fn rig() -> (Rig, Upstream) {
    let (upstream, address) = Upstream::start().await;
    let build =
        Build::new().backend("b", BackendProtocol::Http1, &[address]).route("/", "b").settings(|settings| {
            settings.max_header_bytes = 2_000;
            settings.max_headers = 20;
            settings.max_uri_bytes = 500;
            settings.header_timeout_ms = 300;
        });
    (Rig::start(&build).await, upstream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_requests_are_refused_with_a_record_and_reach_nobody() {
    let (mut rig, upstream) = rig().await;
    let address = rig.plain().await;
    let long = |count: usize| "x".repeat(count);
    let cases: Vec<(String, u16, &str)> = vec![
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .into(),
            400,
            "malformed_request",
        ),
        ("GET / HTTP/1.1\nHost: a\n\n".into(), 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: yes\r\n\r\n".into(), 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400, "malformed_request"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into(),
            400,
            "malformed_request",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n".into(), 400, "malformed_request"),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "malformed_request"),
        ("\x16\x03\x01\x02\x00\r\n\r\n".into(), 400, "malformed_request"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), 400, "malformed_request"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(600)), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(3_000)), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(30)), 431, "headers_too_large"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for\r\n\r\n".into(), 400, "malformed_request"),
    ];
    for (request, status, word) in &cases {
        let answer = raw(address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains(&format!("\"reason\":\"{word}\"")), "{request:?}: {answer}");
    }
    assert_eq!(upstream.count(), 0);
    let rows = rig.records().await;
    let told: Vec<_> = rows.iter().map(|row| (row.status, row.reason.as_str())).collect();
    let expected: Vec<_> = cases.iter().map(|(_, status, word)| (u64::from(*status), *word)).collect();
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_ends_is_refused_in_time() {
    let (mut rig, _) = rig().await;
    let answer = raw(rig.plain().await, b"GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // A connection that never sends anything is not a request.
    drop(TcpStream::connect(rig.plain().await).await.unwrap());
    assert_eq!(rig.records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_its_framing_is_refused() {
    let (mut rig, upstream) = rig().await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeX\r\n0\r\n\r\n";
    let answer = raw(rig.plain().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed_request"), "{answer}");
    assert_eq!(rig.records().await[0].reason, "malformed_request");
    assert!(upstream.count() <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let (mut rig, upstream) = rig().await;
    let mut request = String::new();
    for n in 0..5 {
        write!(
            request,
            "POST /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        .unwrap();
        write!(request, "GET /g{n} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    request.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = raw(rig.plain().await, request.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 11, "{answer}");
    let targets: Vec<_> = upstream
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| seen["target"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(targets, ["/0", "/g0", "/1", "/g1", "/2", "/g2", "/3", "/g3", "/4", "/g4", "/last"]);
    assert_eq!(rig.records().await.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absolute_targets_go_upstream_in_origin_form() {
    let (rig, upstream) = rig().await;
    let answer =
        raw(rig.plain().await, b"GET http://shop/x?y=1 HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(upstream.seen.lock().unwrap()[0]["target"], "/x?y=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_is_recorded() {
    let (mut rig, upstream) = rig().await;
    let mut stream = TcpStream::connect(rig.plain().await).await.unwrap();
    stream.write_all(b"GET /slow/5000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    crate::rig::eventually(|| async { (upstream.count() == 1).then_some(()) }).await;
    drop(stream);
    let running = || async { (rig.status().await["running"] == 0).then_some(()) };
    crate::rig::eventually(running).await;
    let rows = rig.records().await;
    assert_eq!((rows[0].status, rows[0].reason.as_str()), (499, "downstream_closed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_survives_a_large_body() {
    let (rig, _) = rig().await;
    let mut stream = TcpStream::connect(rig.plain().await).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![0; 65_536];
    // The refusal may come at any time while we send.
    for _ in 0..3 {
        if stream.write_all(&piece).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
}
