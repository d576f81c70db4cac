//! Mutated resources: the compiler never panics, and what one object says touches no other's traffic.
//!
//! Objects are mutated as JSON behind the schema, so values get here that an API server would refuse. Runs are
//! seeded: `SEED=… MUTATIONS=… cargo test -p operator-compile --test hostile` repeats or lengthens them.
#![allow(clippy::unwrap_used, reason = "a broken case must stop the test")]

mod case;

use std::collections::BTreeMap;

use case::{Case, cases, objects, put, take};
use gateway_snapshot::{Route, Snapshot};
use operator_compile::resources::ObjectName;
use operator_compile::{Compiled, compile};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Values that code trips over.
fn odd(random: &mut SmallRng) -> Value {
    let texts = [
        "",
        "/",
        "//",
        "/../",
        "*",
        "*.",
        "*.a.b",
        "a",
        "A.b",
        "-",
        ":",
        "[",
        "(a",
        "(a|b)*",
        "a/b",
        "\u{0}",
        "é",
        "\r\nx: y",
        "0s",
        "1h",
        "99999h99999h99999h99999h",
        "UTC",
        "Mars/Olympus",
        "GET",
        "Service",
        "XBackend",
        "HTTPRoute",
        "gateway.networking.k8s.io",
        "turnpike.dev",
        "HTTPS",
        "TCP",
        "https://",
        "http://[::1]:x",
        "content-length",
        "10.0.0.1",
        "::",
        "whsec_",
        "/%zz",
        "/a%",
        "(\\w{900}){900}",
    ];
    match random.random_range(0..6) {
        0 => json!(
            *[i64::MIN, -1, 0, 1, 65_535, 65_536, i64::from(i32::MAX), i64::MAX].choose(random).unwrap()
        ),
        1 => Value::Null,
        2 => json!("x".repeat(*[63, 64, 253, 254, 1024, 5000].choose(random).unwrap())),
        3 => json!(random.random::<bool>()),
        _ => json!(*texts.choose(random).unwrap()),
    }
}

/// Changes one place somewhere in `value`.
fn mutate(value: &mut Value, random: &mut SmallRng) {
    let inside = random.random_range(0..8) > 0;
    match value {
        Value::Object(object) if inside && !object.is_empty() => {
            let keys: Vec<String> = object.keys().cloned().collect();
            let key = keys.choose(random).unwrap();
            match random.random_range(0..10) {
                0 => drop(object.remove(key)),
                1 => {
                    // The value of one field in another: the right shape in the wrong place.
                    let other = object[keys.choose(random).unwrap()].clone();
                    object.insert(key.clone(), other);
                }
                _ => mutate(object.get_mut(key).unwrap(), random),
            }
        }
        Value::Array(list) if inside && !list.is_empty() => {
            let index = random.random_range(0..list.len());
            match random.random_range(0..6) {
                0 => drop(list.remove(index)),
                1 => list.push(list[index].clone()),
                2 => (0..70).for_each(|_| list.push(list[index].clone())),
                _ => mutate(&mut list[index], random),
            }
        }
        other => *other = odd(random),
    }
}

/// One object of `case` mutated; its kind and name come out, unless none is left.
fn mutated(case: &mut Case, random: &mut SmallRng) -> Option<(&'static str, ObjectName)> {
    let (kind, name, mut value) = objects(&case.resources).choose(random)?.clone();
    for _ in 0..random.random_range(1..4) {
        mutate(&mut value, random);
    }
    if !put(&mut case.resources, kind, &name, &value) {
        // It does not even fit the type: the reader would leave it out.
        take(&mut case.resources, kind, &name);
    }
    Some((kind, name))
}

#[test]
fn mutated_resources_never_panic_and_compile_to_what_can_be_served() {
    let (mutations, seed) = (number("MUTATIONS", 1_500), number("SEED", 11));
    let originals = cases();
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..mutations {
        let original = originals.choose(&mut random).unwrap();
        let mut case = copy(original);
        for _ in 0..random.random_range(1..5) {
            let _ = mutated(&mut case, &mut random);
        }
        let compiled = compile(&case.resources, &case.options);
        let at = || format!("SEED={seed}, round {round}, {}", original.path.display());
        case::assert_servable(&compiled.snapshot, &at());
        let text = serde_json::to_string(&compiled.snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), compiled.snapshot, "{}", at());
    }
}

