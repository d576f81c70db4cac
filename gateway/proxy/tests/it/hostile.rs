//! Upstreams that mislead, and callers who ask for other protocols.

use std::net::SocketAddr;
use std::time::Duration;

use gateway_snapshot::{BackendProtocol, BackendRef, Filter, Mirror, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::raw2::{DATA, HEADERS, Raw2, field, get};
use crate::rig::{Rig, eventually, raw};
use crate::snapshot::{Build, to};
use crate::upstream::Upstream;

/// An upstream that answers every request with these bytes, and keeps the connection.
async fn upstream(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                stream.write_all(answer).await.unwrap();
                let _ = stream.read_u8().await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_callers_could_read_otherwise_are_not_passed_on() {
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let listed = b"HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nevil";
    let build = Build::new()
        .backend("switched", BackendProtocol::Http1, &[upstream(switched).await])
        .backend("listed", BackendProtocol::Http1, &[upstream(listed).await])
        .route("/switched", "switched")
        .route("/listed", "listed");
    let mut rig = Rig::start(&build).await;
    for fields in ["", "Connection: upgrade\r\nUpgrade: x\r\n"] {
        for path in ["/switched", "/listed"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let answer = raw(rig.plain().await, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("evil"), "{request}: {answer}");
        }
    }
    let rows = rig.records().await;
    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter().all(|row| (row.status, row.reason.as_str()) == (502, "upstream_malformed")),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_another_protocol_lifts_no_limit_and_skips_no_mirror() {
    let (_, address) = Upstream::start().await;
    let (mirror, mirror_address) = Upstream::start().await;
    let build = Build::new()
        .backend("b", BackendProtocol::Http1, &[address])
        .backend("m", BackendProtocol::Http1, &[mirror_address])
        .rule("/", |rule| {
            rule.backends = vec![to("b")];
            rule.timeouts = Timeouts { request_ms: Some(200), ..Timeouts::default() };
            rule.filters = vec![Filter::Mirror(Mirror {
                backend: BackendRef::To("m".into()),
                numerator: 1,
                denominator: 1,
            })];
        });
    let mut rig = Rig::start(&build).await;
    let request = b"GET /slow/5000 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answer = raw(rig.plain().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    eventually(|| async { (mirror.count() == 1).then_some(()) }).await;
    assert_eq!(rig.records().await[0].reason, "request_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_of_http2_are_one_field_elsewhere() {
    let (upstream, address) = Upstream::start().await;
    let rig =
        Rig::start(&Build::new().backend("b", BackendProtocol::Http1, &[address]).route("/", "b")).await;
    let mut caller = Raw2::connect(rig.plain().await).await;
    let cookies = [field("cookie", "a=1"), field("cookie", "b=2")].concat();
    caller.send(HEADERS, 1, &[get("/"), cookies].concat()).await;
    while caller.next().await.is_some_and(|frame| frame.kind != DATA) {}
    assert_eq!(upstream.seen.lock().unwrap()[0]["headers"]["cookie"], "a=1; b=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_life_waits_for_the_spool_of_the_one_that_drains() {
    let (_, address) = Upstream::start().await;
    let mut rig =
        Rig::start(&Build::new().backend("b", BackendProtocol::Http1, &[address]).route("/", "b")).await;
    let mut slow = TcpStream::connect(rig.plain().await).await.unwrap();
    slow.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually(|| async { (rig.status().await["running"] == 1).then_some(()) }).await;
    // Its parent is gone: nobody waits for it to end.
    rig.begin_drain();
    rig.boot().await;
    let mut answer = vec![0; 15];
    let read = tokio::time::timeout(Duration::from_secs(5), slow.read_exact(&mut answer)).await;
    assert!(read.is_ok_and(|read| read.is_ok()) && answer == b"HTTP/1.1 200 OK");
    assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 200);
}
