//! Rates and quotas: all or none, carried over reloads, exact in the record.

use std::sync::Arc;
use std::time::Duration;

use gateway_pipeline::{Exchange, Flow, Lease, Prepared, Step};
use gateway_quota::{Limit, Mode, Unit};
use gateway_snapshot::{Dimension, QuotaPolicy, Rate, RateLimitPolicy, Snapshot};
use proptest::prelude::*;

use crate::support::*;

fn request() -> Request {
    Request::get("http://a.example/").key("alice")
}

fn selling(limits: Vec<Limit>) -> Snapshot {
    let mut snapshot = shop();
    sell(&mut snapshot, limits);
    route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/")])]);
    snapshot
}

fn rate(id: &str, burst: u64) -> Rate {
    Rate { id: id.into(), requests: 1, period_ms: 1000, burst }
}

fn policy(requests: u64, by: Dimension) -> RateLimitPolicy {
    RateLimitPolicy { requests, period_ms: 1000, burst: requests, by }
}

fn word(exchange: &Exchange, step: &Step) -> &'static str {
    match step {
        Step::Forward => "ok",
        Step::Answer(_) => exchange.reason().as_str(),
        Step::NeedLease(_) => "lease",
    }
}

#[test]
fn a_quota_admits_exactly_its_quantity() {
    let snapshot = selling(vec![limit("plan/shop/gold/daily", Unit::Requests, 3)]);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let mut charged = 0;
    for expected in ["ok", "ok", "ok", "quota_exceeded", "quota_exceeded"] {
        let (exchange, step) = desk.drive(&prepared, &request(), at(0));
        assert_eq!(word(&exchange, &step), expected);
        if let Step::Answer(response) = &step {
            assert_eq!(response.status, 429);
            assert_eq!(text(&response.headers, "ratelimit"), "\"daily\";r=0;t=57600");
            assert_eq!(text(&response.headers, "ratelimit-policy"), "\"daily\";q=3;w=86400;qu=\"requests\"");
            assert_eq!(text(&response.headers, "retry-after"), "57600");
        }
        charged += finish(exchange, 200, at(1)).charges.units();
    }
    assert_eq!(charged, 3);
}

#[test]
fn without_the_authority_hard_quotas_are_closed_and_observed_ones_open() {
    let mut watched = limit("watched", Unit::Requests, 1);
    watched.mode = Mode::Observe;
    for (limit, expected) in [(limit("hard", Unit::Requests, 1), "quota_unavailable"), (watched, "ok")] {
        let snapshot = selling(vec![limit]);
        let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
        let (mut exchange, step) = request().begin(&prepared, at(0));
        let Step::NeedLease(need) = step else { panic!("{step:?}") };
        // The slot exists, but no answer came.
        let lease = Lease { timed_out: true, ..desk.fetch(&need, at(0)) };
        let empty = Lease { slot: Desk::new(&shop()).fetch(&need, at(0)).slot, ..lease };
        let step = exchange.resume(&request().head(), &empty, at(250));
        assert_eq!(word(&exchange, &step), expected);
        let record = finish(exchange, 503, at(251));
        let leased: u64 = record.charges.as_slice().iter().filter(|c| c.lease != 0).map(|c| c.units).sum();
        assert_eq!(leased, 0);
    }
}

