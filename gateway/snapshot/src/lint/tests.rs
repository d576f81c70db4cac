//! A sound snapshot has no finding; each way to break it has its own.

use super::*;
use crate::{
    Attachment, Backend, BackendChoice, BackendProtocol, CallerCertificateMode, CallerCertificates,
    Certificate, Entries, Listener, ListenerTls, Match, Mirror, PathMatch, Plan, RateLimitPolicy, Retry,
    Subscription, SubscriptionState,
};

fn sound() -> Snapshot {
    let mut snapshot = Snapshot { format: FORMAT, ..Snapshot::default() };
    let backend = Backend { endpoints: vec![], protocol: BackendProtocol::Http1, tls: None };
    snapshot.backends.insert("shop/orders".into(), backend);
    snapshot.certificates.insert(
        "shop/tls".into(),
        Certificate {
            chain: "x".into(),
            key: "x".into(),
            names: vec![],
            serial: "1".into(),
            not_before: 0,
            not_after: 0,
        },
    );
    snapshot.listeners.insert(
        "shop/web/https".into(),
        Listener {
            gateway: "shop/web".into(),
            name: "https".into(),
            port: 443,
            protocol: ListenerProtocol::Https,
            hostname: None,
            tls: Some(ListenerTls { certificates: vec!["shop/tls".into()], callers: None }),
            client_certificate: None,
        },
    );
    let rule = Rule {
        matches: vec![Match {
            path: PathMatch::Prefix("/".into()),
            headers: vec![],
            query: vec![],
            method: None,
        }],
        backends: vec![BackendChoice {
            backend: BackendRef::To("shop/orders".into()),
            weight: 1,
            filters: vec![],
        }],
        ..Rule::default()
    };
    snapshot.routes.insert(
        "httproute/shop/orders".into(),
        Route {
            kind: RouteKind::Http,
            name: "shop/orders".into(),
            created: 0,
            attachments: vec![Attachment { listener: "shop/web/https".into(), hostnames: vec![] }],
            rules: vec![rule],
        },
    );
    snapshot
}

fn listener(snapshot: &mut Snapshot) -> &mut Listener {
    snapshot.listeners.get_mut("shop/web/https").unwrap()
}

fn rule(snapshot: &mut Snapshot) -> &mut Rule {
    &mut snapshot.routes.get_mut("httproute/shop/orders").unwrap().rules[0]
}

#[test]
fn a_sound_snapshot_has_no_finding() {
    assert_eq!(lint(&sound()), []);
    assert_eq!(lint(&Snapshot { format: FORMAT, ..Snapshot::default() }), []);
}

#[test]
fn each_broken_invariant_is_found_by_name() {
    type Break = fn(&mut Snapshot);
    let table: [(Break, &str); 17] = [
        (|s| s.format = 7, "snapshot: format is 7"),
        (|s| s.settings.max_headers = 0, "settings: max_headers is 0"),
        (|s| s.certificates = Entries::default(), "listener shop/web/https: certificate shop/tls is missing"),
        (
            |s| listener(s).client_certificate = Some("shop/none".into()),
            "listener shop/web/https: certificate shop/none is missing",
        ),
        (
            |s| {
                let mut second = listener(s).clone();
                let mode = CallerCertificateMode::Any;
                second.tls.as_mut().unwrap().callers = Some(CallerCertificates { ca: "x".into(), mode });
                s.listeners.insert("shop/web/second".into(), second);
            },
            "listener shop/web/second: other certificates of callers than its port's first listener",
        ),
        (|s| s.certificates.get_mut("shop/tls").unwrap().key.clear(), "certificate shop/tls: chain or key"),
        (|s| s.listeners.get_mut("shop/web/https").unwrap().tls = None, "protocol and tls do not agree"),
        (
            |s| s.listeners = Entries::default(),
            "route httproute/shop/orders: listener shop/web/https is missing",
        ),
        (
            |s| s.backends = Entries::default(),
            "route httproute/shop/orders rule 0: backend shop/orders is missing",
        ),
        (|s| rule(s).matches.clear(), "rule 0: no match"),
        (|s| rule(s).auth = Some("shop/keys".into()), "auth policy shop/keys is missing"),
        (|s| rule(s).rate_limits = vec!["shop/r".into()], "rate limit policy shop/r is missing"),
        (|s| rule(s).quotas = vec!["shop/q".into()], "quota policy shop/q is missing"),
        (|s| rule(s).product = Some("shop/p".into()), "product shop/p is missing"),
        (|s| rule(s).retry = Some(Retry { codes: vec![7], attempts: 1, backoff_ms: 1 }), "a retry code"),
        (
            |s| {
                let mirror =
                    Mirror { backend: BackendRef::Invalid(String::new()), numerator: 1, denominator: 0 };
                rule(s).filters = vec![Filter::Mirror(mirror)];
            },
            "mirror denominator is 0",
        ),
        (
            |s| s.routes.get_mut("httproute/shop/orders").unwrap().name = "x/y".into(),
            "its key does not begin",
        ),
    ];
    for (number, (break_it, finding)) in table.into_iter().enumerate() {
        let mut snapshot = sound();
        break_it(&mut snapshot);
        let findings: Vec<String> = lint(&snapshot).iter().map(ToString::to_string).collect();
        assert!(
            findings.iter().any(|found| found.contains(finding)),
            "{number}: {finding} not in {findings:?}"
        );
        assert_eq!(lint_after(&sound(), &snapshot), lint(&snapshot), "{number}: {finding}");
    }
}

#[test]
fn limits_and_rates_must_be_possible() {
    let mut snapshot = sound();
    let limit = gateway_quota::Limit {
        id: "plan/shop/gold/daily".into(),
        unit: gateway_quota::Unit::Requests,
        quantity: 1,
        window: gateway_quota::WindowSpec::calendar(gateway_quota::Period::Day, "UTC").unwrap(),
        mode: gateway_quota::Mode::Hard,
        thresholds: vec![0],
    };
    snapshot.plans.insert("shop/gold".into(), Plan { rates: vec![], limits: vec![limit.clone(), limit] });
    let policy = RateLimitPolicy { requests: 1, period_ms: 0, burst: 1, by: crate::Dimension::All };
    snapshot.rate_limit_policies.insert("shop/r".into(), policy);
    let found: Vec<String> = lint(&snapshot).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().any(|found| found.contains("plan/shop/gold/daily is there twice")), "{found:?}");
    assert!(found.iter().any(|found| found.starts_with("rate limit policy shop/r:")), "{found:?}");
}

#[test]
fn subscriptions_need_their_consumer_and_plan() {
    let mut snapshot = sound();
    snapshot.subscriptions.insert(
        "shop/s".into(),
        Subscription {
            consumer: "shop/alice".into(),
            product: "shop/p".into(),
            plan: "shop/gold".into(),
            state: SubscriptionState::Active,
            not_before: None,
            not_after: None,
        },
    );
    let found: Vec<String> = lint(&snapshot).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "subscription shop/s: consumer shop/alice is missing",
            "subscription shop/s: plan shop/gold is missing"
        ]
    );
}
