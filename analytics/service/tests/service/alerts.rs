//! Alerts arrive: signed, once, soon, and in spite of receivers that fail at first.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use gateway_quota::message::Ask;
use gateway_quota::message::Count;
use gateway_snapshot::AlertChannel;
use serde_json::Value;
use standardwebhooks::Webhook;

use crate::gateway::Gateway;
use crate::quota::{ask, catalog, grant, write};
use crate::service::Service;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type Got = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

/// A receiver that refuses the first request to `/hook` and then takes all.
async fn receiver() -> (SocketAddr, Got) {
    let got: Got = Arc::default();
    let take = async |State(got): State<Got>, uri: Uri, headers: HeaderMap, body: Bytes| {
        let mut got = got.lock().unwrap();
        let first = uri.path() == "/hook" && !got.iter().any(|(path, ..)| path == "/hook");
        got.push((uri.path().to_owned(), headers, body));
        if first {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response()
        } else {
            StatusCode::OK.into_response()
        }
    };
    let router = Router::new().fallback(take).with_state(got.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, got)
}

#[tokio::test(flavor = "multi_thread")]
async fn crossings_are_told_once_signed_and_soon() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got) = receiver().await;
    let channels = vec![
        AlertChannel::Webhook { url: format!("http://{address}/hook"), secret: SECRET.into() },
        AlertChannel::Alertmanager { url: format!("http://{address}/am") },
    ];
    write(folder.path(), &catalog(10, channels));
    let service = Service::start("alerts", folder.path()).await;
    let gateway = Gateway::new(1);
    let (lease, granted) = grant(&service, &gateway, 8).await;
    assert!(granted >= 8);

    let crossed = Instant::now();
    let count = Count { granted, returned: 0, spent: 8 };
    for _ in 0..3 {
        ask(&service, &gateway, vec![Ask::Report { lease, count }]).await;
    }
    // 50 and 80 percent, to both channels; the webhook's first attempt failed.
    let seen = |path: &str| got.lock().unwrap().iter().filter(|(at, ..)| at == path).count();
    service
        .until("alerts arrive", async || (seen("/hook") >= 2 && seen("/am/api/v2/alerts") >= 2).then_some(()))
        .await;
    assert!(crossed.elapsed() < Duration::from_secs(2), "{:?}", crossed.elapsed());
    let all_delivered = async || {
        let alerts = service.get("/v1/alerts").await;
        let deliveries: Vec<Value> = alerts["alerts"]
            .as_array()?
            .iter()
            .flat_map(|a| a["deliveries"].as_array().unwrap().clone())
            .collect();
        (deliveries.len() == 4 && deliveries.iter().all(|d| d["state"] == "delivered")).then_some(alerts)
    };
    let alerts = service.until("all deliveries are noted", all_delivered).await;
    let thresholds: Vec<_> =
        alerts["alerts"].as_array().unwrap().iter().map(|a| a["threshold"].as_u64().unwrap()).collect();
    assert_eq!(thresholds, [80, 50]);

    verify(&got);
    let before = got.lock().unwrap().len();
    service.stop().await;
    // A restart repeats nothing.
    let service = Service::start_on("http://127.0.0.1:9", "none", folder.path(), false).await;
    ask(&service, &gateway, vec![Ask::Report { lease, count }]).await;
    assert_eq!(service.get("/v1/alerts").await["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(got.lock().unwrap().len(), before);
    service.stop().await;
}

/// Every webhook is signed, and its id names what it is about; Alertmanager gets stable labels.
fn verify(got: &Got) {
    let verifier = Webhook::new(SECRET).unwrap();
    let mut ids = Vec::new();
    for (path, headers, body) in got.lock().unwrap().iter() {
        let value: Value = serde_json::from_slice(body).unwrap();
        if path == "/hook" {
            verifier.verify(body, headers).unwrap();
            assert_eq!(value["type"], "quota.threshold");
            assert_eq!(value["data"]["consumer"], "shop/alice");
            assert_eq!(headers["webhook-id"].to_str().unwrap(), value["data"]["id"]);
            ids.push(headers["webhook-id"].to_str().unwrap().to_owned());
        } else {
            assert_eq!(value[0]["labels"]["alertname"], "TurnpikeQuotaThreshold");
            assert!(value[0]["endsAt"].as_str().unwrap().ends_with("T00:00:00Z"), "{value}");
            assert!(value[0]["labels"]["used"].is_null(), "labels must not change while the alert stands");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "a repeated delivery has the same id");
}
