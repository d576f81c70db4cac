//! Spans at an OTLP receiver.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use crate::rig::{Rig, eventually};
use crate::snapshot::Build;

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
