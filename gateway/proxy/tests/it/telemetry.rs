//! Spans at an OTLP receiver, trace context on its way, metrics, the access log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use gateway_snapshot::BackendProtocol;
use serde_json::Value;

use crate::rig::{Rig, eventually};
use crate::snapshot::Build;
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_requests_become_spans() {
    let got: Arc<Mutex<Vec<u8>>> = Arc::default();
    let sink = Arc::clone(&got);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let take = move |body: Bytes| async move { sink.lock().unwrap().extend_from_slice(&body) };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
    let build = Build::new().settings(|settings| {
        settings.otlp_endpoint = Some(format!("http://{address}"));
        settings.trace_per_mille = 0;
    });
    let rig = Rig::start(&build).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let trace = |flags| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
    client.get(rig.url("/unsampled").await).header("traceparent", trace("00")).send().await.unwrap();
    client.get(rig.url("/sampled").await).header("traceparent", trace("01")).send().await.unwrap();
    let has = |what: &[u8]| got.lock().unwrap().windows(what.len()).any(|window| window == what);
    eventually(|| async { has(b"/sampled").then_some(()) }).await;
    let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert!(has(&trace_id) && has(b"no_route") && has(b"turnpike-gateway"));
    assert!(!has(b"/unsampled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trace_context_is_continued_or_begun() {
    let (_, upstream) = Upstream::start().await;
    let rig =
        Rig::start(&Build::new().backend("b", BackendProtocol::Http1, &[upstream]).route("/", "b")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = rig.url("/").await;
    let ask = async |fields: &[(&str, &str)]| -> (String, Option<String>) {
        let mut request = client.get(&url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let seen: Value = request.send().await.unwrap().json().await.unwrap();
        let text = |name: &str| seen["headers"][name].as_str().map(ToOwned::to_owned);
        (text("traceparent").unwrap(), text("tracestate"))
    };
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (traceparent, tracestate) = ask(&[("traceparent", parent), ("tracestate", "a=1,b=2")]).await;
    assert_eq!(&traceparent[..36], &parent[..36], "the trace goes on");
    assert_ne!(&traceparent[36..52], &parent[36..52], "with a span of ours in it");
    assert!(
        traceparent.ends_with("-01") && tracestate.as_deref() == Some("a=1,b=2"),
        "{traceparent} {tracestate:?}"
    );
    for fields in [
        &[("tracestate", "a=1")][..],
        &[("traceparent", "00-nonsense"), ("tracestate", "a=1")],
        &[("traceparent", parent), ("traceparent", parent), ("tracestate", "a=1")],
    ] {
        let (traceparent, tracestate) = ask(fields).await;
        assert_ne!(&traceparent[..36], &parent[..36], "{fields:?}");
        assert_eq!((traceparent.len(), tracestate), (55, None), "{fields:?}");
    }
}

/// Names and labels of all series.
async fn series(rig: &Rig) -> BTreeSet<String> {
    let page = reqwest::get(format!("http://{}/metrics", rig.admin())).await.unwrap().text().await.unwrap();
    page.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_as_large_with_two_thousand_routes_as_with_ten() {
    let (_, upstream) = Upstream::start().await;
    let build = |routes: usize| {
        let build = Build::new().version(&routes.to_string());
        let build = build.backend("b", BackendProtocol::Http1, &[upstream]);
        (0..routes).fold(build, |build, n| build.route(&format!("/route-{n}"), "b"))
    };
    let rig = Rig::start(&build(10)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let visit = async |routes: usize| {
        for n in (0..routes).step_by(routes / 10) {
            let url = rig.url(&format!("/route-{n}")).await;
            assert_eq!(client.get(&url).header("x-user", n).send().await.unwrap().status(), 200);
        }
    };
    visit(10).await;
    let few = series(&rig).await;
    assert!(few.iter().any(|name| name.contains("requests")), "{few:?}");
    rig.apply(&build(2_000)).await;
    visit(2_000).await;
    assert_eq!(series(&rig).await, few);
}

/// The log goes to standard output, which tests share: a child of this test program writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_is_one_json_object_per_request() {
    const CHILD: &str = "TURNPIKE_TEST_ACCESS_LOG";
    if std::env::var_os(CHILD).is_some() {
        let mut rig = Rig::start(&Build::new().settings(|settings| settings.access_log = true)).await;
        for n in 0..3 {
            let _ = reqwest::get(rig.url(&format!("/log-{n}?secret=1")).await).await.unwrap();
        }
        assert_eq!(rig.records().await.len(), 3);
        return;
    }
    let name = "telemetry::the_access_log_is_one_json_object_per_request";
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .await
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let text = String::from_utf8(child.stdout).unwrap();
    // The test program says `test <name> ... ` before the first line.
    let json = text.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
    let lines: Vec<Value> = json.filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["path"].as_str().unwrap(), line["status"].as_u64())).collect();
    assert_eq!(told, [("/log-0", Some(404)), ("/log-1", Some(404)), ("/log-2", Some(404))], "{text}");
    for line in &lines {
        assert_eq!((&line["method"], &line["reason"]), (&"GET".into(), &"no_route".into()));
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["request_id"].as_str().unwrap().len(), 36);
        assert!(
            line["ts_us"].as_u64().unwrap() > 0 && line["duration_us"].is_u64() && !text.contains("secret")
        );
    }
}
