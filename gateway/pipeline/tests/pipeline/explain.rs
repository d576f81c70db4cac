//! What people are told about a decision.

use gateway_pipeline::{ExplainError, ExplainRequest, explain};
use gateway_quota::Unit;

use crate::support::*;

fn ask(url: &str) -> ExplainRequest {
    ExplainRequest { url: url.into(), unix_s: NOON, ..ExplainRequest::default() }
}

#[test]
fn the_winner_and_why_not_the_others() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![limit("plan/shop/gold/daily", Unit::Requests, 1000)]);
    let mut posting = prefix("/orders");
    posting.method = Some("POST".into());
    route(&mut snapshot, "orders", &["*.example"], vec![sold(vec![prefix("/orders")]), rule(vec![posting])]);
    route(&mut snapshot, "root", &[], vec![rule(vec![prefix("/")])]);
    route(&mut snapshot, "other", &["b.test"], vec![rule(vec![prefix("/")])]);
    route(&mut snapshot, "exact", &["a.example"], vec![rule(vec![exact("/orders")])]);
    let prepared = prepare(&snapshot);
    let request = ExplainRequest {
        headers: vec![("X-API-Key".into(), "key-alice".into())],
        ..ask("http://a.example/orders/1?x")
    };
    let told = explain(&prepared, &request).unwrap();
    let shown = told.to_string();
    let expected = "\
answer        forward
listener      shop/gw/http (*)
route         httproute/shop/orders
rule          0
match         path prefix /orders
auth policy   shop/keys
consumer      shop/alice
product       shop/api
subscription  shop/alice-gold
plan          shop/gold
limit         plan/shop/gold/daily: 1000 requests per window
backend       shop/echo:80 100% (1 endpoints)
upstream path /orders/1?x
not chosen
  httproute/shop/root rule 0 (host *, path prefix /): less specific than httproute/shop/orders rule 0: hostname *.example is more specific than *
  httproute/shop/orders rule 1 (host *.example, path prefix /orders, method POST): method is not POST
  httproute/shop/exact rule 0 (host a.example, path = /orders): path = /orders does not take /orders/1
  httproute/shop/other rule 0 (host b.test, path prefix /): hostname b.test does not take a.example
snapshot      v1
";
    assert_eq!(shown, expected);
    // Nothing was charged: the first real request still has to fetch its lease.
    assert_eq!(
        outcome(&prepared, &Request::get("http://a.example/orders").method("GET").key("alice")),
        "exact"
    );
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<gateway_pipeline::Explanation>(&json).unwrap(), told);
}

#[test]
fn refusals_and_redirects_are_told() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/")])]);
    let prepared = prepare(&snapshot);
    for (url, outcome, status) in [
        ("http://a.example/", "auth_missing", Some(401)),
        ("http://a.example:81/", "no_route", Some(404)),
        ("https://a.example/", "no_route", Some(404)),
        ("http://a.example/../", "malformed_request", Some(400)),
    ] {
        let told = explain(&prepared, &ask(url)).unwrap();
        assert_eq!((told.outcome.as_str(), told.status), (outcome, status), "{url}");
    }
    assert_eq!(explain(&prepared, &ask("a.example")), Err(ExplainError::Url("a.example".into())));
    let listed = ExplainRequest { listener_port: Some(80), ..ask("http://a.example:8080/") };
    assert_eq!(explain(&prepared, &listed).unwrap().outcome, "auth_missing");
}

#[test]
fn ties_are_told_and_long_lists_cut() {
    let mut snapshot = shop();
    for at in 0..150 {
        route(&mut snapshot, &format!("r{at:03}"), &[], vec![rule(vec![prefix("/")])]);
    }
    let told = explain(&prepare(&snapshot), &ask("http://a.example/")).unwrap();
    assert_eq!(told.route.as_deref(), Some("httproute/shop/r000"));
    assert_eq!((told.others.len(), told.others_left_out), (100, 49));
    assert!(told.others[0].because.ends_with("that route's name comes first"), "{:?}", told.others[0]);
}
