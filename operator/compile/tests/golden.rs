//! Golden cases: `testdata/<case>/in.yaml` compiles to `out.yaml`, which holds what a reader wants to see: lines
//! for people, conditions, and the entries of the snapshot and catalog without defaults and secrets.
//!
//! `UPDATE_GOLDEN=1 cargo test -p operator-compile --test golden` writes the outputs anew; read the difference.

#![allow(clippy::unwrap_used, reason = "a broken case must stop the test")]

mod case;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use case::{Case, cases};
use operator_compile::{Compiled, Fleet, Status, compile};
use serde_json::{Map, Value, json};

#[test]
fn every_case_compiles_to_its_golden_output() {
    let mut failed = Vec::new();
    for Case { path, resources, lines, options } in cases() {
        let compiled = compile(&resources, &options);
        assert_eq!(compiled, compile(&resources, &options), "{} is not deterministic", path.display());
        case::assert_servable(&compiled.snapshot, &path.display());
        for fleet in &compiled.fleets {
            case::assert_servable(&fleet.snapshot, &fleet.key);
        }
        let lines = lines.iter().chain(&compiled.diagnostics).map(ToString::to_string);
        let actual = render(&compiled, &lines.collect::<Vec<_>>());
        let golden = path.join("out.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &actual).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != actual {
            failed.push(format!("{}:\n{actual}", path.display()));
        }
    }
    assert!(
        failed.is_empty(),
        "these differ; run with UPDATE_GOLDEN=1 and read the difference\n{}",
        failed.join("\n")
    );
}

/// What the compiler can say. A new condition or reason needs a line here and a case.
const VOCABULARY: &str = include_str!("vocabulary.txt");

#[test]
fn every_condition_and_reason_has_a_case() {
    let mut said: BTreeSet<String> = BTreeSet::new();
    for Case { resources, options, .. } in cases() {
        for (object, status) in compile(&resources, &options).statuses {
            let conditions = status.all_conditions();
            said.extend(conditions.map(|(part, condition)| {
                let kind = if part.starts_with("listener ") { "Listener" } else { object.kind };
                format!("{kind} {}={:?} {}", condition.kind, condition.status, condition.reason)
            }));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        println!("{}", said.iter().cloned().collect::<Vec<_>>().join("\n"));
    }
    let wanted: BTreeSet<String> = VOCABULARY.lines().map(str::to_owned).collect();
    let missing: Vec<_> = wanted.difference(&said).collect();
    let unknown: Vec<_> = said.difference(&wanted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "no case for {missing:#?}; not in vocabulary.txt: {unknown:#?}"
    );
}

/// What is a fleet's: names of what it serves, and its objects whole.
fn fleet_value(fleet: &Fleet) -> Value {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let snapshot = serde_json::to_value(&fleet.snapshot).unwrap();
    let children = fleet.children.iter().map(|child| {
        let name = child.object["metadata"]["name"].as_str().unwrap();
        let title = if name == fleet.name { child.kind.to_owned() } else { format!("{} {name}", child.kind) };
        (title, child.object.clone())
    });
    json!({
        "name": fleet.name,
        "gateways": fleet.gateways.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>(),
        "listeners": keys(&snapshot["listeners"]),
        "routes": keys(&snapshot["routes"]),
        "backends": keys(&snapshot["backends"]),
        "children": children.collect::<Map<_, _>>(),
    })
}

fn render(compiled: &Compiled, lines: &[String]) -> String {
    let mut out = Map::new();
    out.insert("lines".to_owned(), json!(lines));
    let statuses: BTreeMap<String, Value> =
        compiled.statuses.iter().map(|(object, status)| (object.to_string(), status_value(status))).collect();
    out.insert("statuses".to_owned(), json!(statuses));
    out.insert("snapshot".to_owned(), entries(serde_json::to_value(&compiled.snapshot).unwrap()));
    let fleets = compiled.fleets.iter().map(|fleet| (fleet.key.clone(), fleet_value(fleet)));
    out.insert("fleets".to_owned(), fleets.collect::<Map<_, _>>().into());
    out.insert("kept".to_owned(), compiled.kept.iter().map(ToString::to_string).collect());
    out.insert("catalog".to_owned(), entries(serde_json::to_value(&compiled.catalog).unwrap()));
    let mut text = String::new();
    yaml(&prune(Value::Object(out)).unwrap_or_default(), 0, &mut text);
    text
}

fn status_value(status: &Status) -> Value {
    let mut value = Map::new();
    for listener in &status.listeners {
        let kinds = listener.supported_kinds.join(", ");
        value.insert(
            format!("listener {}", listener.name),
            json!([format!("{} attached of {kinds}", listener.attached_routes)]),
        );
    }
    for (part, condition) in status.all_conditions() {
        let message =
            if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        let text = format!("{}={:?} {}{message}", condition.kind, condition.status, condition.reason);
        let part = if part.is_empty() { "object".to_owned() } else { part };
        let list = value.entry(part).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!(text));
    }
    if let Some(sets) = status.attached_listener_sets {
        value.insert("attachedListenerSets".to_owned(), json!(sets));
    }
    Value::Object(value)
}

