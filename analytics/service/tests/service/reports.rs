//! From a sealed segment to every kind of answer.

use analytics_record::Reason;
use analytics_record::wire::SegmentState;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::gateway::{Gateway, record};
use crate::service::Service;

fn start() -> Timestamp {
    // Yesterday at ten: a closed window, and records are not too old for the store.
    let day = Timestamp::now().as_second() / 86_400 - 1;
    Timestamp::from_second(day * 86_400 + 36_000).unwrap()
}

/// 100 requests: 90 served, 7 over quota, 3 failed upstream.
async fn shipped(service: &Service) -> Gateway {
    let mut gateway = Gateway::new(1);
    let kind = |index: u64| match index {
        0..90 => (Reason::Ok, 200),
        90..97 => (Reason::QuotaExceeded, 429),
        _ => (Reason::UpstreamConnect, 502),
    };
    let records: Vec<_> =
        (0..100).map(|index| record(start(), index, kind(index).0, kind(index).1)).collect();
    for half in records.chunks(50) {
        let sealed = gateway.seal(half);
        assert_eq!(gateway.put(service, &sealed).await, SegmentState::Held);
    }
    gateway.quiet_through(Timestamp::now());
    gateway.audited(service).await;
    gateway
}

fn window() -> String {
    let day = start().as_second() / 86_400 * 86_400;
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    format!("from={}&to={}", at(day), at(day + 86_400))
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_exact_complete_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start("usage", folder.path()).await;
    service.ready().await;
    let gateway = shipped(&service).await;

    let path = format!("/v1/usage?by=consumer,status&{}", window());
    let first = service.bytes(&path).await;
    let report: Value = serde_json::from_slice(&first).unwrap();
    let rows: Vec<_> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["consumer"].as_str().unwrap(),
                row["status"].as_u64().unwrap(),
                row["requests"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("shop/alice", 200, 90), ("shop/alice", 429, 7), ("shop/alice", 502, 3)]);
    let totals = json!({"requests": 100, "errors": 3, "refused": 7, "admitted": 93, "request_bytes": 1_000,
        "response_bytes": 10_000, "duration_us_sum": 104_950});
    assert_eq!(report["totals"], totals);
    assert_eq!(report["complete"], true);
    assert!(
        report["statement"].as_str().unwrap().ends_with("; streams 1; segments 2; declared lost 0"),
        "{report}"
    );

    gateway.heartbeat(&service, false).await;
    assert_eq!(service.bytes(&path).await, first, "the same closed window gives the same bytes");

    let csv = String::from_utf8(service.bytes(&format!("{path}&format=csv")).await).unwrap();
    assert!(csv.starts_with("\"consumer\",\"status\",\"requests\""), "{csv}");
    assert!(csv.contains("\"shop/alice\",200,90,0,0,90,900,9000,"), "{csv}");
    let parquet = service.bytes(&format!("{path}&format=parquet")).await;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));

    let (status, problem) = service.problem(&format!("{path}&limit=2")).await;
    assert_eq!(
        (status, problem["reason"].as_str()),
        (400, Some("bad_request")),
        "a short report is an error"
    );
    let (status, _) = service.problem("/v1/usage?consumr=shop/alice").await;
    assert_eq!(status, 400, "a misspelt filter is an error");

    let days = service
        .get(&format!("/v1/usage?by=&bucket=day&zone=Asia/Tokyo&consumer=shop/alice&{}", window()))
        .await;
    assert_eq!(days["rows"].as_array().unwrap().len(), 1, "{days}");
    assert!(days["rows"][0]["time"].as_str().unwrap().ends_with("T00:00:00+09:00"), "{days}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn months_whose_records_are_gone_are_answered_from_totals() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start("totals", folder.path()).await;
    service.ready().await;
    shipped(&service).await;
    let long_ago = start().as_second() / 86_400 * 86_400 - 60 * 86_400;
    let sql = format!(
        "INSERT INTO {}.usage_1h (hour, consumer, route, status, reason, n, request_bytes, response_bytes, duration_us_sum) \
         VALUES ({long_ago}, 'shop/alice', 'shop/orders', 200, 'ok', 1000, 5, 6, 7)",
        service.database
    );
    let url = crate::engine::Engine::shared().url();
    assert!(reqwest::Client::new().post(url).body(sql).send().await.unwrap().status().is_success());

    let from = Timestamp::from_second(long_ago).unwrap();
    let to = window().split_once("to=").unwrap().1.to_owned();
    let report = service.get(&format!("/v1/usage?by=consumer&bucket=day&from={from}&to={to}")).await;
    let requests: Vec<_> =
        report["rows"].as_array().unwrap().iter().map(|row| row["requests"].as_u64().unwrap()).collect();
    assert_eq!(requests, [1_000, 100], "{report}");
    assert_eq!(report["totals"]["duration_us_sum"], 104_950 + 7);
    let (status, problem) = service.problem(&format!("/v1/usage?by=host&from={from}&to={to}")).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("hourly totals are not kept by host"), "{problem}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_records_and_pipeline_answer() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start("traffic", folder.path()).await;
    service.ready().await;
    shipped(&service).await;

    let series = service.get(&format!("/v1/timeseries?step=1h&by=route&{}", window())).await;
    let line = &series["series"][0];
    assert_eq!(
        (line["key"].as_str(), line["points"].as_array().unwrap().len()),
        (Some("shop/orders"), 24),
        "{series}"
    );
    let point = &line["points"][10];
    assert_eq!((point["requests"].as_u64(), point["errors"].as_u64()), (Some(100), Some(3)), "{point}");
    assert!(point["p50_ms"].as_f64().unwrap() > 1.0 && line["points"][0]["p50_ms"].is_null());

    let top = service.get(&format!("/v1/top?by=consumer&order=p95&{}", window())).await;
    assert_eq!(top["rows"][0]["key"], "shop/alice");
    assert_eq!(top["rows"][0]["error_ratio"], 0.03);

    let list = service.get(&format!("/v1/records?status=429&limit=5&{}", window())).await;
    assert_eq!((list["records"].as_array().unwrap().len(), list["truncated"].as_bool()), (5, Some(true)));
    let record = &list["records"][0];
    assert_eq!(
        (record["reason"].as_str(), record["path"].as_str()),
        (Some("quota_exceeded"), Some("/orders"))
    );
    let id = record["request_id"].as_str().unwrap();
    let found = service.get(&format!("/v1/records/{id}")).await;
    assert_eq!(&found["records"][0], record);
    assert_eq!(service.problem("/v1/records/018f4d2a-0000-7000-8000-00000000002a").await.0, 404);
    assert_eq!(service.problem("/v1/records/nonsense").await.0, 400);

    let consumer = service.get(&format!("/v1/consumers/shop/alice?{}", window())).await;
    assert_eq!(
        (consumer["requests"].as_u64(), consumer["refused"].as_u64()),
        (Some(100), Some(7)),
        "{consumer}"
    );
    assert_eq!(consumer["routes"][0]["key"], "shop/orders");
    assert_eq!(service.problem("/v1/consumers/shop/nobody").await.0, 404);
    assert_eq!(
        service.get(&format!("/v1/consumers?{}", window())).await["consumers"][0]["name"],
        "shop/alice"
    );

    let pipeline = service
        .until("totals equal records", async || {
            let pipeline = service.get("/v1/pipeline").await;
            let rollup = &pipeline["rollup"];
            (rollup["equal"] == true && rollup["dirty"] == 0 && rollup["days"].as_u64() >= Some(1))
                .then_some(pipeline)
        })
        .await;
    assert_eq!(
        (pipeline["store"]["up"].as_bool(), pipeline["store"]["rows"].as_u64()),
        (Some(true), Some(100))
    );
    assert_eq!(pipeline["gateways"].as_array().unwrap().len(), 1);
    assert_eq!((pipeline["conflicts"].as_u64(), pipeline["declared_lost"].as_u64()), (Some(0), Some(0)));

    let live = service.get("/v1/live").await;
    assert_eq!((live["points"].as_array().unwrap().len(), live["store_up"].as_bool()), (60, Some(true)));
    let metrics = String::from_utf8(service.bytes("/metrics").await).unwrap();
    assert!(metrics.contains("turnpike_analytics_segments_audited_total 2"), "{metrics}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_and_the_console_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start("auth", folder.path()).await;
    let plain = reqwest::Client::new();
    let status = async |path: &str| {
        plain.get(format!("{}{path}", service.base)).send().await.unwrap().status().as_u16()
    };
    for path in ["/v1/usage", "/v1/quotas", "/metrics", "/openapi.json", "/v1/nothing", "/v1/records/x"] {
        assert_eq!(status(path).await, 401, "{path}");
    }
    for path in ["/healthz", "/", "/consumers/shop/alice"] {
        assert_eq!(status(path).await, 200, "{path}");
    }
    assert_eq!(status("/assets/missing.js").await, 404);
    assert_eq!(service.problem("/v1/nothing").await.0, 404);
    let openapi = service.get("/openapi.json").await;
    assert!(openapi["paths"]["/v1/usage"]["get"].is_object());
    service.stop().await;
}
