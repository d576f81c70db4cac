use super::*;

const START: &str = "2026-11-01T00:00:00Z";

fn usage(used: &[(&str, u64)], as_of: &str) -> Usage {
    let quotas = used.iter().map(|(quota, used)| {
        json!({
            "limit": format!("plan/shop/small/{quota}"), "subject": "subscription/shop/bob-orders", "consumer": "shop/bob",
            "unit": "requests", "max": 1000, "used": used, "window_start": START, "window_end": "2026-12-01T00:00:00Z",
            "thresholds": [50, 80, 100], "leased": 7,
        })
    });
    let policy = json!({
        "limit": "policy/shop/all/x", "subject": "consumer/shop/bob", "consumer": "shop/bob", "unit": "requests", "max": 1,
        "used": 1, "window_start": START, "window_end": "2026-12-01T00:00:00Z", "thresholds": [],
    });
    let all: Vec<Value> = quotas.chain([policy]).collect();
    Usage::new(serde_json::from_value(json!({ "quotas": all })).unwrap(), as_of.parse().unwrap())
}

fn subscription() -> ObjectName {
    ObjectName::new("shop", "bob-orders")
}

/// The status after it was written.
fn written(usage: &Usage, live: &Value) -> Value {
    json!({ "usage": usage.field("Subscription", &subscription(), live) })
}

#[test]
fn the_fullest_quota_comes_first_and_the_consumer_sees_all_of_its_subscriptions() {
    let usage = usage(&[("bytes", 10), ("requests", 505)], "2026-11-05T10:00:00Z");
    assert_eq!(
        usage.field("Subscription", &subscription(), &Value::Null),
        json!([
            {"quota": "requests", "used": 505, "quantity": 1000, "percent": 50,
             "windowStart": START, "windowEnd": "2026-12-01T00:00:00Z", "asOf": "2026-11-05T10:00:00Z"},
            {"quota": "bytes", "used": 10, "quantity": 1000, "percent": 1,
             "windowStart": START, "windowEnd": "2026-12-01T00:00:00Z", "asOf": "2026-11-05T10:00:00Z"},
        ])
    );
    let consumer = usage.field("Consumer", &ObjectName::new("shop", "bob"), &Value::Null);
    assert_eq!(consumer[0]["quota"], "bob-orders/requests");
    assert_eq!(
        usage.field("Consumer", &ObjectName::new("shop", "none"), &json!({"usage": [1]})),
        Value::Null
    );
}

#[test]
fn a_status_changes_with_the_percent_at_once_and_within_it_after_a_while() {
    let first = usage(&[("requests", 500)], "2026-11-05T10:00:00Z");
    let live = written(&first, &Value::Null);
    let used =
        |used, as_of: &str| written(&usage(&[("requests", used)], as_of), &live)["usage"][0]["used"].clone();
    assert_eq!(used(509, "2026-11-05T10:04:59Z"), 500, "the same percent, a moment later");
    assert_eq!(used(509, "2026-11-05T10:05:00Z"), 509, "the same percent, a while later");
    assert_eq!(used(510, "2026-11-05T10:00:10Z"), 510, "another percent");
    assert_eq!(
        written(&usage(&[("requests", 500)], "2026-11-09T10:00:00Z"), &live),
        live,
        "nothing has changed"
    );
}

#[test]
fn conditions_say_which_quota_and_do_not_change_with_every_request() {
    let conditions = |used| {
        usage(&[("requests", used)], "2026-11-05T10:00:00Z").conditions("Subscription", &subscription())
    };
    let truths = |used| conditions(used).iter().map(|condition| condition.status).collect::<Vec<_>>();
    assert_eq!(truths(499), [Truth::False, Truth::False]);
    assert_eq!(truths(500), [Truth::True, Truth::False]);
    assert_eq!(truths(1000), [Truth::True, Truth::True]);
    assert_eq!(conditions(800), conditions(999));
    assert_eq!(
        conditions(800)[0].message,
        "80 % of quota requests (1000 requests), until 2026-12-01T00:00:00Z"
    );
    assert_eq!(usage(&[], "2026-11-05T10:00:00Z").conditions("Subscription", &subscription()), []);
}

#[test]
fn each_threshold_is_told_once_per_window() {
    let told = |used, live: &Value| {
        let crossings = usage(&[("requests", used)], "2026-11-05T10:00:00Z").crossings(
            "Subscription",
            &subscription(),
            live,
        );
        crossings.into_iter().map(|crossing| crossing.reason).collect::<Vec<_>>()
    };
    let live = |used| written(&usage(&[("requests", used)], "2026-11-05T10:00:00Z"), &Value::Null);
    assert!(told(499, &Value::Null).is_empty());
    assert_eq!(told(500, &Value::Null), ["QuotaNearLimit"]);
    assert!(told(799, &live(500)).is_empty(), "told when the status was written");
    assert_eq!(told(1000, &live(500)), ["QuotaExceeded"], "of two at once the higher");
    let mut last_month = live(1000);
    last_month["usage"][0]["windowStart"] = "2026-10-01T00:00:00Z".into();
    assert_eq!(told(500, &last_month), ["QuotaNearLimit"], "a new window begins anew");
}