fn copy(case: &Case) -> Case {
    Case {
        path: case.path.clone(),
        resources: case.resources.clone(),
        lines: Vec::new(),
        options: case.options.clone(),
    }
}

#[test]
fn one_route_never_changes_another() {
    let (mutations, seed) = (number("MUTATIONS", 800), number("SEED", 12));
    let originals: Vec<Case> =
        cases().into_iter().filter(|case| case.resources.http_routes.len() > 1).collect();
    let before: Vec<Compiled> =
        originals.iter().map(|case| compile(&case.resources, &case.options)).collect();
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..mutations {
        let index = random.random_range(0..originals.len());
        let mut case = copy(&originals[index]);
        let routes: Vec<ObjectName> = case.resources.http_routes.keys().cloned().collect();
        let name = routes.choose(&mut random).unwrap();
        let mut value = serde_json::to_value(&*case.resources.http_routes[name]).unwrap();
        (0..random.random_range(1..4)).for_each(|_| mutate(&mut value, &mut random));
        if !put(&mut case.resources, "HTTPRoute", name, &value) {
            take(&mut case.resources, "HTTPRoute", name);
        }
        let after = compile(&case.resources, &case.options);
        let at = format!("SEED={seed}, round {round}, {}, {name}", case.path.display());
        assert_eq!(others(&before[index], name), others(&after, name), "{at}");
        let (old, new) = (&before[index].snapshot, &after.snapshot);
        assert_eq!(old.listeners, new.listeners, "{at}");
        assert_eq!(old.consumers, new.consumers, "{at}");
        for (key, backend) in &new.backends {
            assert!(old.backends.get(key).is_none_or(|other| other == backend), "{at}");
        }
    }
}

/// Entries and statuses of all routes but one.
fn others(compiled: &Compiled, but: &ObjectName) -> (BTreeMap<String, Route>, Vec<String>) {
    let name = but.to_string();
    let routes = compiled.snapshot.routes.iter();
    let entries =
        routes.filter(|(_, route)| route.name != name || route.kind != gateway_snapshot::RouteKind::Http);
    let statuses = compiled.statuses.iter();
    let statuses = statuses.filter(|(object, _)| object.kind.ends_with("Route") && object.name != *but);
    (
        entries.map(|(key, route)| (key.clone(), route.clone())).collect(),
        statuses.map(|(object, status)| format!("{object}: {status:?}")).collect(),
    )
}

#[test]
fn one_consumer_or_subscription_never_changes_another() {
    let (mutations, seed) = (number("MUTATIONS", 500), number("SEED", 13));
    let originals: Vec<Case> =
        cases().into_iter().filter(|case| case.resources.consumers.len() > 1).collect();
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..mutations {
        let original = originals.choose(&mut random).unwrap();
        let before = compile(&original.resources, &original.options).snapshot;
        let mut case = copy(original);
        let Some((kind, name)) = mutated(&mut case, &mut random) else { continue };
        if !matches!(
            kind,
            "Consumer" | "AlertPolicy" | "HTTPRoute" | "Service" | "XBackend" | "EndpointSlice"
        ) {
            continue;
        }
        let after = compile(&case.resources, &case.options).snapshot;
        let at = format!("SEED={seed}, round {round}, {}, {kind} {name}", case.path.display());
        // Two consumers can meet in one key only; the first owner keeps it.
        for (key, consumer) in before.consumers.iter().filter(|(key, _)| **key != name.to_string()) {
            let other = after.consumers.get(key).unwrap();
            let same = (&consumer.groups, consumer.disabled) == (&other.groups, other.disabled);
            assert!(same && (kind == "Consumer" || consumer == other), "{at}: {key}");
        }
        for (key, subscription) in &before.subscriptions {
            let of_mutated = kind == "Consumer" && subscription.consumer == name.to_string();
            assert!(of_mutated || after.subscriptions.get(key) == Some(subscription), "{at}: {key}");
        }
        for (key, plan) in &before.plans {
            // A plan is there as long as a subscription uses it.
            assert!(after.plans.get(key).is_none_or(|other| other == plan), "{at}: {key}");
        }
    }
}
