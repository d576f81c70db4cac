//! The index finds what a naive reading of the specification finds.

use std::cmp::Reverse;

use gateway_snapshot::{HeaderMatch, Match, PathMatch, QueryMatch, Snapshot, StringMatch};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::*;

const HOSTS: [&str; 5] = ["a.b.c", "*.b.c", "b.c", "*.c", "x.c"];

fn some_path() -> impl Strategy<Value = PathMatch> {
    let text = "(/[ab]{1,2}){0,3}".prop_map(|text| if text.is_empty() { "/".to_owned() } else { text });
    (text, 0..6).prop_map(|(text, kind)| match kind {
        0..=1 => PathMatch::Exact(text),
        2 => PathMatch::Regex(format!("{text}.*")),
        _ => PathMatch::Prefix(text),
    })
}

fn some_match() -> impl Strategy<Value = Match> {
    let one = |name: &'static str| select(vec![None, Some((name, "1")), Some((name, "2"))]);
    (some_path(), one("x-a"), one("x-b"), one("q"), select(vec![None, Some("GET"), Some("PUT")])).prop_map(
        |(path, a, b, query, method)| {
            let value = |text: &str| StringMatch::Exact(text.to_owned());
            let header = |(name, text): (&str, &str)| HeaderMatch { name: name.into(), value: value(text) };
            let query = query.map(|(name, text)| QueryMatch { name: name.into(), value: value(text) });
            let headers = a.into_iter().chain(b).map(header).collect();
            Match { path, headers, query: query.into_iter().collect(), method: method.map(str::to_owned) }
        },
    )
}

type SomeRoute = (Vec<&'static str>, i64, Vec<Vec<Match>>);

fn some_snapshot() -> impl Strategy<Value = Snapshot> {
    let hosts = prop::collection::vec(select(HOSTS.to_vec()), 0..3);
    let rules = prop::collection::vec(prop::collection::vec(some_match(), 1..3), 1..3);
    let routes = prop::collection::vec((hosts, 0..3_i64, rules), 1..8);
    routes.prop_map(|routes: Vec<SomeRoute>| {
        let mut snapshot = shop();
        for (at, (hosts, created, rules)) in routes.into_iter().enumerate() {
            let rules = rules.into_iter().map(rule).collect();
            route(&mut snapshot, &format!("r{at}"), &hosts, rules);
            let route = snapshot.routes.get_mut(&format!("httproute/shop/r{at}"));
            route.expect("just made").created = created;
        }
        snapshot
    })
}

/// Reads the specification as it is written, one match after the other.
fn naive(
    snapshot: &Snapshot,
    request: &Request,
    host: &str,
    path: &str,
    query: Option<&str>,
) -> Option<String> {
    let mut best = None;
    for route in snapshot.routes.values() {
        let all = ["*".to_owned()];
        let hosts = match route.attachments[0].hostnames.as_slice() {
            [] => &all[..],
            hosts => hosts,
        };
        let taken = hosts.iter().filter(|name| takes_host(name, host));
        let Some(hostname) = taken.max_by_key(|name| host_rank(name)) else { continue };
        for (position, rule) in route.rules.iter().enumerate() {
            for (index, found) in rule.matches.iter().enumerate() {
                let Some(rank) = path_rank(&found.path, path) else { continue };
                if !conditions_hold(found, request, query) {
                    continue;
                }
                let asks = Reverse((found.method.is_some(), found.headers.len(), found.query.len()));
                let age = (route.created, route.name.clone(), position, index);
                let key = (Reverse(host_rank(hostname)), rank, asks, age);
                if best.as_ref().is_none_or(|(known, _)| key < *known) {
                    best = Some((key, format!("{} {position}", route.name)));
                }
            }
        }
    }
    best.map(|(_, name)| name)
}

fn takes_host(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
        None => name == host,
    }
}

fn host_rank(name: &str) -> (bool, usize) {
    (!name.starts_with('*'), name.len())
}

fn path_rank(found: &PathMatch, path: &str) -> Option<(u8, Reverse<usize>)> {
    match found {
        PathMatch::Exact(text) => (text == path).then_some((0, Reverse(0))),
        PathMatch::Regex(pattern) => {
            let start = pattern.trim_end_matches(".*");
            path.starts_with(start).then_some((1, Reverse(pattern.len())))
        }
        PathMatch::Prefix(text) => {
            let text = text.trim_end_matches('/');
            let elements = format!("{path}/").starts_with(&format!("{text}/"));
            elements.then_some((2, Reverse(text.len())))
        }
    }
}

fn conditions_hold(found: &Match, request: &Request, query: Option<&str>) -> bool {
    let is = |value: &StringMatch, text: &str| matches!(value, StringMatch::Exact(exact) if exact == text);
    found.method.as_ref().is_none_or(|method| *method == request.method)
        && found.headers.iter().all(|h| {
            request.headers.get(&h.name).is_some_and(|v| v.to_str().is_ok_and(|text| is(&h.value, text)))
        })
        && found.query.iter().all(|q| {
            let value = query.and_then(|query| query.strip_prefix(&format!("{}=", q.name)));
            value.is_some_and(|value| is(&q.value, value))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_index_is_the_specification(
        snapshot in some_snapshot(),
        // What was served before, one after the other: some routes are the same, and something that rules refer to may not be.
        former in prop::collection::vec(
            (some_snapshot(), prop::collection::vec(any::<bool>(), 8), prop::bool::weighted(0.2)), 0..4,
        ),
        requests in prop::collection::vec(
            (select(vec!["a.b.c", "x.b.c", "b.c", "x.c", "y.c", "z"]), "(/[ab]{1,2}){0,4}/?", select(vec!["GET", "PUT"]),
             select(vec![None, Some("1"), Some("2")]), select(vec![None, Some("1"), Some("2")]), select(vec![None, Some("q=1"), Some("q=2")])),
            1..12,
        ),
    ) {
        let mut names = Names::default();
        let mut before: Option<std::sync::Arc<gateway_pipeline::Prepared>> = None;
        for (mut former, same, another_backend) in former {
            for ((key, route), _) in snapshot.routes.iter_shared().zip(same).filter(|(_, same)| *same) {
                former.routes.insert(key.clone(), route.clone());
            }
            if another_backend {
                backend(&mut former, "shop/another:80");
            }
            before = Some(prepare_after(&former, before.as_deref(), &mut names));
        }
        let prepared = prepare_after(&snapshot, before.as_deref(), &mut names);
        for (host, path, method, a, b, query) in requests {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
            let mut request = Request::get(&format!("http://{host}{target}")).method(method);
            for (name, value) in [("x-a", a), ("x-b", b)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let (exchange, _) = request.begin(&prepared, at(0));
            let record = finish(exchange, 200, at(1));
            let found = (record.route.0 != 0).then(|| format!("{} {}", names.of(record.route), names.of(record.rule)));
            prop_assert_eq!(found, naive(&snapshot, &request, host, &path, query), "{} {}{}", method, host, target);
        }
    }
}
