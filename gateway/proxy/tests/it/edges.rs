//! gRPC with trailers, backends that are names, and HTTP/2 callers that misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use gateway_snapshot::{Backend, BackendProtocol, Endpoint};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::raw2::{GOAWAY, HEADERS, Raw2, field, get};
use crate::rig::{Rig, eventually, reason};
use crate::snapshot::Build;
use crate::upstream::Upstream;

/// No bytes, and nobody can tell how many from the head.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_answer_may_end_with_its_head() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Nothing)) });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut rig =
        Rig::start(&Build::new().backend("b", BackendProtocol::H2c, &[address]).route("/", "b")).await;
    let url = rig.url("/").await;
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let h1 = reqwest::Client::builder().no_proxy().build().unwrap();
    for client in [h1, h2] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.bytes().await.unwrap().len()), (200, 0));
    }
    let rows = rig.records().await;
    let told: Vec<_> = rows.iter().map(|row| (row.status, row.reason.as_str(), row.response_bytes)).collect();
    assert_eq!(told, [(200, "ok", 0), (200, "ok", 0)]);
}

/// An upstream that answers every request with a message and `grpc-status: 7` in trailers.
async fn grpc_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                assert_eq!(request.headers()["te"], "trailers");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "7".parse().unwrap());
                let frames = [Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi")), Frame::trailers(trailers)];
                let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)));
                Ok::<_, Infallible>(
                    Response::builder().header("content-type", "application/grpc").body(body).unwrap(),
                )
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_passes_with_its_trailers() {
    let build =
        Build::new().backend("g", BackendProtocol::H2c, &[grpc_upstream().await]).route("/pkg.Svc", "g");
    let mut rig = Rig::start(&build).await;
    let stream = TokioIo::new(TcpStream::connect(rig.plain().await).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let call = |path: &str| {
        Request::post(format!("http://shop{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(b"\0\0\0\0\0")))
            .unwrap()
    };
    let response = client.send_request(call("/pkg.Svc/Do")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "7");
    assert_eq!(&collected.to_bytes()[5..], b"hi");
    let refused = client.send_request(call("/other.Svc/Do")).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
    let rows = rig.records().await;
    let told: Vec<_> =
        rows.iter().map(|row| (row.protocol.as_str(), row.reason.as_str(), row.grpc_status)).collect();
    assert_eq!(told, [("grpc", "ok", 7), ("grpc", "no_route", 12)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_may_be_names() {
    let (_, upstream) = Upstream::start().await;
    let mut build = Build::new().route("/", "named").route("/nowhere", "nowhere");
    for (key, host) in [("named", "localhost"), ("nowhere", "does-not-exist.invalid")] {
        let endpoints = vec![Endpoint { host: host.into(), port: upstream.port() }];
        build
            .0
            .backends
            .insert(key.into(), Backend { endpoints, protocol: BackendProtocol::Http1, tls: None });
    }
    let rig = Rig::start(&build).await;
    assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 200);
    let response = reqwest::get(rig.url("/nowhere").await).await.unwrap();
    assert_eq!((response.status().as_u16(), reason(response).await.as_str()), (503, "no_endpoints"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_callers_are_held_to_the_limits() {
    let build = Build::new().settings(|settings| {
        settings.max_header_bytes = 2_000;
        settings.max_uri_bytes = 100;
    });
    let mut rig = Rig::start(&build).await;
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = rig.url("/").await;
    let long = h2.get(format!("{url}{}", "x".repeat(200))).send().await.unwrap();
    assert_eq!((long.status().as_u16(), reason(long).await.as_str()), (414, "uri_too_long"));
    let large = h2.get(&url).header("x", "y".repeat(2_100)).send().await.unwrap();
    assert_eq!((large.status().as_u16(), reason(large).await.as_str()), (431, "headers_too_large"));
    let stream = TokioIo::new(TcpStream::connect(rig.plain().await).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let connect = Request::connect("a:1").body(Full::new(Bytes::new())).unwrap();
    let answer = client.send_request(connect).await.unwrap();
    assert_eq!(answer.status(), 400);
    let words: Vec<_> = rig.records().await.into_iter().map(|row| row.reason).collect();
    assert_eq!(words, ["uri_too_long", "headers_too_large", "malformed_request"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let (_, upstream) = Upstream::start().await;
    let build = |n: u32| {
        Build::new()
            .version(&n.to_string())
            .backend("b", BackendProtocol::Http1, &[upstream])
            .route("/", "b")
            .route(&format!("/only-in-{n}"), "b")
    };
    let rig = Rig::start(&build(1)).await;
    let (url, stop) = (rig.url("/").await, tokio_util::sync::CancellationToken::new());
    let load = |protocol: bool| {
        let (url, stop) = (url.clone(), stop.clone());
        tokio::spawn(async move {
            let builder = reqwest::Client::builder().no_proxy();
            let client = if protocol { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
            let mut sent = 0;
            while !stop.is_cancelled() {
                assert_eq!(client.post(&url).body("x").send().await.unwrap().status(), 200);
                sent += 1;
            }
            sent
        })
    };
    let loads: Vec<_> = [false, true, false, true].map(load).into();
    for n in 2..=100 {
        rig.apply(&build(n)).await;
    }
    stop.cancel();
    let mut sent = 0;
    for load in loads {
        sent += load.await.unwrap();
    }
    assert!(sent > 100, "{sent}");
    eventually(|| async { (rig.service.rows().len() == sent).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_the_library_refuses_have_records() {
    let build = Build::new().settings(|settings| {
        settings.max_header_bytes = 100;
        settings.max_uri_bytes = 100;
        settings.max_headers = 10;
    });
    let mut rig = Rig::start(&build).await;
    let mut caller = Raw2::connect(rig.plain().await).await;
    let mut large = get("/large");
    large.extend(field("x", &"y".repeat(3_000)));
    caller.send(HEADERS, 1, &large).await;
    // No path: a stream error (RFC 9113, 8.3.1).
    caller.send(HEADERS, 3, &get("/")[..2]).await;
    caller.send(HEADERS, 5, &get("/good")).await;
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let frame = caller.next().await.expect("the connection lives on");
        assert_ne!(frame.kind, GOAWAY);
        if frame.stream > 0 && !answered.contains(&frame.stream) {
            answered.push(frame.stream);
        }
    }
    drop(caller);
    eventually(|| async { (rig.status().await["connections"] == 0).then_some(()) }).await;
    let mut words: Vec<_> = rig.records().await.into_iter().map(|row| row.reason).collect();
    words.sort();
    assert_eq!(words, ["malformed_request", "malformed_request", "no_route"]);
}
