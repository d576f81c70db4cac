//! Who may call: keys, groups, products, subscriptions.

use gateway_snapshot::{Credential, Entries, Snapshot, Stage, SubscriptionState};

use crate::support::*;

fn get() -> Request {
    Request::get("http://a.example/x")
}

fn shop_with_keys(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    let mut guarded = rule(vec![prefix("/")]);
    guarded.auth = Some("shop/keys".into());
    route(&mut snapshot, "r", &[], vec![guarded]);
    change(&mut snapshot);
    snapshot
}

fn check(snapshot: &Snapshot, table: &[(Request, &str)]) {
    let prepared = prepare(snapshot);
    for (request, expected) in table {
        let target = String::from_utf8_lossy(&request.target);
        assert_eq!(outcome(&prepared, request), *expected, "{target} {:?}", request.headers);
    }
}

fn table() -> Vec<(Request, &'static str)> {
    vec![
        (get().key("alice"), "r"),
        (get().header("authorization", "bearer  key-alice"), "r"),
        (Request::get("http://a.example/x?key=key-alice&b=1"), "r"),
        (Request::get("http://a.example/x?k%65y=key%2Dalice"), "r"),
        (get().header("cookie", "a=1; key=key-alice"), "r"),
        (get().key("bob"), "401 auth_invalid"),
        (get().header("x-api-key", ""), "401 auth_invalid"),
        (get().header("x-api-key", &"k".repeat(513)), "401 auth_invalid"),
        (get().key("alice").key("alice"), "401 auth_invalid"),
        (get().header("authorization", "Bearer"), "401 auth_invalid"),
        (get().header("authorization", "Bearerkey-alice"), "401 auth_invalid"),
        (get().header("authorization", "Basic key-alice"), "401 auth_invalid"),
        (get().header("authorization", "Basic abc").header("cookie", "key=key-alice"), "r"),
        (Request::get("http://a.example/x?key="), "401 auth_invalid"),
        (Request::get("http://a.example/x?key=key-alice&key=key-alice"), "401 auth_invalid"),
        (get().header("cookie", "key=key-alice").header("cookie", "key=x"), "401 auth_invalid"),
        // The first place that holds a key counts, good or bad.
        (get().key("bob").header("authorization", "Bearer key-alice"), "401 auth_invalid"),
        (get().key("alice").header("authorization", "Bearer nonsense"), "r"),
    ]
}

#[test]
fn credentials_fail_closed() {
    let mut rows = table();
    rows.push((get(), "401 auth_missing"));
    check(&shop_with_keys(|_| {}), &rows);
}

#[test]
fn anonymous_passes_but_wrong_credentials_never() {
    let open = shop_with_keys(|snapshot| {
        snapshot.auth_policies.get_mut("shop/keys").unwrap().allow_anonymous = true;
    });
    let mut rows = table();
    rows.push((get(), "r"));
    check(&open, &rows);
}

#[test]
fn groups_disabled_consumers_and_expired_keys() {
    let groups = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        shop_with_keys(|snapshot| snapshot.auth_policies.get_mut("shop/keys").unwrap().groups = names)
    };
    check(&groups(&["alice", "other"]), &[(get().key("alice"), "r"), (get(), "401 auth_missing")]);
    check(&groups(&["other"]), &[(get().key("alice"), "403 forbidden")]);
    let open = |snapshot: &mut Snapshot| {
        let policy = snapshot.auth_policies.get_mut("shop/keys").unwrap();
        (policy.allow_anonymous, policy.groups) = (true, vec!["all".into()]);
    };
    check(&shop_with_keys(open), &[(get(), "401 auth_missing"), (get().key("alice"), "r")]);
    let disabled =
        |snapshot: &mut Snapshot| snapshot.consumers.get_mut("shop/alice").unwrap().disabled = true;
    check(&shop_with_keys(disabled), &[(get().key("alice"), "403 forbidden")]);
    for (end, expected) in [(NOON, "401 auth_expired"), (NOON + 1, "r")] {
        let expiring = shop_with_keys(|snapshot| {
            let Credential::ApiKey { not_after, .. } =
                &mut snapshot.consumers.get_mut("shop/alice").unwrap().credentials[0];
            *not_after = Some(end);
        });
        check(&expiring, &[(get().key("alice"), expected)]);
    }
}

