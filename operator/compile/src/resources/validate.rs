//! Whether a value is as its schema says, with the answers of an API server and what to do about them.
//!
//! In: a [`Schema`] and a value as JSON. Out: findings, each with the path of the value that it is about.
//! Rules in CEL are evaluated in `rules`, and only for values that pass here.

use serde_json::{Map, Value};

use super::limits;
use super::locate::{Path, Step};
use super::schema::{Kind, ListType, Schema};
use super::suggest::nearest;

/// Something wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub path: Path,
    pub problem: String,
    pub cure: String,
}

/// What is wrong with a value, at most [`limits::PROBLEMS`] findings.
pub(super) fn validate(schema: &Schema, value: &Value) -> Vec<Finding> {
    let mut check = Check::default();
    check.value(schema, value);
    check.findings
}

/// The value with the schema's defaults filled in, and without nulls that the schema does not allow: they stand
/// for nothing.
pub(super) fn complete(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null() || schema.entry(key).is_none_or(|schema| schema.nullable)
            });
            for (key, schema) in &schema.properties {
                if let Some(default) = &schema.default
                    && !map.contains_key(key)
                {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map {
                if let Some(schema) = schema.entry(key) {
                    complete(schema, value);
                }
            }
        }
        Value::Array(elements) => {
            if let Some(schema) = &schema.items {
                for element in elements {
                    complete(schema, element);
                }
            }
        }
        _ => {}
    }
}

#[derive(Default)]
struct Check {
    path: Path,
    findings: Vec<Finding>,
    /// Within `anyOf` and its like, which say nothing about fields that they do not name.
    partial: bool,
}

impl Check {
    fn add(&mut self, problem: impl Into<String>, cure: impl Into<String>) {
        if self.findings.len() < limits::PROBLEMS {
            self.findings.push(Finding {
                path: self.path.clone(),
                problem: problem.into(),
                cure: cure.into(),
            });
        }
    }

    fn at<R>(&mut self, step: Step, check: impl FnOnce(&mut Self) -> R) -> R {
        self.path.0.push(step);
        let result = check(self);
        self.path.0.pop();
        result
    }

