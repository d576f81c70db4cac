//! Redirects, rewrites, header edits, forwarded fields, weights, mirrors.

use gateway_snapshot::{
    BackendRef, DirectResponse, Filter, HeaderEdit, Mirror, PathRewrite, Redirect, Retry, Rewrite, Rule,
    Timeouts,
};

use crate::support::*;

fn filtered(found: gateway_snapshot::Match, filter: Filter) -> std::sync::Arc<gateway_pipeline::Prepared> {
    let mut snapshot = shop();
    route(&mut snapshot, "r", &[], vec![Rule { filters: vec![filter], ..rule(vec![found]) }]);
    prepare(&snapshot)
}

fn edit(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdit {
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    HeaderEdit {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn redirects_take_missing_parts_from_the_request() {
    let redirect = Redirect {
        scheme: Some("https".into()),
        hostname: None,
        port: None,
        path: Some(PathRewrite::Prefix("/new".into())),
        status: 301,
    };
    let prepared = filtered(prefix("/old"), Filter::Redirect(redirect));
    for (url, location) in [
        ("http://A.example:80/old/x?y=1", "https://a.example/new/x?y=1"),
        ("http://a.example/old", "https://a.example/new"),
        ("http://[::1]/old/", "https://[::1]/new/"),
    ] {
        let response = answer(&prepared, &Request::get(url));
        assert_eq!((response.status.as_u16(), text(&response.headers, "location")), (301, location));
        assert!(response.headers.contains_key("x-request-id"));
    }
}

#[test]
fn rewrites_change_path_and_host_but_not_the_query() {
    let rewrite = |hostname: Option<&str>, path| {
        Filter::Rewrite(Rewrite { hostname: hostname.map(str::to_owned), path: Some(path) })
    };
    let prepared = filtered(prefix("/a"), rewrite(Some("inner.test"), PathRewrite::Prefix("/b/".into())));
    let (target, headers) = upstream(&prepared, &Request::get("http://x.example:81/a/c%20d?q=%20"));
    assert_eq!((target.as_str(), text(&headers, "host")), ("/b/c%20d?q=%20", "inner.test"));
    assert_eq!(text(&headers, "x-forwarded-host"), "x.example:81");
    let prepared = filtered(exact("/a"), rewrite(None, PathRewrite::Full("/z".into())));
    assert_eq!(upstream(&prepared, &Request::get("http://x.example/a?1")).0, "/z?1");
}

#[test]
fn the_upstream_sees_the_path_that_was_matched() {
    let mut snapshot = shop();
    route(&mut snapshot, "r", &[], vec![rule(vec![prefix("/")])]);
    let prepared = prepare(&snapshot);
    for (sent, seen) in [("/a/b?c", "/a/b?c"), ("//a/%62/?c", "/a/b/?c"), ("/a%2fb", "/a%2Fb"), ("/?", "/?")]
    {
        assert_eq!(upstream(&prepared, &Request::get(&format!("http://x.example{sent}"))).0, seen);
    }
    let mut absolute = Request::get("http://x.example/");
    absolute.target = b"http://Y.example:82/p?q".to_vec();
    let (target, headers) = upstream(&prepared, &absolute);
    assert_eq!((target.as_str(), text(&headers, "host")), ("/p?q", "Y.example:82"));
}

#[test]
fn header_edits_apply_in_order_and_backends_come_last() {
    let mut snapshot = shop();
    let mut edited = rule(vec![prefix("/")]);
    edited.filters = vec![
        Filter::RequestHeaders(edit(&[("x-a", "1")], &[("x-b", "2")], &["x-c"])),
        Filter::ResponseHeaders(edit(&[("server", "shop")], &[("via", "turnpike")], &["x-powered-by"])),
    ];
    edited.backends[0].filters = vec![
        Filter::RequestHeaders(edit(&[("x-a", "3")], &[], &[])),
        Filter::ResponseHeaders(edit(&[], &[("via", "backend")], &[])),
    ];
    route(&mut snapshot, "r", &[], vec![edited]);
    let prepared = prepare(&snapshot);
    let request = Request::get("http://a.example/").header("x-b", "1").header("x-c", "1");
    let (_, headers) = upstream(&prepared, &request);
    assert_eq!((text(&headers, "x-a"), text(&headers, "x-c")), ("3", "-"));
    assert_eq!(headers.get_all("x-b").iter().count(), 2);
    let (exchange, _) = request.begin(&prepared, at(0));
    let mut response = http::HeaderMap::new();
    response.insert("x-powered-by", "php".parse().unwrap());
    exchange.edit_response(&mut response, at(1));
    assert_eq!((text(&response, "server"), text(&response, "x-powered-by")), ("shop", "-"));
    let via: Vec<_> = response.get_all("via").iter().collect();
    assert_eq!(via, ["turnpike", "backend"]);
}

#[test]
fn only_trusted_proxies_are_believed() {
    let mut snapshot = shop();
    snapshot.settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    route(&mut snapshot, "r", &[], vec![rule(vec![prefix("/")])]);
    let prepared = prepare(&snapshot);
    let id = "018f4d2a-0000-7000-8000-00000000002a";
    let mut request = Request::get("http://a.example/")
        .header("x-forwarded-for", "203.0.113.7, 198.51.100.1")
        .header("x-forwarded-for", "10.1.1.1")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "for=1.2.3.4")
        .header("x-request-id", id);
    let (_, headers) = upstream(&prepared, &request);
    assert_eq!(text(&headers, "x-forwarded-for"), "192.0.2.1");
    assert_eq!((text(&headers, "x-forwarded-proto"), text(&headers, "forwarded")), ("http", "-"));
    assert_eq!(text(&headers, "x-request-id"), "00000000-0000-0000-0000-000000000007");
    request.peer = "10.2.2.2".parse().unwrap();
    let (_, headers) = upstream(&prepared, &request);
    assert_eq!(text(&headers, "x-forwarded-for"), "203.0.113.7, 198.51.100.1, 10.1.1.1, 10.2.2.2");
    assert_eq!((text(&headers, "x-forwarded-proto"), text(&headers, "forwarded")), ("https", "for=1.2.3.4"));
    assert_eq!(text(&headers, "x-request-id"), id);
    let (exchange, _) = request.begin(&prepared, at(0));
    assert_eq!(exchange.client().to_string(), "198.51.100.1");
}

#[test]
fn weights_share_requests_and_zero_gets_none() {
    let mut snapshot = shop();
    backend(&mut snapshot, "shop/b:80");
    backend(&mut snapshot, "shop/never:80");
    let mut shared = rule(vec![prefix("/")]);
    let invalid = gateway_snapshot::BackendChoice {
        backend: BackendRef::Invalid("Service shop/x does not exist".into()),
        weight: 10,
        filters: vec![],
    };
    shared.backends = vec![to("shop/never:80", 0), to("shop/echo:80", 70), to("shop/b:80", 20), invalid];
    route(&mut snapshot, "r", &[], vec![shared]);
    let prepared = prepare(&snapshot);
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..1000_u64 {
        let mut request = Request::get("http://a.example/");
        request.random = step * (u64::MAX / 1000);
        let (exchange, _) = request.begin(&prepared, at(0));
        let name = match exchange.plan() {
            Some(plan) => prepared.backends()[plan.backend.index()].key.clone(),
            None => exchange.reason().to_string(),
        };
        *counts.entry(name).or_insert(0) += 1;
    }
    let expected = [("invalid_route", 99), ("shop/b:80", 200), ("shop/echo:80", 701)];
    assert_eq!(counts.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>(), expected);
}

#[test]
fn no_backend_no_endpoint() {
    let mut snapshot = shop();
    snapshot.backends.get_mut("shop/echo:80").unwrap().endpoints.clear();
    route(&mut snapshot, "empty", &[], vec![rule(vec![prefix("/empty")])]);
    route(&mut snapshot, "none", &[], vec![Rule { backends: vec![], ..rule(vec![prefix("/none")]) }]);
    route(
        &mut snapshot,
        "zero",
        &[],
        vec![Rule { backends: vec![to("shop/echo:80", 0)], ..rule(vec![prefix("/zero")]) }],
    );
    let prepared = prepare(&snapshot);
    for (path, expected) in
        [("empty", "503 no_endpoints"), ("none", "500 no_backend"), ("zero", "500 no_backend")]
    {
        assert_eq!(outcome(&prepared, &Request::get(&format!("http://a.example/{path}"))), expected);
    }
}

#[test]
fn mirrors_by_share_and_the_plan() {
    let mirror = |numerator, denominator| {
        Filter::Mirror(Mirror { backend: BackendRef::To("shop/echo:80".into()), numerator, denominator })
    };
    let mut snapshot = shop();
    let mut mirrored = rule(vec![prefix("/")]);
    mirrored.filters = vec![mirror(1, 1), mirror(25, 100), mirror(0, 1)];
    mirrored.timeouts = Timeouts { request_ms: Some(0), backend_request_ms: Some(50) };
    mirrored.retry = Some(Retry { codes: vec![503], attempts: 2, backoff_ms: 10 });
    route(&mut snapshot, "r", &[], vec![mirrored]);
    let prepared = prepare(&snapshot);
    let mut copies = 0;
    for random in 0..1000 {
        let mut request = Request::get("http://a.example/");
        request.random = random;
        let (exchange, _) = request.begin(&prepared, at(0));
        copies += exchange.mirrors().count();
        let plan = exchange.plan().unwrap();
        assert_eq!(plan.timeouts.request, None);
        assert_eq!(plan.timeouts.backend.unwrap().as_millis(), 50);
        assert_eq!(plan.retry.unwrap().attempts, 2);
    }
    assert!((1200..1300).contains(&copies), "{copies}");
}

#[test]
fn mocks_answer_by_themselves() {
    let direct =
        DirectResponse { status: 418, headers: vec![("x-tea".into(), "pot".into())], body: "short".into() };
    let prepared = filtered(prefix("/"), Filter::Direct(direct));
    let response = answer(&prepared, &Request::get("http://a.example/"));
    assert_eq!(
        (response.status.as_u16(), text(&response.headers, "x-tea"), &response.body[..]),
        (418, "pot", &b"short"[..])
    );
}

#[test]
fn mocks_carry_what_other_responses_carry() {
    let direct = Filter::Direct(DirectResponse { status: 200, headers: vec![], body: String::new() });
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    snapshot.plans.get_mut("shop/gold").unwrap().rates =
        vec![gateway_snapshot::Rate { id: "burst".into(), requests: 5, period_ms: 1000, burst: 5 }];
    snapshot.products.get_mut("shop/api").unwrap().deprecated_at = Some(1);
    let edits = Filter::ResponseHeaders(edit(&[("x-mock", "1")], &[], &[]));
    route(&mut snapshot, "r", &[], vec![Rule { filters: vec![edits, direct], ..sold(vec![prefix("/")]) }]);
    let response = answer(&prepare(&snapshot), &Request::get("http://a.example/").key("alice"));
    let shown =
        ["x-mock", "deprecation", "ratelimit", "ratelimit-policy"].map(|name| text(&response.headers, name));
    assert_eq!(shown, ["1", "@1", "\"burst\";r=4;t=1", "\"burst\";q=5;w=1;qu=\"requests\""]);
}
