//! The schema of a kind: the part of OpenAPI v3 that structural schemas of CRDs use.
//!
//! In: a schema as JSON. Out: a typed tree with compiled patterns. Descriptions are dropped, unknown keywords
//! ignored. What a schema means for a value is in `validate`.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A schema for a value.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Schema {
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    pub format: Option<String>,
    pub nullable: bool,
    #[serde(rename = "enum")]
    pub words: Vec<Value>,
    #[serde(deserialize_with = "pattern")]
    pub pattern: Option<Regex>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub min_items: Option<usize>,
    pub max_items: Option<usize>,
    pub min_properties: Option<usize>,
    pub max_properties: Option<usize>,
    pub required: Vec<String>,
    pub properties: BTreeMap<String, Schema>,
    pub items: Option<Box<Schema>>,
    pub additional_properties: Option<Additional>,
    pub default: Option<Value>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub preserve_unknown: bool,
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub int_or_string: bool,
    #[serde(rename = "x-kubernetes-list-type")]
    pub list_type: Option<ListType>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub list_map_keys: Vec<String>,
}

/// `type` of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    /// The kind as people say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Object => "a map",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }
}

/// `additionalProperties`: the schema of a map's values, or whether any are allowed.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Additional {
    Allowed(bool),
    Values(Box<Schema>),
}

/// What makes two elements of a list the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListType {
    Atomic,
    Set,
    Map,
}

impl Schema {
    /// The schema of a map's entry, when the schema knows it.
    pub(super) fn entry(&self, key: &str) -> Option<&Schema> {
        self.properties.get(key).or(match &self.additional_properties {
            Some(Additional::Values(schema)) => Some(schema),
            _ => None,
        })
    }

    /// Whether entries without a schema may stand in the map.
    pub(super) fn is_open(&self) -> bool {
        self.preserve_unknown
            || matches!(self.additional_properties, Some(Additional::Allowed(true)))
            || (self.properties.is_empty() && self.additional_properties.is_none())
    }
}

/// Patterns are RE2's, which the `regex` crate reads but for `\Z`, which no CRD uses.
fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| Regex::new(&text).map_err(serde::de::Error::custom)).transpose()
}
