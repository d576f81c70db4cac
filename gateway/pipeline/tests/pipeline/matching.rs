//! Which listener, route and rule a request meets.

use gateway_snapshot::{HeaderMatch, Match, PathMatch, QueryMatch, Snapshot, StringMatch};

use crate::support::*;

fn header(name: &str, value: StringMatch) -> HeaderMatch {
    HeaderMatch { name: name.into(), value }
}

fn is(value: &str) -> StringMatch {
    StringMatch::Exact(value.into())
}

fn like(pattern: &str) -> StringMatch {
    StringMatch::Regex(pattern.into())
}

fn check(snapshot: &Snapshot, table: &[(Request, &str)]) {
    let prepared = prepare(snapshot);
    for (request, expected) in table {
        let asked = String::from_utf8_lossy(&request.target).into_owned();
        assert_eq!(
            outcome(&prepared, request),
            *expected,
            "{} {asked} {:?}",
            request.method,
            request.headers
        );
    }
}

fn get(target: &str) -> Request {
    Request::get(&format!("http://a.example{target}"))
}

#[test]
fn paths_exact_then_regex_then_longest_prefix() {
    let mut snapshot = shop();
    route(&mut snapshot, "root", &[], vec![rule(vec![prefix("/")])]);
    route(&mut snapshot, "one", &[], vec![rule(vec![prefix("/one")])]);
    route(&mut snapshot, "two", &[], vec![rule(vec![prefix("/one/two")])]);
    route(&mut snapshot, "exact", &[], vec![rule(vec![exact("/one/two")])]);
    route(&mut snapshot, "regex", &[], vec![rule(vec![path(PathMatch::Regex("/one/[0-9]+".into()))])]);
    route(&mut snapshot, "long", &[], vec![rule(vec![path(PathMatch::Regex("/one/[0-9]{2,}(/x)?".into()))])]);
    check(
        &snapshot,
        &[
            (get("/"), "root"),
            (get("/onetwo"), "root"),
            (get("/one"), "one"),
            (get("/one/"), "one"),
            (get("/one/two"), "exact"),
            (get("/one/two/"), "two"),
            (get("/one/two/three?x"), "two"),
            (get("/one/7"), "regex"),
            (get("/one/77"), "long"),
            (get("/one/77/"), "one"),
            (get("//one//two"), "exact"),
            (get("/%6fne/two"), "exact"),
            (get("/one%2Ftwo"), "root"),
            (get("/ONE"), "root"),
            (get("/one/../two"), "400 malformed_request"),
        ],
    );
}

#[test]
fn ties_go_to_method_then_headers_then_query_then_age_then_name_then_order() {
    let mut snapshot = shop();
    let with = |change: fn(&mut Match)| {
        let mut found = prefix("/");
        change(&mut found);
        vec![rule(vec![found])]
    };
    route(&mut snapshot, "plain", &[], with(|_| {}));
    route(&mut snapshot, "method", &[], with(|m| m.method = Some("POST".into())));
    route(&mut snapshot, "one-header", &[], with(|m| m.headers = vec![header("x-a", is("1"))]));
    let two = |m: &mut Match| m.headers = vec![header("x-a", like("[0-9]")), header("x-b", is("1"))];
    route(&mut snapshot, "two-headers", &[], with(two));
    let query = |m: &mut Match| m.query = vec![QueryMatch { name: "q".into(), value: is("a b") }];
    route(&mut snapshot, "query", &[], with(query));
    check(
        &snapshot,
        &[
            (get("/"), "plain"),
            (get("/").method("POST").header("x-a", "1"), "method"),
            (get("/").method("post"), "plain"),
            (get("/").header("x-a", "1"), "one-header"),
            (get("/?q=a+b").header("x-a", "1"), "one-header"),
            (get("/").header("x-a", "1").header("x-b", "1"), "two-headers"),
            (get("/").header("x-a", "1").header("x-a", "2"), "plain"),
            (get("/?q=a%20b"), "query"),
            (get("/?q=x&q=a+b"), "plain"),
            (get("/?%71=a+b"), "query"),
        ],
    );
    for (older, expected) in [("b", "b"), ("a", "a"), ("-", "a")] {
        let mut snapshot = shop();
        for name in ["a", "b"] {
            route(&mut snapshot, name, &[], vec![rule(vec![prefix("/")])]);
            let created = if name == older { 1 } else { 2 };
            snapshot.routes.get_mut(&format!("httproute/shop/{name}")).unwrap().created = created;
        }
        check(&snapshot, &[(get("/"), expected)]);
    }
}

#[test]
fn the_first_of_equal_rules_wins() {
    let mut snapshot = shop();
    let mut first = rule(vec![prefix("/")]);
    first.name = Some("first".into());
    route(&mut snapshot, "r", &[], vec![first, rule(vec![prefix("/")])]);
    let mut names = Names::default();
    let prepared = prepare_after(&snapshot, None, &mut names);
    let (exchange, _) = get("/").begin(&prepared, at(0));
    let record = finish(exchange, 200, at(3));
    assert_eq!(names.of(record.rule), "first");
    assert_eq!(names.of(record.route), "shop/r");
    assert_eq!(names.of(record.gateway), "shop/gw");
    assert_eq!(names.of(record.backend), "shop/echo:80");
    assert_eq!((record.duration_us, record.host.as_str(), record.path.as_str()), (3000, "a.example", "/"));
}