#[test]
fn subscriptions() {
    type Change = fn(&mut Snapshot);
    fn edit(snapshot: &mut Snapshot, change: impl FnOnce(&mut gateway_snapshot::Subscription)) {
        change(snapshot.subscriptions.get_mut("shop/alice-gold").unwrap());
    }
    let table: [(Change, &str); 9] = [
        (|_| {}, "r"),
        (|s| edit(s, |x| x.state = SubscriptionState::Pending), "403 subscription_pending"),
        (|s| edit(s, |x| x.state = SubscriptionState::Suspended), "403 forbidden"),
        (|s| edit(s, |x| x.not_after = Some(NOON)), "403 subscription_expired"),
        (|s| edit(s, |x| x.not_before = Some(NOON + 1)), "403 subscription_pending"),
        (|s| s.subscriptions = Entries::default(), "403 subscription_missing"),
        (|s| s.products.get_mut("shop/api").unwrap().stage = Stage::Retired, "410 product_retired"),
        (|s| s.products.get_mut("shop/api").unwrap().stage = Stage::Draft, "r"),
        (
            |s| {
                s.products.get_mut("shop/api").unwrap().subscription_required = false;
                s.subscriptions = Entries::default();
            },
            "r",
        ),
    ];
    for (at, (change, expected)) in table.into_iter().enumerate() {
        let mut snapshot = shop_with_keys(|_| {});
        route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/")])]);
        change(&mut snapshot);
        assert_eq!(outcome(&prepare(&snapshot), &get().key("alice")), expected, "row {at}");
    }
}

#[test]
fn an_active_subscription_wins_over_an_ended_one() {
    let mut snapshot = shop_with_keys(|_| {});
    route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/")])]);
    let mut ended = snapshot.subscriptions.get("shop/alice-gold").unwrap().clone();
    ended.not_after = Some(0);
    snapshot.subscriptions.insert("shop/alice-before".into(), ended);
    let mut names = Names::default();
    let prepared = prepare_after(&snapshot, None, &mut names);
    let (exchange, _) = get().key("alice").begin(&prepared, at(0));
    let record = finish(exchange, 200, at(1));
    let shown = [record.consumer, record.subscription, record.plan, record.product].map(|id| names.of(id));
    assert_eq!(shown, ["shop/alice", "shop/alice-gold", "shop/gold", "shop/api"]);
}

#[test]
fn credentials_are_hidden_from_the_upstream() {
    let snapshot = shop_with_keys(|snapshot| {
        snapshot.auth_policies.get_mut("shop/keys").unwrap().hide_credentials = true;
    });
    let prepared = prepare(&snapshot);
    let (target, _) = upstream(&prepared, &Request::get("http://a.example/x?a=1&key=key-alice&b=%20"));
    assert_eq!(target, "/x?a=1&b=%20");
    let (target, _) = upstream(&prepared, &Request::get("http://a.example/x?key=key-alice"));
    assert_eq!(target, "/x");
    let request = get().key("alice").header("authorization", "Basic abc").header("cookie", "a=1; key=2; b=3");
    let (target, headers) = upstream(&prepared, &request);
    assert_eq!(
        (target.as_str(), text(&headers, "x-api-key"), text(&headers, "cookie")),
        ("/x", "-", "a=1; b=3")
    );
    assert_eq!(text(&headers, "authorization"), "Basic abc");
    let (_, headers) = upstream(&prepared, &get().header("cookie", "key=key-alice"));
    assert_eq!(text(&headers, "cookie"), "-");
}
