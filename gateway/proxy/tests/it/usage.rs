//! Quotas through real leases, and usage that waits for a service which is away.

use gateway_quota::{Limit, Mode, Period, Unit, WindowSpec};
use gateway_snapshot::{BackendProtocol, Dimension, QuotaPolicy};

use crate::rig::{Rig, eventually, reason};
use crate::snapshot::{Build, to};
use crate::upstream::Upstream;

fn limit(unit: Unit, quantity: u64) -> Limit {
    Limit {
        id: "quota/shop/daily".into(),
        unit,
        quantity,
        window: WindowSpec::calendar(Period::Day, "UTC").unwrap(),
        mode: Mode::Hard,
        thresholds: vec![],
    }
}

async fn rig(limit: &Limit) -> Rig {
    let (_, upstream) = Upstream::start().await;
    let mut build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.quotas = vec!["shop/daily".into()];
    });
    let policy = QuotaPolicy { limits: vec![limit.clone()], by: Dimension::All };
    build.0.quota_policies.insert("shop/daily".to_owned(), policy);
    let rig = Rig::start(&build).await;
    rig.service.limits(vec![limit.clone()]);
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_quota_is_used_up_to_the_unit() {
    let mut rig = rig(&limit(Unit::Requests, 25)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = rig.url("/").await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let response = client.get(&url).send().await.unwrap();
        statuses.push(response.status().as_u16());
        if response.status() == 429 {
            assert!(response.headers().contains_key("retry-after"));
            assert_eq!(reason(response).await, "quota_exceeded");
        }
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 25, "{statuses:?}");
    assert!(statuses[25..].iter().all(|status| *status == 429), "{statuses:?}");
    rig.service.limits(vec![limit(Unit::Requests, 30)]);
    let raised = std::time::Instant::now();
    while client.get(&url).send().await.unwrap().status() != 200 {
        assert!(raised.elapsed().as_millis() < 1_000, "a raised limit takes effect");
    }
    let rows = rig.records().await;
    assert_eq!(rows.iter().filter(|row| row.reason == "ok").count(), 26);
}

/// Several workers meet the same new subjects at once, some of them run dry, and the process ends: what was enforced,
/// what was recorded and what is settled are the same number, and nothing is left for anybody to find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn enforced_recorded_and_settled_are_one_number() {
    let (_, upstream) = Upstream::start().await;
    let limit = limit(Unit::Requests, 20);
    let mut build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.quotas = vec!["shop/daily".into()];
    });
    let policy = QuotaPolicy { limits: vec![limit.clone()], by: Dimension::Header("x-who".into()) };
    build.0.quota_policies.insert("shop/daily".to_owned(), policy);
    let mut rig = Rig::start(&build).await;
    rig.service.limits(vec![limit]);
    let url = rig.url("/").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let caller = |_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            let mut passed = 0;
            for n in 0..48 {
                let request = client.get(&url).header("x-who", format!("{}", n % 12));
                passed += u64::from(request.send().await.unwrap().status() == 200);
            }
            passed
        })
    };
    let mut passed = 0;
    for caller in (0..8).map(caller).collect::<Vec<_>>() {
        passed += caller.await.unwrap();
    }
    // 8 callers with 4 requests for each of 12 subjects, of which 20 may pass.
    assert_eq!(passed, 12 * 20);
    let recorded = rig.records().await.iter().filter(|row| row.reason == "ok").count() as u64;
    assert_eq!(recorded, passed);
    assert_eq!(rig.service.accounts(), (passed, 0, 0), "(settled, leased, leases)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_waits_for_a_service_that_is_away() {
    let build = Build::new();
    let mut rig = Rig::start(&build).await;
    rig.service.away(true);
    for _ in 0..7 {
        assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 404);
    }
    eventually(|| async { (rig.status().await["spool"]["segments"].as_u64()? > 0).then_some(()) }).await;
    rig.service.away(false);
    eventually(|| async { (rig.service.rows().len() == 7).then_some(()) }).await;
    eventually(|| async { (rig.status().await["spool"]["segments"] == 0).then_some(()) }).await;
    assert_eq!(rig.records().await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_quota_refuses_when_nobody_can_say() {
    let mut rig = rig(&limit(Unit::Requests, 25)).await;
    rig.service.away(true);
    let begun = std::time::Instant::now();
    let response = reqwest::get(rig.url("/").await).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(reason(response).await, "quota_unavailable");
    assert!(begun.elapsed().as_millis() < 3_000, "the wait is bounded");
    rig.service.away(false);
    eventually(|| async {
        let status = reqwest::get(rig.url("/").await).await.unwrap().status();
        (status == 200).then_some(())
    })
    .await;
    assert_eq!(rig.records().await[0].reason, "quota_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_quota_ends_in_the_middle() {
    let rig = rig(&limit(Unit::Bytes, 100_000)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = rig.url("/big/30000").await;
    let mut got = 0;
    let mut refused = 0;
    for _ in 0..6 {
        let response = client.get(&url).send().await.unwrap();
        match response.status().as_u16() {
            429 => refused += 1,
            _ => got += response.bytes().await.map_or(0, |body| body.len()),
        }
    }
    assert!(refused >= 2 && (60_000..=100_000).contains(&got), "{got} bytes, {refused} refused");
}