#[test]
fn hostnames_by_specificity_and_then_the_next_one() {
    let mut snapshot = shop();
    route(&mut snapshot, "any", &[], vec![rule(vec![prefix("/")])]);
    route(&mut snapshot, "wild", &["*.example"], vec![rule(vec![prefix("/wild")])]);
    route(&mut snapshot, "wilder", &["*.b.example"], vec![rule(vec![prefix("/")])]);
    route(&mut snapshot, "host", &["a.example", "a.b.example"], vec![rule(vec![prefix("/host")])]);
    check(
        &snapshot,
        &[
            (get("/host"), "host"),
            (get("/wild"), "wild"),
            (get("/else"), "any"),
            (Request::get("http://A.Example.:8080/host"), "host"),
            (Request::get("http://a.b.example/host"), "host"),
            (Request::get("http://a.b.example/wild"), "wilder"),
            (Request::get("http://x.y.example/wild"), "wild"),
            (Request::get("http://example/wild"), "any"),
            (Request::get("http://[::1]:80/"), "any"),
        ],
    );
}

#[test]
fn listeners_are_isolated() {
    let mut snapshot = shop();
    listener(&mut snapshot, "host", 80, Some("a.example"));
    listener(&mut snapshot, "wild", 80, Some("*.example"));
    route(&mut snapshot, "any", &[], vec![rule(vec![prefix("/")])]);
    route_on(&mut snapshot, "shop/gw/host", "host", &["a.example"], vec![rule(vec![prefix("/host")])]);
    route_on(&mut snapshot, "shop/gw/wild", "wild", &["*.example"], vec![rule(vec![prefix("/")])]);
    let mut other_port = get("/");
    other_port.port = 81;
    check(
        &snapshot,
        &[
            (get("/host"), "host"),
            (get("/"), "404 no_route"),
            (Request::get("http://b.example/host"), "wild"),
            (Request::get("http://other/host"), "any"),
            (other_port, "404 no_route"),
        ],
    );
}

#[test]
fn misdirected_requests_are_told_so() {
    let mut snapshot = shop();
    for (name, hostname) in [("a", Some("a.example")), ("wild", Some("*.example")), ("b", Some("b.test"))] {
        let key = listener(&mut snapshot, name, 443, hostname);
        route_on(&mut snapshot, &key, name, &[], vec![rule(vec![prefix("/")])]);
    }
    let request = |host: &str, name: Option<&str>| {
        let mut request = Request::get(&format!("https://{host}/"));
        request.tls = Some(name.map(str::to_owned));
        request
    };
    check(
        &snapshot,
        &[
            (request("a.example", Some("a.example")), "a"),
            (request("a.example:8443", Some("A.EXAMPLE")), "a"),
            (request("c.example", Some("d.example")), "wild"),
            (request("a.example", Some("c.example")), "421 no_listener_host"),
            (request("c.example", Some("a.example")), "421 no_listener_host"),
            (request("b.test", Some("a.example")), "421 no_listener_host"),
            (request("unknown.test", Some("a.example")), "404 no_route"),
            (request("a.example", None), "a"),
        ],
    );
}

#[test]
fn a_preflight_meets_the_rule_of_the_method_it_asks_for() {
    let mut snapshot = shop();
    let mut found = prefix("/");
    found.method = Some("PUT".into());
    let mut shared = rule(vec![found.clone()]);
    shared.filters = vec![gateway_snapshot::Filter::Cors(gateway_snapshot::Cors {
        allow_origins: vec!["https://app.example".into()],
        allow_credentials: false,
        allow_methods: vec!["PUT".into()],
        allow_headers: vec![],
        expose_headers: vec![],
        max_age: 5,
    })];
    shared.auth = Some("shop/keys".into());
    snapshot.auth_policies.insert("shop/keys".into(), keys());
    route(&mut snapshot, "cors", &[], vec![shared]);
    let preflight = get("/").method("OPTIONS").header("origin", "https://app.example");
    check(
        &snapshot,
        &[
            (preflight.clone().header("access-control-request-method", "PUT"), "200 cors_preflight"),
            (preflight.clone().header("access-control-request-method", "GET"), "404 no_route"),
            (preflight, "404 no_route"),
        ],
    );
}

#[test]
fn broken_snapshots_are_refused_whole() {
    let mut snapshot = shop();
    route(&mut snapshot, "bad", &[], vec![rule(vec![path(PathMatch::Regex("(".into()))])]);
    let mut named = prefix("/");
    named.headers = vec![header("x a", is("1"))];
    route(&mut snapshot, "worse", &[], vec![rule(vec![named])]);
    let findings = gateway_pipeline::Prepared::new(&snapshot, None, &mut |_| analytics_record::NameId::NONE)
        .unwrap_err();
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].starts_with("route httproute/shop/bad rule 0: pattern"), "{text:?}");
    assert!(text[1].contains("header name \"x a\""), "{text:?}");
}

#[test]
fn paths_that_no_request_has_take_nothing_and_harm_nobody() {
    let mut snapshot = shop();
    let never = ["/a/%2e%2e", "/a\\b", "/%00"].map(prefix).to_vec();
    route(&mut snapshot, "odd", &[], vec![rule(never), rule(vec![prefix("/%61")])]);
    route(&mut snapshot, "root", &[], vec![rule(vec![prefix("/")])]);
    check(
        &snapshot,
        &[(get("/a/b"), "odd"), (get("/b"), "root"), (get("/a/%2e%2e"), "400 malformed_request")],
    );
}
