//! What gateways can rely on: names, repetitions, a store that is away, a service that restarts.

use analytics_record::Reason;
use analytics_record::wire::SegmentState;
use jiff::Timestamp;
use reqwest::Method;

use crate::engine::Engine;
use crate::gateway::{Gateway, record};
use crate::service::{Service, database};

fn records(count: u64) -> Vec<analytics_record::Record> {
    (0..count).map(|index| record(Timestamp::now(), index, Reason::Ok, 200)).collect()
}

async fn put(service: &Service, path: &str, body: Vec<u8>) -> u16 {
    service.request(Method::PUT, path).body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on("http://127.0.0.1:9", "none", folder.path(), false).await;
    let mut gateway = Gateway::new(1);
    let sealed = gateway.seal(&records(10));
    let path = format!("/v1/segments/{}", gateway.stream().segment(0));
    let other = format!("/v1/segments/{}", gateway.stream().segment(1));
    assert_eq!(put(&service, &other, sealed.bytes.clone()).await, 400, "another name than inside");
    assert_eq!(put(&service, &path, Vec::new()).await, 400);
    assert_eq!(put(&service, &path, sealed.bytes[..sealed.bytes.len() - 1].to_vec()).await, 400);
    let mut turned = sealed.bytes.clone();
    *turned.last_mut().unwrap() ^= 1;
    assert_eq!(put(&service, &path, turned).await, 400, "another content than hashed");
    assert_eq!(put(&service, "/v1/segments/x/1/0/0", sealed.bytes.clone()).await, 400);
    assert_eq!(put(&service, &path.replace("/1/0/0", "/01/0/0"), sealed.bytes.clone()).await, 400);
    assert_eq!(put(&service, &path, sealed.bytes.clone()).await, 200);

    // The same name with another content is an alarm, and the first content stays.
    let mut twin = Gateway::new(1);
    let different = twin.seal(&records(11));
    assert_eq!(gateway.put(&service, &different).await, SegmentState::Conflict);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_and_a_restart_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = tempfile::tempdir().unwrap();
    let path = store.path().join("engine");
    let at = path.clone();
    let engine = tokio::task::spawn_blocking(move || Engine::start(at, 0)).await.unwrap();
    let (url, database) = (engine.url(), database("away"));
    let service = Service::start_on(&url, &database, folder.path(), true).await;
    service.ready().await;
    let mut gateway = Gateway::new(1);
    let first = gateway.seal(&records(20));
    gateway.put(&service, &first).await;
    gateway.audited(&service).await;

    let (path, port) = tokio::task::spawn_blocking(move || engine.kill()).await.unwrap();
    let second = gateway.seal(&records(30));
    assert_eq!(gateway.put(&service, &second).await, SegmentState::Held, "taken in while the store is away");
    assert_eq!(gateway.put(&service, &first).await, SegmentState::Audited);
    let (status, problem) = service.problem("/v1/usage").await;
    assert_eq!((status, problem["reason"].as_str()), (503, Some("store_away")));
    assert_eq!(service.get("/v1/pipeline").await["store"]["up"], false);

    let engine = tokio::task::spawn_blocking(move || Engine::start(path, port)).await.unwrap();
    gateway.audited(&service).await;
    service.stop().await;

    // A new process knows nothing of segments; the gateway sends again what it still has.
    let service = Service::start_on(&engine.url(), &database, folder.path(), true).await;
    service.ready().await;
    for sealed in [&first, &second] {
        gateway.put(&service, sealed).await;
    }
    gateway.audited(&service).await;
    let report = service.get("/v1/usage?by=&from=now-1d&to=now%2B1h").await;
    assert_eq!(report["totals"]["requests"], 50, "{report}");
    service.stop().await;
    tokio::task::spawn_blocking(move || engine.kill()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gateway_holds_back_completeness_until_it_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start("lost", folder.path()).await;
    service.ready().await;
    let (mut alive, mut gone) = (Gateway::new(1), Gateway::new(2));
    gone.quiet_through(Timestamp::now());
    gone.heartbeat(&service, false).await;
    let through = async || {
        let pipeline = service.get("/v1/pipeline").await;
        pipeline["complete_through"].as_str().unwrap().parse::<Timestamp>().unwrap()
    };
    let lost_at = Timestamp::now();
    alive.quiet_through(Timestamp::now());
    alive.heartbeat(&service, false).await;
    assert!(through().await <= lost_at, "what the lost gateway may still hold is not complete");
    let (status, body) = service.post(&format!("/v1/gateways/{}/give-up", gone.id), &()).await;
    assert_eq!((status, body["streams"].as_u64()), (200, Some(1)), "{body}");
    let later = service.until("time goes on", async || {
        (Timestamp::now().as_millisecond() > lost_at.as_millisecond() + 1).then(Timestamp::now)
    });
    alive.quiet_through(later.await);
    alive.heartbeat(&service, false).await;
    assert!(through().await > lost_at);
    service.stop().await;
}