    fn value(&mut self, schema: &Schema, value: &Value) {
        let full = self.findings.len() >= limits::PROBLEMS;
        if full || (value.is_null() && schema.nullable) {
            return;
        }
        if !self.kind(schema, value) {
            return;
        }
        match value {
            Value::String(text) => self.string(schema, text),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or(f64::NAN)),
            Value::Array(elements) => self.list(schema, elements),
            Value::Object(map) => self.map(schema, map),
            _ => {}
        }
        if !schema.words.is_empty() && !schema.words.contains(value) {
            self.word(schema, value);
        }
        self.combined(schema, value);
    }

    /// The type; what is of another type is not looked at further.
    fn kind(&mut self, schema: &Schema, value: &Value) -> bool {
        if schema.int_or_string {
            let fits = value.is_string() || value.is_i64() || value.is_u64();
            if !fits {
                self.add(format!("must be an integer or a string, not {}", name(value)), "");
            }
            return fits;
        }
        let Some(kind) = schema.kind else { return true };
        let fits = match kind {
            Kind::Object => value.is_object(),
            Kind::Array => value.is_array(),
            Kind::String => value.is_string(),
            Kind::Integer => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
        };
        if !fits {
            let cure = match (kind, value) {
                (Kind::String, Value::Bool(_) | Value::Number(_)) => "put it in quotes",
                (Kind::Integer | Kind::Number | Kind::Boolean, Value::String(_)) => "write it without quotes",
                (Kind::Array, _) => "write \"- \" in front of each element",
                _ => "",
            };
            self.add(format!("must be {}, not {}", kind.name(), name(value)), cure);
        }
        fits
    }

    fn string(&mut self, schema: &Schema, text: &str) {
        let length = text.chars().count();
        if let Some(least) = schema.min_length.filter(|least| length < *least) {
            self.add(format!("must have at least {least} characters, not {length}"), "");
        }
        if let Some(most) = schema.max_length.filter(|most| length > *most) {
            self.add(format!("must have at most {most} characters, not {length}"), "");
            return;
        }
        if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.add(format!("{} does not match {pattern}", quoted(text)), "");
        }
        if let Some(problem) = schema.format.as_deref().and_then(|format| malformed(format, text)) {
            self.add(format!("{} is not {problem}", quoted(text)), "");
        }
    }

    fn number(&mut self, schema: &Schema, number: f64) {
        let limits = if schema.format.as_deref() == Some("int32") {
            (f64::from(i32::MIN), f64::from(i32::MAX))
        } else {
            (f64::NEG_INFINITY, f64::INFINITY)
        };
        let least = schema.minimum.unwrap_or(limits.0);
        if number < least || (schema.exclusive_minimum && number <= least) {
            let than = if schema.exclusive_minimum { "greater than" } else { "at least" };
            self.add(format!("must be {than} {least}, not {number}"), "");
        }
        let most = schema.maximum.unwrap_or(limits.1);
        if number > most || (schema.exclusive_maximum && number >= most) {
            let than = if schema.exclusive_maximum { "less than" } else { "at most" };
            self.add(format!("must be {than} {most}, not {number}"), "");
        }
        if let Some(of) = schema.multiple_of.filter(|of| (number / of).fract() != 0.0) {
            self.add(format!("must be a multiple of {of}, not {number}"), "");
        }
    }

    fn word(&mut self, schema: &Schema, value: &Value) {
        let words: Vec<String> = schema.words.iter().map(plain).collect();
        let cure = match value.as_str().and_then(|text| nearest(text, words.iter().map(String::as_str))) {
            Some(word) => format!("did you mean {word}?"),
            None => format!("write {}", words.join(" or ")),
        };
        self.add(format!("{} is not a value of this field", quoted(&plain(value))), cure);
    }

    fn list(&mut self, schema: &Schema, elements: &[Value]) {
        let length = elements.len();
        if let Some(least) = schema.min_items.filter(|least| length < *least) {
            self.add(format!("must have at least {least} elements, not {length}"), "");
        }
        if let Some(most) = schema.max_items.filter(|most| length > *most) {
            self.add(format!("must have at most {most} elements, not {length}"), "");
            return;
        }
        if let Some(items) = &schema.items {
            for (index, element) in elements.iter().enumerate() {
                self.at(Step::Index(index), |check| check.value(items, element));
            }
        }
        self.repeated(schema, elements);
    }

    /// Elements that must be different from each other.
    fn repeated(&mut self, schema: &Schema, elements: &[Value]) {
        let keys = &schema.list_map_keys;
        let identity = |element: &Value| match schema.list_type {
            Some(ListType::Set) => Some(element.to_string()),
            Some(ListType::Map) if element.is_object() => {
                Some(keys.iter().map(|key| element[key].to_string()).collect::<Vec<_>>().join(", "))
            }
            _ => None,
        };
        let mut seen = std::collections::BTreeMap::new();
        for (index, element) in elements.iter().enumerate() {
            let Some(identity) = identity(element) else { return };
            if let Some(first) = seen.get(&identity) {
                let what = if keys.is_empty() { String::new() } else { format!("{} ", keys.join(", ")) };
                let problem = format!("{what}{identity} is already that of element [{first}]");
                self.at(Step::Index(index), |check| check.add(problem, "remove one of them"));
            } else {
                seen.insert(identity, index);
            }
        }
    }

    fn map(&mut self, schema: &Schema, map: &Map<String, Value>) {
        if let Some(least) = schema.min_properties.filter(|least| map.len() < *least) {
            self.add(format!("must have at least {least} entries, not {}", map.len()), "");
        }
        if let Some(most) = schema.max_properties.filter(|most| map.len() > *most) {
            self.add(format!("must have at most {most} entries, not {}", map.len()), "");
            return;
        }
        for key in schema.required.iter().filter(|key| !map.contains_key(*key)) {
            self.add(format!("the field {key} is missing"), "add it");
        }
        for (key, value) in map {
            match schema.entry(key) {
                Some(schema) => self.at(Step::Key(key.clone()), |check| check.value(schema, value)),
                None if self.partial || schema.is_open() => {}
                None => self.at(Step::Key(key.clone()), |check| check.unknown(schema, key)),
            }
        }
    }

    fn unknown(&mut self, schema: &Schema, key: &str) {
        let known: Vec<&str> = schema.properties.keys().map(String::as_str).collect();
        let cure = match nearest(key, known.iter().copied()) {
            Some(word) => format!("did you mean {word}?"),
            None if known.len() <= 16 => format!("fields here are {}", known.join(", ")),
            None => "remove it".to_owned(),
        };
        self.add("unknown field", cure);
    }

    fn combined(&mut self, schema: &Schema, value: &Value) {
        let partial = std::mem::replace(&mut self.partial, true);
        for part in &schema.all_of {
            self.value(part, value);
        }
        self.partial = partial;
        if !schema.any_of.is_empty() && !schema.any_of.iter().any(|part| fits(part, value)) {
            self.add("fits none of the forms that are allowed here", "");
        }
        if !schema.one_of.is_empty() && schema.one_of.iter().filter(|part| fits(part, value)).count() != 1 {
            self.add("must fit exactly one of the forms that are allowed here", "");
        }
        if schema.not.as_deref().is_some_and(|part| fits(part, value)) {
            self.add("has a form that is not allowed here", "");
        }
    }
}

/// Whether a value fits a part of a schema.
fn fits(schema: &Schema, value: &Value) -> bool {
    let mut check = Check { partial: true, ..Check::default() };
    check.value(schema, value);
    check.findings.is_empty()
}

/// What a text of this format should be, when it is not.
fn malformed(format: &str, text: &str) -> Option<&'static str> {
    use crds::k8s_openapi::ByteString;
    use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    let value = || Value::String(text.to_owned());
    match format {
        "date-time" if serde_json::from_value::<Time>(value()).is_err() => {
            Some("a moment in time such as 2026-01-31T12:00:00Z")
        }
        "ipv4" if text.parse::<std::net::Ipv4Addr>().is_err() => Some("an IPv4 address"),
        "ipv6" if text.parse::<std::net::Ipv6Addr>().is_err() => Some("an IPv6 address"),
        "byte" if serde_json::from_value::<ByteString>(value()).is_err() => Some("base64"),
        _ => None,
    }
}

fn name(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text for a message: shortened, and with control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
