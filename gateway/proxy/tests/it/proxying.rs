//! Requests through the gateway: protocols, edits, retries, timeouts, mirrors.

use std::time::Duration;

use gateway_snapshot::{BackendProtocol, BackendRef, Filter, HeaderEdit, Mirror, Redirect, Retry, Timeouts};
use serde_json::Value;

use crate::rig::{Rig, eventually, reason};
use crate::snapshot::{Build, certificate, to};
use crate::upstream::{FLOOD, Upstream};

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_through_plain_and_tls_and_leaves_one_record_each() {
    let (_, upstream) = Upstream::start().await;
    let certificate = certificate(&["shop.example"]);
    let build = Build::new()
        .secure(&[("shop/cert", certificate.clone())])
        .backend("shop/echo:80", BackendProtocol::Http1, &[upstream])
        .route("/", "shop/echo:80");
    let mut rig = Rig::start(&build).await;
    let body: Value = reqwest::get(rig.url("/plain?x=1").await).await.unwrap().json().await.unwrap();
    assert_eq!(body["target"], "/plain?x=1");
    let root = reqwest::Certificate::from_pem(certificate.chain.as_bytes()).unwrap();
    let secure = client().tls_certs_only([root]).resolve("shop.example", rig.secure().await).build().unwrap();
    let response =
        secure.get(format!("https://shop.example:{}/tls", rig.secure().await.port())).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["headers"]["x-forwarded-proto"], "https");
    let rows = rig.records().await;
    let told: Vec<_> =
        rows.iter().map(|row| (row.path.as_str(), row.status, row.protocol.as_str())).collect();
    assert_eq!(told, [("/plain", 200, "h1"), ("/tls", 200, "h2")]);
    assert!(
        rows.iter().all(|row| row.reason == "ok" && row.n == 1 && row.backend == "shop/echo:80"),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_pass_both_ways_and_are_counted() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).route("/", "b");
    let mut rig = Rig::start(&build).await;
    let sent =
        client().build().unwrap().post(rig.url("/up").await).body(vec![b'a'; 300_000]).send().await.unwrap();
    let body: Value = sent.json().await.unwrap();
    assert_eq!(body["length"], 300_000);
    let big = reqwest::get(rig.url("/big/500000").await).await.unwrap().bytes().await.unwrap();
    assert_eq!(big.len(), 500_000);
    let rows = rig.records().await;
    assert_eq!(rows[0].request_bytes, 300_000);
    assert_eq!(rows[1].response_bytes, 500_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_goes_to_an_http2_upstream_with_prior_knowledge() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::H2c, &[upstream]).route("/", "b");
    let mut rig = Rig::start(&build).await;
    let h2 = client().http2_prior_knowledge().build().unwrap();
    let body: Value = h2.post(rig.url("/h2").await).body("hello").send().await.unwrap().json().await.unwrap();
    assert_eq!((&body["version"], &body["body"]), (&"HTTP/2.0".into(), &"hello".into()));
    let body: Value = reqwest::get(rig.url("/h1").await).await.unwrap().json().await.unwrap();
    assert_eq!(body["version"], "HTTP/2.0");
    let rows = rig.records().await;
    assert_eq!(rows.iter().map(|row| row.protocol.as_str()).collect::<Vec<_>>(), ["h2c", "h1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_edited_and_hop_by_hop_fields_stay_here() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        let edit =
            |name: &str| HeaderEdit { set: vec![(name.into(), "set".into())], ..HeaderEdit::default() };
        rule.filters = vec![Filter::RequestHeaders(edit("x-up")), Filter::ResponseHeaders(edit("x-down"))];
    });
    let rig = Rig::start(&build).await;
    let request = client().build().unwrap().get(rig.url("/").await);
    let request = request
        .header("x-forwarded-for", "9.9.9.9")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-down"], "set");
    assert_eq!(response.headers()["x-upstream"], "yes");
    assert!(response.headers().contains_key("x-request-id"));
    assert!(!response.headers().contains_key("keep-alive"));
    let body: Value = response.json().await.unwrap();
    let headers = &body["headers"];
    assert_eq!(headers["x-up"], "set");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1", "a stranger's word is not believed");
    assert!(headers["traceparent"].as_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_ne!(headers["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    assert!(headers["x-request-id"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_problems_with_a_reason() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new()
        .backend("b", BackendProtocol::Http1, &[upstream])
        .backend("empty", BackendProtocol::Http1, &[])
        .backend("dead", BackendProtocol::Http1, &["127.0.0.1:1".parse().unwrap()])
        .route("/empty", "empty")
        .route("/dead", "dead")
        .rule("/small", |rule| {
            rule.backends = vec![to("b")];
            rule.max_body_bytes = Some(10);
        });
    let mut rig = Rig::start(&build).await;
    let client = client().build().unwrap();
    for (path, status, word) in
        [("/none", 404, "no_route"), ("/empty", 503, "no_endpoints"), ("/dead", 502, "upstream_connect")]
    {
        let response = client.get(rig.url(path).await).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(reason(response).await, word, "{path}");
    }
    let response = client.post(rig.url("/small").await).body("0123456789A").send().await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(reason(response).await, "body_too_large");
    let stream = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>("0123456789")));
    let chunked = client.post(rig.url("/small").await).body(reqwest::Body::wrap_stream(stream));
    assert_eq!(chunked.send().await.unwrap().status(), 413);
    let words: Vec<_> = rig.records().await.into_iter().map(|row| row.reason).collect();
    assert_eq!(words, ["no_route", "no_endpoints", "upstream_connect", "body_too_large", "body_too_large"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_ask_for_it_are_tried_again_with_the_body() {
    let (upstream, address) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[address]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.retry = Some(Retry { codes: vec![503], attempts: 2, backoff_ms: 1 });
    });
    let mut rig = Rig::start(&build).await;
    let client = client().build().unwrap();
    let response = client.post(rig.url("/flaky/2").await).body("again").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["body"], "again");
    assert_eq!(upstream.count(), 3);
    let response = client.get(rig.url("/status/503").await).send().await.unwrap();
    assert_eq!((response.status().as_u16(), upstream.count()), (503, 6));
    let rows = rig.records().await;
    assert_eq!((rows[0].attempts, rows[0].request_bytes), (3, 5));
    assert_eq!((rows[1].attempts, rows[1].status, rows[1].reason.as_str()), (3, 503, "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_costs_no_request() {
    let (_, upstream) = Upstream::start().await;
    let dead = "127.0.0.1:1".parse().unwrap();
    let build = Build::new().backend("b", BackendProtocol::Http1, &[dead, upstream]).route("/", "b");
    let rig = Rig::start(&build).await;
    let client = client().build().unwrap();
    for _ in 0..20 {
        assert_eq!(client.post(rig.url("/").await).body("x").send().await.unwrap().status(), 200);
    }
    let metrics =
        reqwest::get(format!("http://{}/metrics", rig.admin())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("turnpike_gateway_ejections_total 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_have_their_own_words() {
    let (_, upstream) = Upstream::start().await;
    let timed = |request_ms, backend_request_ms| Timeouts { request_ms, backend_request_ms };
    let build = Build::new()
        .backend("b", BackendProtocol::Http1, &[upstream])
        .rule("/slow", |rule| {
            rule.backends = vec![to("b")];
            rule.timeouts = timed(Some(200), None);
        })
        .rule("/slow/9000", |rule| {
            rule.backends = vec![to("b")];
            rule.timeouts = timed(None, Some(200));
        });
    let rig = Rig::start(&build).await;
    let client = client().build().unwrap();
    let response = client.get(rig.url("/slow/8000").await).send().await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(reason(response).await, "request_timeout");
    let response = client.get(rig.url("/slow/9000").await).send().await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(reason(response).await, "backend_timeout");
    assert_eq!(client.get(rig.url("/slow/20").await).send().await.unwrap().status(), 200);
}

/// How long the caller takes nothing is not the upstream's silence, which is shorter than it may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_caller_does_not_make_its_upstream_late() {
    const PATIENCE: Duration = Duration::from_millis(600);
    let (known, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.timeouts = Timeouts { request_ms: None, backend_request_ms: Some(PATIENCE.as_millis() as u64) };
    });
    let mut rig = Rig::start(&build).await;
    let mut response = client().build().unwrap().get(rig.url("/flood/300").await).send().await.unwrap();
    // Every buffer on the way is full, and has been for longer than an upstream may be silent.
    eventually(|| async {
        let asked = *known.asked.lock().unwrap();
        asked.filter(|asked| asked.elapsed() > PATIENCE + Duration::from_millis(200))
    })
    .await;
    let mut total = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        total += piece.len();
    }
    assert_eq!(total, FLOOD);
    let row = &rig.records().await[0];
    assert_eq!((row.status, row.reason.as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_get_a_copy_with_the_body() {
    let (_, upstream) = Upstream::start().await;
    let (shadow, shadow_address) = Upstream::start().await;
    let build = Build::new()
        .backend("b", BackendProtocol::Http1, &[upstream])
        .backend("shadow", BackendProtocol::Http1, &[shadow_address])
        .rule("/", |rule| {
            rule.backends = vec![to("b")];
            let mirror = Mirror { backend: BackendRef::To("shadow".into()), numerator: 1, denominator: 1 };
            rule.filters = vec![Filter::Mirror(mirror.clone()), Filter::Mirror(mirror)];
        });
    let rig = Rig::start(&build).await;
    let client = client().build().unwrap();
    client.post(rig.url("/m?q=1").await).body("copy me").send().await.unwrap();
    eventually(|| async { (shadow.count() == 2).then_some(()) }).await;
    let seen = shadow.seen.lock().unwrap().clone();
    assert!(seen.iter().all(|copy| copy["target"] == "/m?q=1" && copy["body"] == "copy me"), "{seen:?}");
    client.get(rig.url("/n").await).send().await.unwrap();
    eventually(|| async { (shadow.count() == 4).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_come_from_here() {
    let build = Build::new().rule("/", |rule| {
        let redirect = Redirect {
            scheme: Some("https".into()),
            hostname: Some("new.example".into()),
            port: None,
            path: None,
            status: 302,
        };
        rule.filters = vec![Filter::Redirect(redirect)];
    });
    let mut rig = Rig::start(&build).await;
    let response = client().build().unwrap().get(rig.url("/a?b=c").await).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"https://new.example/a?b=c".parse().unwrap())
    );
    assert_eq!(rig.records().await[0].reason, "redirected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_flow_while_they_come() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.timeouts = Timeouts { request_ms: Some(300), backend_request_ms: None };
    });
    let rig = Rig::start(&build).await;
    let begun = std::time::Instant::now();
    let mut response = client().build().unwrap().get(rig.url("/trickle").await).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(400) && first.len() < 100);
    let mut total = first.len();
    while let Some(piece) = response.chunk().await.unwrap() {
        total += piece.len();
    }
    assert_eq!(total, 100, "a timeout of the request is for its answer to begin");
}