#[test]
fn waiting_ends_even_if_the_shell_never_says_so() {
    let snapshot = selling(vec![limit("hard", Unit::Requests, 1)]);
    let prepared = prepare(&snapshot);
    let (mut exchange, mut step) = request().begin(&prepared, at(0));
    let mut rounds = 0;
    while let Step::NeedLease(need) = &step {
        let slot = Desk::new(&shop()).fetch(need, at(0)).slot;
        step = exchange.resume(&request().head(), &Lease { slot, timed_out: false }, at(0));
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(word(&exchange, &step), "quota_unavailable");
}

#[test]
fn rates_refuse_with_the_time_to_come_back() {
    let mut snapshot = selling(vec![]);
    snapshot.plans.get_mut("shop/gold").unwrap().rates = vec![rate("plan/shop/gold/burst", 2)];
    let prepared = prepare(&snapshot);
    for (now, expected) in [(0, "ok"), (0, "ok"), (500, "rate_limited"), (1000, "ok"), (1000, "rate_limited")]
    {
        let (exchange, step) = request().begin(&prepared, at(now));
        assert_eq!(word(&exchange, &step), expected, "{now}");
        if let Step::Answer(response) = step {
            assert_eq!(text(&response.headers, "retry-after"), "1");
            assert_eq!(text(&response.headers, "ratelimit"), "\"burst\";r=0;t=2");
        }
    }
}

#[test]
fn dimensions_have_buckets_of_their_own() {
    for (by, same, other) in [
        (Dimension::All, request(), None),
        (Dimension::ClientAddress, request(), Some("192.0.2.9")),
        (Dimension::Header("x-tenant".into()), request().header("x-tenant", "é"), None),
    ] {
        let mut snapshot = selling(vec![]);
        snapshot.rate_limit_policies.insert("shop/slow".into(), policy(1, by.clone()));
        snapshot.routes.get_mut("httproute/shop/r").unwrap().rules[0].rate_limits = vec!["shop/slow".into()];
        let prepared = prepare(&snapshot);
        let decide = |request: &Request| {
            let (exchange, step) = request.begin(&prepared, at(0));
            word(&exchange, &step)
        };
        assert_eq!((decide(&same), decide(&same)), ("ok", "rate_limited"), "{by:?}");
        if let Some(address) = other {
            let mut far = same.clone();
            far.peer = address.parse().unwrap();
            assert_eq!(decide(&far), "ok");
        }
        if matches!(by, Dimension::Header(_)) {
            assert_eq!(decide(&request().header("x-tenant", "b")), "ok");
        }
    }
}

#[test]
fn a_reload_resets_nothing() {
    let mut snapshot = selling(vec![limit("daily", Unit::Requests, 2)]);
    snapshot.plans.get_mut("shop/gold").unwrap().rates = vec![rate("burst", 2)];
    snapshot.rate_limit_policies.insert("shop/slow".into(), policy(2, Dimension::ClientAddress));
    snapshot.routes.get_mut("httproute/shop/r").unwrap().rules[0].rate_limits = vec!["shop/slow".into()];
    let mut names = Names::default();
    let (first, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    assert!(matches!(desk.drive(&first, &request(), at(0)).1, Step::Forward));
    // The plan gets another rate, the policy another size, everything else stays.
    snapshot.plans.get_mut("shop/gold").unwrap().rates.insert(0, rate("extra", 9));
    snapshot.version = "v2".into();
    let second = prepare_after(&snapshot, Some(&first), &mut names);
    let (waiting, mut step) = request().begin(&second, at(0));
    if let Step::NeedLease(need) = step {
        assert!(need.slot.is_some(), "the slot is there, only its lease is used up");
        finish(waiting, 0, at(0));
        step = desk.drive(&second, &request(), at(0)).1;
    }
    assert!(matches!(step, Step::Forward));
    let (exchange, step) = request().begin(&second, at(0));
    assert_eq!(word(&exchange, &step), "rate_limited");
    // Two seconds later the rates have recovered, the quota has not.
    let (exchange, step) = desk.drive(&second, &request(), at(2000));
    assert_eq!(word(&exchange, &step), "quota_exceeded");
}

#[test]
fn bytes_are_spent_as_they_flow_and_match_the_record() {
    let snapshot = selling(vec![limit("volume", Unit::Bytes, 100)]);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let (mut exchange, step) = desk.drive(&prepared, &request(), at(0));
    assert_eq!(word(&exchange, &step), "ok");
    let mut spend = |exchange: &mut Exchange, bytes: u64| loop {
        match exchange.response_bytes(bytes, at(1)) {
            Flow::Pass => break "pass",
            Flow::Stop(response) => {
                assert_eq!(response.status, 429);
                break "stop";
            }
            Flow::NeedLease(need) => drop(desk.fetch(&need, at(1))),
        }
    };
    assert_eq!([40, 0, 50].map(|bytes| spend(&mut exchange, bytes)), ["pass"; 3]);
    assert_eq!(spend(&mut exchange, 11), "stop", "90 of 100 are used");
    let record = finish(exchange, 200, at(2));
    assert_eq!((record.response_bytes, record.charges.units()), (90, 90));
    assert_eq!(record.reason.as_str(), "quota_exceeded");
    // The denial of 11 holds until the lease task has asked for less; then the 10 that are left can be had.
    let mut attempts = (1..4).map(|attempt| desk.drive(&prepared, &request(), at(attempt * 200)));
    let (exchange, _) = attempts.find(|(_, step)| matches!(step, Step::Forward)).expect("10 are left");
    let record = finish(exchange, 200, at(501));
    assert_eq!(record.charges.units(), 0, "the deposit goes back when no byte flowed");
}

#[test]
fn an_empty_byte_quota_is_refused_before_the_upstream_works() {
    let snapshot = selling(vec![limit("volume", Unit::Bytes, 1)]);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let (mut exchange, _) = desk.drive(&prepared, &request(), at(0));
    assert!(matches!(exchange.request_bytes(1, at(0)), Flow::Pass));
    assert_eq!(finish(exchange, 200, at(1)).charges.units(), 1);
    let (exchange, step) = desk.drive(&prepared, &request(), at(1));
    assert_eq!(word(&exchange, &step), "quota_exceeded");
}

#[test]
fn bodies_have_a_limit() {
    let mut snapshot = selling(vec![limit("daily", Unit::Requests, 5)]);
    snapshot.routes.get_mut("httproute/shop/r").unwrap().rules[0].max_body_bytes = Some(10);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let (exchange, step) = request().header("content-length", "11").begin(&prepared, at(0));
    assert_eq!(word(&exchange, &step), "body_too_large");
    assert_eq!(finish(exchange, 413, at(1)).charges.units(), 0, "refused before anything is charged");
    let (mut exchange, _) = desk.drive(&prepared, &request().header("content-length", "10"), at(0));
    assert!(matches!(exchange.request_bytes(10, at(0)), Flow::Pass));
    let Flow::Stop(response) = exchange.request_bytes(1, at(0)) else { panic!("one byte too many") };
    assert_eq!(response.status, 413);
}

#[test]
fn an_exchange_that_ends_while_it_waits_charges_nothing() {
    let snapshot = selling(vec![limit("a", Unit::Requests, 5), limit("b", Unit::Requests, 5)]);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let (mut exchange, step) = request().begin(&prepared, at(0));
    let Step::NeedLease(need) = step else { panic!("{step:?}") };
    let lease = desk.fetch(&need, at(0));
    assert!(
        matches!(exchange.resume(&request().head(), &lease, at(0)), Step::NeedLease(_)),
        "the second limit"
    );
    let record = finish(exchange, 0, at(1));
    assert_eq!((record.charges.units(), record.status), (0, 499));
    assert_eq!(record.reason.as_str(), "downstream_closed");
}

/// Driven through several limits at once, what is admitted equals the tightest, and refusals leave no trace.
fn admitted(prepared: &Arc<Prepared>, desk: &mut Desk, attempts: u64, pause: Duration) -> (u64, Vec<u64>) {
    let (mut count, mut charges) = (0, vec![]);
    for attempt in 0..attempts {
        let now = at(attempt * pause.as_millis() as u64);
        let (exchange, step) = desk.drive(prepared, &request(), now);
        count += u64::from(matches!(step, Step::Forward));
        let record = finish(exchange, 200, now);
        charges.extend(record.charges.as_slice().iter().map(|charge| charge.units));
    }
    (count, charges)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn several_limits_admit_the_least_and_charge_only_what_is_admitted(
        quotas in prop::collection::vec(0_u64..8, 1..4),
        by_policy in 0_u64..8,
        bursts in prop::collection::vec(1_u64..8, 0..3),
        attempts in 1_u64..12,
    ) {
        let limits: Vec<Limit> =
            quotas.iter().enumerate().map(|(at, n)| limit(&format!("q{at}"), Unit::Requests, *n)).collect();
        let count = limits.len() as u64 + 1;
        let mut snapshot = selling(limits);
        snapshot.plans.get_mut("shop/gold").unwrap().rates =
            bursts.iter().enumerate().map(|(at, burst)| rate(&format!("r{at}"), *burst)).collect();
        let policy = QuotaPolicy { limits: vec![limit("policy", Unit::Requests, by_policy)], by: Dimension::Consumer };
        snapshot.quota_policies.insert("shop/policy".into(), policy);
        snapshot.routes.get_mut("httproute/shop/r").unwrap().rules[0].quotas = vec!["shop/policy".into()];
        let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
        let (admitted, charges) = admitted(&prepared, &mut desk, attempts, Duration::ZERO);
        let tightest = quotas.iter().chain(&bursts).copied().chain([by_policy, attempts]).min().unwrap();
        prop_assert_eq!(admitted, tightest);
        prop_assert_eq!(charges.len() as u64, admitted * count);
        prop_assert!(charges.iter().all(|units| *units == 1));
    }
}

#[test]
fn more_limits_than_can_be_accounted_for_are_refused_by_name() {
    let limits = (0..5).map(|at| limit(&format!("q{at}"), Unit::Requests, 9)).collect();
    let many_quotas = selling(limits);
    let mut many_policies = selling(vec![]);
    for at in 0..8 {
        many_policies.rate_limit_policies.insert(format!("shop/p{at}"), policy(9, Dimension::All));
        let rules = &mut many_policies.routes.get_mut("httproute/shop/r").unwrap().rules;
        rules[0].rate_limits.push(format!("shop/p{at}"));
    }
    for snapshot in [many_quotas, many_policies] {
        let (exchange, step) = Desk::new(&snapshot).drive(&prepare(&snapshot), &request(), at(0));
        assert_eq!(word(&exchange, &step), "invalid_route");
        assert_eq!(finish(exchange, 500, at(0)).charges.units(), 0);
    }
}

/// Passes chunks until one is stopped; what passed.
fn flow(exchange: &mut Exchange, desk: &mut Desk, chunks: &[u64]) -> u64 {
    let mut passed = 0;
    for chunk in chunks {
        loop {
            match exchange.response_bytes(*chunk, at(1)) {
                Flow::Pass => break passed += chunk,
                Flow::NeedLease(need) => drop(desk.fetch(&need, at(1))),
                Flow::Stop(_) => return passed,
            }
        }
    }
    passed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_stopped_chunk_is_charged_to_no_limit(
        quantities in prop::collection::vec(1_u64..200, 1..4),
        chunks in prop::collection::vec(0_u64..80, 1..8),
    ) {
        let limits: Vec<Limit> =
            quantities.iter().enumerate().map(|(at, n)| limit(&format!("b{at}"), Unit::Bytes, *n)).collect();
        let snapshot = selling(limits);
        let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
        let (mut exchange, step) = desk.drive(&prepared, &request(), at(0));
        prop_assert_eq!(word(&exchange, &step), "ok");
        let passed = flow(&mut exchange, &mut desk, &chunks);
        prop_assert!(passed <= *quantities.iter().min().unwrap());
        let record = finish(exchange, 200, at(2));
        prop_assert_eq!(record.response_bytes, passed);
        prop_assert_eq!(record.charges.units(), passed * quantities.len() as u64);
    }
}
