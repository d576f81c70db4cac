//! The quota protocol over HTTP: durable leases, limits from the catalog file, exact settlement after a crash.

use std::path::Path;

use analytics_record::{Charge, Charges, Reason, Record};
use gateway_quota::message::{Answer, Ask, Batch, Count, Reply, VERSION};
use gateway_quota::{Limit, Mode, Mono, Period, QuotaKey, Unit, WindowSpec};
use gateway_snapshot::{
    AlertChannel, AlertRule, Catalog, CatalogConsumer, CatalogLimit, FORMAT, Price, Subscription,
    SubscriptionState,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::{Gateway, record};
use crate::service::Service;

pub(crate) const LIMIT: &str = "plan/shop/gold/daily";
pub(crate) const SUBJECT: &str = "subscription/shop/alice-gold";

/// A catalog with one consumer, one plan and one daily limit.
pub(crate) fn catalog(quantity: u64, channels: Vec<AlertChannel>) -> Catalog {
    let limit = Limit {
        id: LIMIT.into(),
        unit: Unit::Requests,
        quantity,
        window: WindowSpec::calendar(Period::Day, "UTC").unwrap(),
        mode: Mode::Hard,
        thresholds: vec![100],
    };
    let mut catalog = Catalog { format: FORMAT, version: format!("v{quantity}"), ..Catalog::default() };
    let consumer = CatalogConsumer {
        display_name: "Alice".into(),
        billing_id: Some("C-1".into()),
        ..Default::default()
    };
    catalog.consumers.insert("shop/alice".into(), consumer);
    let price =
        Price { unit: "requests".into(), included: 3, amount: "0.10".into(), currency: "EUR".into(), per: 2 };
    catalog.plans.insert("shop/gold".into(), vec![price]);
    let subscription = Subscription {
        consumer: "shop/alice".into(),
        product: "shop/api".into(),
        plan: "shop/gold".into(),
        state: SubscriptionState::Active,
        not_before: None,
        not_after: None,
    };
    catalog.subscriptions.insert("shop/alice-gold".into(), subscription);
    catalog.limits.insert(LIMIT.into(), CatalogLimit { limit, source: "Plan shop/gold".into() });
    let rule = AlertRule { thresholds: vec![50, 80], forecast: false, limits: Vec::new(), channels };
    catalog.alerts.insert("shop/quota".into(), rule);
    catalog
}

/// Puts a catalog in place as a compiler would: whole, by renaming.
pub(crate) fn write(folder: &Path, catalog: &Catalog) {
    let temporary = folder.join("catalog.json.new");
    std::fs::write(&temporary, serde_json::to_vec(catalog).unwrap()).unwrap();
    std::fs::rename(temporary, folder.join("catalog.json")).unwrap();
}

pub(crate) fn batch(gateway: &Gateway, asks: Vec<Ask>) -> Batch {
    Batch {
        version: VERSION,
        gateway: gateway.id.to_string().into(),
        epoch: gateway.epoch,
        sent: Mono::from_nanos(1),
        asks,
    }
}

pub(crate) async fn ask(service: &Service, gateway: &Gateway, asks: Vec<Ask>) -> Reply {
    let (status, body) = service.post("/v1/quota", &batch(gateway, asks)).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

pub(crate) fn acquire(need: u64) -> Ask {
    Ask::Acquire { key: QuotaKey::new(LIMIT, SUBJECT), lease: None, need, rate: 0.0 }
}

/// Asks until the limit is known.
pub(crate) async fn grant(service: &Service, gateway: &Gateway, need: u64) -> (gateway_quota::LeaseId, u64) {
    service
        .until("units are granted", async || {
            let reply = ask(service, gateway, vec![acquire(need)]).await;
            reply.answers.iter().find_map(|answer| match answer {
                Answer::Grant { lease, granted, .. } => Some((*lease, *granted)),
                _ => None,
            })
        })
        .await
}

async fn account(service: &Service) -> Value {
    service.get("/v1/quotas?consumer=shop/alice").await["quotas"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_durable_and_never_exceed_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &catalog(10, Vec::new()));
    let service = Service::start("leases", folder.path()).await;
    let (one, two) = (Gateway::new(1), Gateway::new(2));
    let (lease, granted) = grant(&service, &one, 5).await;
    let used = Count { granted, returned: 0, spent: granted };
    let reply = ask(&service, &one, vec![Ask::Report { lease, count: used }]).await;
    assert!(matches!(reply.answers[0], Answer::Grant { .. }), "{reply:?}");
    let more = ask(&service, &two, vec![acquire(10 - granted)]).await;
    assert!(matches!(more.answers[0], Answer::Grant { granted: g, .. } if g == 10 - granted), "{more:?}");
    service.stop().await;

    // A new process knows what was granted, and grants no unit more. It does not need the store for that.
    let service = Service::start_on("http://127.0.0.1:9", "none", folder.path(), false).await;
    service
        .until("the account is known", async || (account(&service).await["remaining"] == 0).then_some(()))
        .await;
    let three = Gateway::new(3);
    let reply = ask(&service, &three, vec![acquire(1)]).await;
    assert!(matches!(reply.answers[0], Answer::Denied { .. }), "{reply:?}");

    // A raised limit is in force soon after its file is.
    write(folder.path(), &catalog(12, Vec::new()));
    let written = std::time::Instant::now();
    grant(&service, &three, 2).await;
    assert!(written.elapsed() < std::time::Duration::from_millis(250), "{:?}", written.elapsed());
    let view = account(&service).await;
    assert_eq!(
        (view["max"].as_u64(), view["source"].as_str(), view["mode"].as_str()),
        (Some(12), Some("Plan shop/gold"), Some("hard"))
    );

    let bad = Batch { version: 99, ..batch(&three, Vec::new()) };
    assert_eq!(service.post("/v1/quota", &bad).await.0, 400);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_settled_from_the_records() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &catalog(10, Vec::new()));
    let service = Service::start("settle", folder.path()).await;
    service.ready().await;
    let mut gateway = Gateway::new(1);
    let (lease, granted) = grant(&service, &gateway, 10).await;
    assert_eq!(granted, 10);

    // Four units were spent and recorded; then the process died, and its successor ships what it left.
    let charged = |index| {
        let mut charges = Charges::NONE;
        assert!(charges.push(Charge { lease: lease.get(), units: 1 }));
        Record { charges, ..record(Timestamp::now(), index, Reason::Ok, 200) }
    };
    let left = gateway.seal(&(0..4).map(charged).collect::<Vec<_>>());
    gateway.put(&service, &left).await;
    let dead = gateway.stream();
    let mut successor = Gateway::new(1);
    successor.epoch = 2;
    ask(&service, &successor, Vec::new()).await;
    service
        .until("what was not spent is free again", async || {
            successor.heartbeat_with(&service, &[(dead, 1, true)]).await;
            let view = account(&service).await;
            (view["used"] == 4 && view["remaining"] == 6 && view["leased"] == 0).then_some(())
        })
        .await;
    grant(&service, &successor, 6).await;

    // The report charges what the records show: four requests, three of them included.
    let report = service.get("/v1/usage?by=consumer&charges=true&from=now-1d&to=now%2B1h").await;
    let charge = &report["charges"][0];
    assert_eq!(
        (charge["quantity"].as_u64(), charge["billable"].as_u64(), charge["amount"].as_str()),
        (Some(4), Some(1), Some("0.05")),
        "{report}"
    );
    assert_eq!(charge["billing_id"], "C-1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_learnt_again_from_the_records() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &catalog(10, Vec::new()));
    let service = Service::start("learning", folder.path()).await;
    service.ready().await;
    let mut gateway = Gateway::new(1);
    let (_, granted) = grant(&service, &gateway, 6).await;
    assert!(granted >= 6);
    let records: Vec<_> = (0..6).map(|index| record(Timestamp::now(), index, Reason::Ok, 200)).collect();
    let sealed = gateway.seal(&records);
    gateway.put(&service, &sealed).await;
    gateway.audited(&service).await;
    let (url, database) = (crate::engine::Engine::shared().url(), service.database.clone());
    service.stop().await;
    std::fs::remove_file(folder.path().join("analytics.redb")).unwrap();

    let ttl = std::time::Duration::from_millis(500);
    let set = |options: &mut analytics_service::Options| options.lease_ttl = ttl;
    let service = Service::start_with(&url, &database, folder.path(), set).await;
    let reply = ask(&service, &gateway, vec![acquire(1)]).await;
    assert!(
        matches!(reply.answers[0], Answer::Denied { .. }),
        "nothing is granted before it is known what was: {reply:?}"
    );
    // The gateway still has its segment and sends it again, as the service has another boot.
    gateway.put(&service, &sealed).await;
    let used = async || {
        gateway.quiet_through(Timestamp::now());
        gateway.heartbeat(&service, false).await;
        let view = account(&service).await;
        (view["used"] == 6).then_some(view)
    };
    let view = service.until("the use of before is known", used).await;
    assert_eq!(view["remaining"], 4, "{view}");
    let reply = ask(&service, &gateway, vec![acquire(5)]).await;
    assert!(matches!(reply.answers[0], Answer::Denied { .. }), "{reply:?}");
    grant(&service, &gateway, 4).await;
    service.stop().await;
}
