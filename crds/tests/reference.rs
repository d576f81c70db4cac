//! The reference page of our kinds equals what their definitions say.
#![allow(clippy::unwrap_used, reason = "writing to a string cannot fail; a broken file must stop the test")]

use std::fmt::Write as _;
use std::path::PathBuf;

use crds::conditions::{ConditionType, Reason};
use serde_json::Value;

const HEAD: &str = "# Kinds

<!-- Generated from crds/src; do not edit. UPDATE_GOLDEN=1 cargo test -p crds -->

Kinds of the group `turnpike.dev`, version `v1alpha1`, field by field. `[]` stands for the items of a list, `{}` for the
values of a map. A field without *required* and without default may be left out.
";

/// `UPDATE_GOLDEN=1` rewrites the page instead.
#[test]
fn the_page_of_kinds_is_the_generated_one() {
    let mut page = HEAD.to_owned();
    for definition in crds::definitions() {
        kind(&mut page, &serde_json::to_value(&definition).unwrap()["spec"]);
    }
    standard(&mut page);
    conditions(&mut page);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/kinds.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/reference/kinds.md is stale: UPDATE_GOLDEN=1 cargo test -p crds");
}

fn kind(page: &mut String, spec: &Value) {
    let schema = &spec["versions"][0]["schema"]["openAPIV3Schema"];
    let names = &spec["names"];
    write!(page, "\n## {}\n\n{}\n", text(&names["kind"]), text(&schema["description"]))
        .expect("a string can be written");
    let short: Vec<&str> = items(&names["shortNames"]).iter().map(text).collect();
    if !short.is_empty() {
        write!(page, "\nShort name: `{}`.\n", short.join("`, `")).expect("a string can be written");
    }
    page.push_str("\n| field | type | default | rules | meaning |\n|---|---|---|---|---|\n");
    for part in ["spec", "status"] {
        let required = is_required(schema, part);
        fields(page, part, &schema["properties"][part], required);
    }
}

/// A line for the field, then for what is in it.
fn fields(page: &mut String, path: &str, schema: &Value, required: bool) {
    if schema.is_null() {
        return;
    }
    let default =
        if schema["default"].is_null() { String::new() } else { format!("`{}`", schema["default"]) };
    let line = [
        kind_of(schema),
        default,
        rules(schema, required).join("; "),
        text(&schema["description"]).to_owned(),
    ];
    let cells: Vec<String> = line.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    writeln!(page, "| `{path}` | {} |", cells.join(" | ")).expect("a string can be written");
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        fields(page, &format!("{path}.{name}"), inner, is_required(schema, name));
    }
    for (mark, member) in [("[]", "items"), ("{}", "additionalProperties")] {
        let inner = &schema[member];
        if inner.is_object() {
            fields(page, &format!("{path}{mark}"), inner, false);
        }
    }
}

fn kind_of(schema: &Value) -> String {
    let words: Vec<String> = items(&schema["enum"])
        .iter()
        .filter(|word| !word.is_null())
        .map(|word| format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned)))
        .collect();
    if !words.is_empty() {
        return words.join(" or ");
    }
    match (text(&schema["type"]), text(&schema["format"])) {
        ("array", _) => "list".to_owned(),
        ("object", _) if schema["additionalProperties"].is_object() => "map".to_owned(),
        ("integer" | "number", _) | (_, "") => text(&schema["type"]).to_owned(),
        (kind, format) => format!("{kind}, {format}"),
    }
}

/// What the API server checks, in words.
fn rules(schema: &Value, required: bool) -> Vec<String> {
    let mut rules = Vec::new();
    if required {
        rules.push("required".to_owned());
    }
    let bounds = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
        ("maxProperties", "entries at most"),
        ("pattern", "matches"),
    ];
    for (member, words) in bounds {
        match &schema[member] {
            Value::Null => {}
            Value::String(pattern) => rules.push(format!("{words} `{pattern}`")),
            number => rules.push(format!("{words} {}", number.as_f64().unwrap_or_default())),
        }
    }
    match text(&schema["x-kubernetes-list-type"]) {
        "set" => rules.push("no item twice".to_owned()),
        "map" => {
            let keys: Vec<&str> = items(&schema["x-kubernetes-list-map-keys"]).iter().map(text).collect();
            rules.push(format!("one item for each `{}`", keys.join("`, `")));
        }
        _ => {}
    }
    rules.extend(items(&schema["x-kubernetes-validations"]).iter().map(|rule| {
        let message = text(&rule["message"]);
        if message.is_empty() { format!("`{}`", text(&rule["rule"])) } else { message.to_owned() }
    }));
    rules
}

fn standard(page: &mut String) {
    page.push_str(
        "\n## Standard kinds\n\nRead as Gateway API v1.7.0 defines them (experimental channel); the definitions are in\n\
         `crds/yaml/gateway-api`. Also read: Secret, Service, ConfigMap and Namespace (`v1`), EndpointSlice\n\
         (`discovery.k8s.io/v1`).\n\n",
    );
    for (name, _) in crds::STANDARD_DEFINITIONS {
        writeln!(page, "- `{}`", name.trim_end_matches(".yaml").replacen('_', "/", 1))
            .expect("a string can be written");
    }
}

fn conditions(page: &mut String) {
    page.push_str("\n## Conditions\n\n| type | meaning |\n|---|---|\n");
    for kind in ConditionType::ALL {
        writeln!(page, "| `{kind}` | {} |", kind.meaning()).expect("a string can be written");
    }
    page.push_str("\n| reason | when |\n|---|---|\n");
    for reason in Reason::ALL {
        writeln!(page, "| `{reason}` | {} |", reason.meaning()).expect("a string can be written");
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    items(&schema["required"]).iter().any(|required| required == name)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
