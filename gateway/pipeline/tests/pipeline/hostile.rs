//! Whatever comes in, the answer is an answer and the record is a record.

use gateway_pipeline::Step;
use gateway_quota::Unit;
use http::{HeaderName, HeaderValue, Version};
use proptest::prelude::*;

use crate::support::*;

const FIELDS: [&str; 12] = [
    "host",
    "x-api-key",
    "authorization",
    "cookie",
    "origin",
    "content-length",
    "content-type",
    "upgrade",
    "x-forwarded-for",
    "x-request-id",
    "access-control-request-method",
    "access-control-request-headers",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn nothing_panics_and_every_exchange_ends_in_a_record(
        target in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), "/[ -~]{0,60}".prop_map(String::into_bytes)],
        method in prop::sample::select(vec!["GET", "OPTIONS", "CONNECT", "", "\u{e9}", "get"]),
        fields in prop::collection::vec((prop::sample::select(FIELDS.to_vec()), prop::collection::vec(0x20_u8..=0xff, 0..40)), 0..8),
        h2 in any::<bool>(),
        name in prop::option::of("\\PC{0,20}"),
        random in any::<u64>(),
    ) {
        let mut snapshot = shop();
        sell(&mut snapshot, vec![limit("daily", Unit::Requests, 10)]);
        snapshot.settings.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        snapshot.auth_policies.get_mut("shop/keys").unwrap().hide_credentials = true;
        let https = listener(&mut snapshot, "https", 443, Some("*.example"));
        route(&mut snapshot, "r", &[], vec![sold(vec![prefix("/a")]), rule(vec![prefix("/")])]);
        route_on(&mut snapshot, &https, "s", &[], vec![rule(vec![prefix("/")])]);
        let prepared = prepare(&snapshot);
        let mut request = Request::get("http://a.example/").method(method);
        request.target = target;
        request.random = random;
        request.version = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
        if let Some(name) = name {
            (request.tls, request.port) = (Some(Some(name)), 443);
        }
        for (field, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers.append(HeaderName::from_static(field), value);
            }
        }
        let (exchange, step) = request.begin(&prepared, at(0));
        match step {
            Step::Forward => {
                let mut headers = request.headers.clone();
                exchange.edit_request(&request.head(), &mut headers);
                exchange.edit_response(&mut headers, at(1));
                if let Some(target) = exchange.upstream_target() {
                    prop_assert!(target.starts_with('/') && target.is_ascii() && !target.contains(' '));
                }
            }
            Step::Answer(response) => prop_assert!(response.status.as_u16() >= 200),
            Step::NeedLease(_) => {}
        }
        let record = finish(exchange, 200, at(1));
        prop_assert_eq!(record.charges.units(), 0);
    }
}
