//! Refusals, CORS, life-cycle fields, gRPC statuses, records.

use analytics_record::{Protocol, Reason};
use gateway_pipeline::{Exchange, Outcome, Step};
use gateway_snapshot::{Cors, Filter, Rule, Stage};
use http::{HeaderMap, Version};

use crate::support::*;

fn cors(origins: &[&str], credentials: bool, methods: &[&str], headers: &[&str]) -> Filter {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Filter::Cors(Cors {
        allow_origins: owned(origins),
        allow_credentials: credentials,
        allow_methods: owned(methods),
        allow_headers: owned(headers),
        expose_headers: owned(&["x-header-3", "x-header-4"]),
        max_age: 3600,
    })
}

fn shared(filter: Filter) -> std::sync::Arc<gateway_pipeline::Prepared> {
    let mut snapshot = shop();
    route(&mut snapshot, "r", &[], vec![Rule { filters: vec![filter], ..rule(vec![prefix("/")]) }]);
    prepare(&snapshot)
}

fn preflight(origin: &str, method: &str) -> Request {
    let request = Request::get("http://a.example/").method("OPTIONS").header("origin", origin);
    request.header("access-control-request-method", method)
}

#[test]
fn preflights() {
    let prepared = shared(cors(&["https://www.foo.com"], true, &["GET", "OPTIONS"], &["x-header-1"]));
    let response = answer(&prepared, &preflight("https://www.foo.com", "GET"));
    let shown = |name| text(&response.headers, name);
    assert_eq!(response.status, 200);
    assert_eq!(shown("access-control-allow-origin"), "https://www.foo.com");
    assert_eq!(shown("access-control-allow-methods"), "GET, OPTIONS");
    assert_eq!(shown("access-control-allow-headers"), "x-header-1");
    assert_eq!(shown("access-control-expose-headers"), "x-header-3, x-header-4");
    assert_eq!(shown("access-control-allow-credentials"), "true");
    assert_eq!((shown("access-control-max-age"), shown("vary")), ("3600", "Origin"));
    let response = answer(&prepared, &preflight("https://foo.com", "GET"));
    assert_eq!(text(&response.headers, "access-control-allow-origin"), "-");
    let any = shared(cors(&["*"], false, &["*"], &["*"]));
    let response =
        answer(&any, &preflight("https://x.test:1", "PUT").header("access-control-request-headers", "a, b"));
    let shown = |name| text(&response.headers, name);
    assert_eq!(
        (shown("access-control-allow-methods"), shown("access-control-allow-headers")),
        ("PUT", "a, b")
    );
    assert_eq!(
        (shown("access-control-allow-origin"), shown("access-control-allow-credentials")),
        ("https://x.test:1", "-")
    );
}

#[test]
fn actual_requests_share_their_responses() {
    let prepared = shared(cors(&["https://www.foo.com"], false, &["GET"], &[]));
    for (origin, expected) in [("https://www.foo.com", "https://www.foo.com"), ("https://bar.com", "-")] {
        let (exchange, step) =
            Request::get("http://a.example/").header("origin", origin).begin(&prepared, at(0));
        assert!(matches!(step, Step::Forward));
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        exchange.edit_response(&mut headers, at(1));
        assert_eq!(text(&headers, "access-control-allow-origin"), expected, "the upstream has no say");
        assert_eq!(text(&headers, "vary"), "Origin");
    }
}

#[test]
fn refusals_are_problems_that_scripts_can_read() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    let mut guarded = sold(vec![prefix("/")]);
    guarded.filters = vec![cors(&["*"], false, &["*"], &[])];
    route(&mut snapshot, "r", &[], vec![guarded]);
    let response =
        answer(&prepare(&snapshot), &Request::get("http://a.example/").header("origin", "https://x.test"));
    assert_eq!(response.status, 401);
    assert_eq!(
        std::str::from_utf8(&response.body).unwrap(),
        r#"{"type":"urn:turnpike:reason:auth_missing","title":"Credentials are missing","status":401,"detail":"no API key was sent","reason":"auth_missing","request_id":"00000000-0000-0000-0000-000000000007"}"#
    );
    assert_eq!(text(&response.headers, "content-type"), "application/problem+json");
    assert_eq!(text(&response.headers, "access-control-allow-origin"), "https://x.test");
    assert_eq!(text(&response.headers, "x-request-id"), "00000000-0000-0000-0000-000000000007");
    assert_eq!(text(&response.headers, "cache-control"), "no-store");
    assert_eq!(
        text(&response.headers, "www-authenticate"),
        r#"ApiKey realm="api", in="header", name="x-api-key", Bearer realm="api", ApiKey realm="api", in="query", name="key", ApiKey realm="api", in="cookie", name="key""#
    );
}

