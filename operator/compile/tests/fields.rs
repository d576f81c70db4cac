//! Every field of the CRDs that we read does something, or is in `unused.txt` with what its author is told.
//!
//! A field is read when in some golden case another value of it, or none, compiles to something else: another snapshot,
//! catalog, status or line for people. A new field of a CRD fails here until it is read or listed.
#![allow(clippy::unwrap_used, reason = "a broken case must stop the test")]

mod case;

use std::collections::BTreeMap;

use case::{Case, cases, objects, put};
use operator_compile::resources::{ObjectName, Resources};
use operator_compile::{Compiled, ObjectRef, compile};
use serde_json::{Value, json};

/// `Kind path word text`: the fields at `path` (and below it, when it ends with `.*`) do nothing by themselves. The
/// word is the reason that a condition of the object has when the field is set, or `people` for texts that nobody but
/// people reads.
const UNUSED: &str = include_str!("unused.txt");

/// A field of a kind: `spec.rules[].matches[].path.value`.
struct Field {
    kind: String,
    path: String,
    schema: Value,
}

/// A golden case with its objects as JSON, and what comes out of it with one object written back unchanged.
struct Prepared {
    case: Case,
    objects: Vec<(&'static str, ObjectName, Value)>,
    unchanged: BTreeMap<usize, Compiled>,
}

#[test]
fn every_field_is_read_or_listed() {
    let mut prepared: Vec<Prepared> = cases()
        .into_iter()
        .map(|case| Prepared { objects: objects(&case.resources), case, unchanged: BTreeMap::new() })
        .collect();
    let fields = fields();
    assert!(fields.len() > 300, "{}", fields.len());
    let idle: Vec<&Field> = fields.iter().filter(|field| !is_read(&mut prepared, field)).collect();
    let entries: Vec<Entry> = UNUSED.lines().filter(|line| !line.starts_with('#')).map(Entry::read).collect();
    let mut wrong: Vec<String> = idle
        .iter()
        .filter(|field| !entries.iter().any(|entry| entry.covers(field)))
        .map(|field| format!("{} {}: no case shows that it is read", field.kind, field.path))
        .collect();
    for entry in &entries {
        if !idle.iter().any(|field| entry.covers(field)) {
            wrong.push(format!("{} {}: is read, take the line out", entry.kind, entry.path));
        } else if entry.word != "people" && !is_told(&mut prepared, entry) {
            wrong.push(format!("{} {}: no case says {}", entry.kind, entry.path, entry.word));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A line of `unused.txt`.
struct Entry {
    kind: &'static str,
    path: &'static str,
    below: bool,
    word: &'static str,
}

impl Entry {
    fn read(line: &'static str) -> Self {
        let mut parts = line.splitn(4, ' ');
        let mut part = || parts.next().filter(|part| !part.is_empty()).unwrap_or_else(|| panic!("{line}"));
        let (kind, path, word, _text) = (part(), part(), part(), part());
        let stem = path.strip_suffix(".*");
        Self { kind, path: stem.unwrap_or(path), below: stem.is_some(), word }
    }

    fn covers(&self, field: &Field) -> bool {
        let rest = field.path.strip_prefix(self.path).filter(|_| field.kind == self.kind);
        rest.is_some_and(|rest| rest.is_empty() || (self.below && rest.starts_with(['.', '['])))
    }
}

/// Every field at the ends of the schemas, of the version that is stored.
fn fields() -> Vec<Field> {
    let mut all = Vec::new();
    for (_, yaml) in crds::STANDARD_DEFINITIONS.iter().chain(crds::DEFINITIONS) {
        let crd: Value = serde_saphyr::from_str(yaml).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let stored = versions.iter().find(|version| version["storage"] == true).unwrap();
        ends(kind, "spec", &stored["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut all);
    }
    all
}

fn ends(kind: &str, path: &str, schema: &Value, out: &mut Vec<Field>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, inner) in properties {
            ends(kind, &format!("{path}.{name}"), inner, out);
        }
    } else if schema["items"].is_object() {
        ends(kind, &format!("{path}[]"), &schema["items"], out);
    } else {
        out.push(Field { kind: kind.to_owned(), path: path.to_owned(), schema: schema.clone() });
    }
}

fn is_read(prepared: &mut [Prepared], field: &Field) -> bool {
    prepared.iter_mut().any(|prepared| {
        (0..prepared.objects.len()).any(|index| {
            let (kind, _, value) = &prepared.objects[index];
            if *kind != field.kind {
                return false;
            }
            let changed: Vec<Value> = places(value, &field.path)
                .iter()
                .flat_map(|place| changes(value, place, &field.schema))
                .collect();
            changed.iter().any(|changed| prepared.matters(index, changed))
        })
    })
}

impl Prepared {
    /// Whether the object compiles to something else when it is `changed`.
    fn matters(&mut self, index: usize, changed: &Value) -> bool {
        let Some(after) = self.with(index, changed) else { return false };
        if !self.unchanged.contains_key(&index) {
            let unchanged = self.with(index, &self.objects[index].2.clone()).unwrap();
            self.unchanged.insert(index, unchanged);
        }
        self.unchanged[&index] != after
    }

    /// Nothing when the value does not fit the type: the reader would refuse it.
    fn with(&self, index: usize, value: &Value) -> Option<Compiled> {
        let (kind, name, _) = &self.objects[index];
        let mut resources: Resources = self.case.resources.clone();
        put(&mut resources, kind, name, value).then(|| compile(&resources, &self.case.options))
    }
}

/// Whether in some case the status of an object with the field has the reason.
fn is_told(prepared: &mut [Prepared], entry: &Entry) -> bool {
    prepared.iter().any(|prepared| {
        let with_field = prepared
            .objects
            .iter()
            .filter(|(kind, _, value)| *kind == entry.kind && !places(value, entry.path).is_empty());
        let compiled = compile(&prepared.case.resources, &prepared.case.options);
        with_field.into_iter().any(|(kind, name, _)| {
            let status = compiled.statuses.get(&ObjectRef { kind, name: name.clone() });
            status.is_some_and(|status| {
                status.all_conditions().any(|(_, condition)| condition.reason.as_str() == entry.word)
            })
        })
    })
}

/// JSON pointers of every place in `value` that `path` stands for.
fn places(value: &Value, path: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in path.replace("[]", ".[]").split('.') {
        let mut next = Vec::new();
        for place in found {
            match (part, value.pointer(&place)) {
                ("[]", Some(Value::Array(list))) => {
                    next.extend((0..list.len()).map(|index| format!("{place}/{index}")));
                }
                (_, Some(Value::Object(object))) if object.contains_key(part) => {
                    next.push(format!("{place}/{part}"));
                }
                _ => {}
            }
        }
        found = next;
    }
    found
}

/// The object without the field, and with other values of it.
fn changes(value: &Value, place: &str, schema: &Value) -> Vec<Value> {
    let mut all = vec![without(value, place)];
    let words = schema["enum"].as_array().into_iter().flatten().cloned();
    let others: Vec<Value> = match value.pointer(place).unwrap() {
        Value::Bool(set) => vec![json!(!set)],
        Value::Number(number) => vec![json!(number.as_i64().unwrap_or_default() + 1)],
        Value::String(text) => words.chain([json!(format!("{text}x"))]).collect(),
        Value::Object(_) => vec![json!({}), json!({"example.com/other": "other"})],
        Value::Array(_) | Value::Null => vec![],
    };
    for other in others {
        let mut changed = value.clone();
        *changed.pointer_mut(place).unwrap() = other;
        all.push(changed);
    }
    all
}

fn without(value: &Value, place: &str) -> Value {
    let mut changed = value.clone();
    let (parent, last) = place.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.remove(last)),
        Value::Array(list) => drop(list.remove(last.parse().unwrap())),
        _ => unreachable!("a place has a parent"),
    }
    changed
}