/// A snapshot or catalog without format, version, default settings, and secrets.
fn entries(mut value: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    object.remove("format");
    assert_eq!(object.remove("version").unwrap().as_str().unwrap().len(), 32);
    let defaults = serde_json::to_value(gateway_snapshot::Settings::default()).unwrap();
    if let Some(settings) = object.get_mut("settings").and_then(Value::as_object_mut) {
        settings.retain(|key, value| defaults[key] != *value);
    }
    for certificate in object.get_mut("certificates").and_then(Value::as_object_mut).into_iter().flatten() {
        let certificate = certificate.1.as_object_mut().unwrap();
        certificate.retain(|key, _| key == "names" || key == "not_after");
    }
    for backend in object.get_mut("backends").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(ca) = backend.1.pointer_mut("/tls/ca").filter(|ca| **ca != "") {
            *ca = json!("(bundle)");
        }
    }
    value
}

/// Without nulls, empty strings and empty containers.
fn prune(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().filter_map(prune).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(object) => {
            let object: Map<String, Value> =
                object.into_iter().filter_map(|(key, value)| Some((key, prune(value)?))).collect();
            (!object.is_empty()).then_some(Value::Object(object))
        }
        other => Some(other),
    }
}

/// Block YAML: small containers of scalars on one line.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                entry(&format!("{pad}{key}:"), value, indent + 1, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                entry(&format!("{pad}-"), value, indent + 1, out);
            }
        }
        scalar => writeln!(out, "{pad}{scalar}").unwrap(),
    }
}

fn entry(head: &str, value: &Value, indent: usize, out: &mut String) {
    match inline(value) {
        Some(text) if head.len() + text.len() < 110 || !(value.is_object() || value.is_array()) => {
            writeln!(out, "{head} {text}").unwrap();
        }
        _ => {
            writeln!(out, "{head}").unwrap();
            yaml(value, indent, out);
        }
    }
}

/// One line for a scalar, and for a container without containers of more than one element in it.
fn inline(value: &Value) -> Option<String> {
    let simple = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(object) if object.values().all(|value| simple(value) || object.len() == 1) => {
            let parts: Option<Vec<String>> =
                object.iter().map(|(key, value)| Some(format!("{key}: {}", inline(value)?))).collect();
            Some(format!("{{{}}}", parts?.join(", ")))
        }
        Value::Array(list)
            if list
                .iter()
                .all(|value| simple(value) && value.as_str().is_none_or(|text| text.len() <= 60)) =>
        {
            let parts: Option<Vec<String>> = list.iter().map(inline).collect();
            Some(format!("[{}]", parts?.join(", ")))
        }
        Value::Object(_) | Value::Array(_) => None,
        scalar => Some(scalar.to_string()),
    }
}