fn grpc(path: &str) -> Request {
    let mut request = Request::get(&format!("http://a.example{path}")).method("POST");
    request.version = Version::HTTP_2;
    request.header("content-type", "application/grpc+proto")
}

#[test]
fn grpc_callers_get_a_status_in_the_head() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/svc")])]);
    let prepared = prepare(&snapshot);
    for (request, status) in [
        (grpc("/svc/M"), "16"),
        (grpc("/svc/M").header("x-api-key", "é"), "16"),
        (grpc("/none/M"), "12"),
        (grpc("/svc/../M"), "3"),
    ] {
        let (exchange, step) = request.begin(&prepared, at(0));
        let Step::Answer(response) = step else { panic!("{step:?}") };
        assert_eq!((response.status.as_u16(), text(&response.headers, "grpc-status")), (200, status));
        assert_eq!(text(&response.headers, "content-type"), "application/grpc");
        assert!(response.body.is_empty() && text(&response.headers, "grpc-message").is_ascii());
        let record = finish(exchange, 200, at(1));
        assert_eq!((record.protocol, record.grpc_status.to_string().as_str()), (Protocol::Grpc, status));
    }
}

#[test]
fn deprecated_products_say_until_when() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![]);
    route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/")])]);
    let product = snapshot.products.get_mut("shop/api").unwrap();
    (product.stage, product.deprecated_at, product.sunset_at) =
        (Stage::Deprecated, Some(1_688_169_599), Some(784_111_777));
    let prepared = prepare(&snapshot);
    let (exchange, _) = Request::get("http://a.example/").key("alice").begin(&prepared, at(0));
    let mut headers = HeaderMap::new();
    exchange.edit_response(&mut headers, at(1));
    assert_eq!(text(&headers, "deprecation"), "@1688169599");
    assert_eq!(text(&headers, "sunset"), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn failures_of_the_shell_end_in_the_record() {
    let mut snapshot = shop();
    route(&mut snapshot, "r", &[], vec![rule(vec![prefix("/")])]);
    let prepared = prepare(&snapshot);
    let (mut exchange, _) = Request::get("http://a.example/").begin(&prepared, at(0));
    let response = exchange.fail(Reason::UpstreamConnect, at(1));
    assert_eq!(response.status, 502);
    assert!(!String::from_utf8_lossy(&response.body).contains("shop/echo"), "backends have no names outside");
    let outcome = Outcome { status: 502, attempts: 3, local_bytes: 200, aborted: true, ..Outcome::default() };
    let record = exchange.finish(&outcome, at(2));
    assert_eq!((record.reason, record.status, record.attempts), (Reason::UpstreamConnect, 502, 3));
    assert_eq!(
        (record.response_bytes, record.duration_us, record.ts_us),
        (200, 2000, NOON as u64 * 1_000_000 + 2000)
    );
}

#[test]
fn heads_that_cannot_be_read_are_recorded_too() {
    let prepared = prepare(&shop());
    let mut request = Request::get("http://a.example/");
    request.target = b"\xff".to_vec();
    let (exchange, response) = Exchange::unparsed(&prepared, &request.head(), Reason::HeadersTooLarge, at(0));
    assert_eq!(response.status, 431);
    let record = finish(exchange, 431, at(1));
    assert_eq!((record.reason, record.status), (Reason::HeadersTooLarge, 431));
    assert_ne!(record.listener, analytics_record::NameId::NONE);
}
