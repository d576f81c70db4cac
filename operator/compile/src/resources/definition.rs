//! The definitions of the kinds that we read: versions, scope, schema and rules.
//!
//! In: the CRDs that `crds` carries, and the types of core kinds. Out: [`Definition`]s, made when first asked for.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::rules::Rules;
use super::schema::Schema;

/// What is known about a kind.
pub(super) struct Definition {
    /// API group; empty for core kinds.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// By version; only those that are served.
    pub versions: BTreeMap<String, Version>,
}

/// One version of a kind.
pub(super) struct Version {
    json: Value,
    parsed: OnceLock<(Schema, Rules)>,
}

impl Version {
    fn new(mut json: Value) -> Self {
        // What every object has, an API server knows without being told by a CRD.
        if let Some(properties) = json["properties"].as_object_mut() {
            properties.insert("metadata".to_owned(), schema_of::<ObjectMeta>());
            for text in ["apiVersion", "kind"] {
                properties.insert(text.to_owned(), serde_json::json!({"type": "string"}));
            }
        }
        Self { json, parsed: OnceLock::new() }
    }

    /// The schema, and the rules in CEL.
    pub(super) fn parsed(&self) -> &(Schema, Rules) {
        self.parsed.get_or_init(|| {
            let schema = serde_json::from_value(self.json.clone()).expect("a test reads every schema");
            (schema, Rules::new(&self.json))
        })
    }
}

impl Definition {
    fn core<T: schemars::JsonSchema>(group: &str, kind: &str, namespaced: bool) -> Self {
        let versions = BTreeMap::from([("v1".to_owned(), Version::new(schema_of::<T>()))]);
        Self { group: group.to_owned(), kind: kind.to_owned(), namespaced, versions }
    }

    /// A definition from the YAML of a CRD.
    fn custom(yaml: &str) -> Self {
        let mut crd: Value = serde_saphyr::from_str(yaml).expect("a test reads every definition");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &mut crd["spec"];
        let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
        let namespaced = spec["scope"] == "Namespaced";
        let versions = spec["versions"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let versions = versions
            .into_iter()
            .filter(|version| version["served"] == true)
            .map(|mut version| {
                let mut schema = version["schema"]["openAPIV3Schema"].take();
                // Every object has them; a CRD need not say so.
                for field in ["apiVersion", "kind"] {
                    schema["properties"][field] = serde_json::json!({"type": "string"});
                }
                (text(&version["name"]), Version::new(schema))
            })
            .collect();
        Self { group, kind, namespaced, versions }
    }

    /// The `apiVersion`s that objects of this kind may have.
    pub(super) fn api_versions(&self) -> Vec<String> {
        let slash = if self.group.is_empty() { "" } else { "/" };
        self.versions.keys().map(|version| format!("{}{slash}{version}", self.group)).collect()
    }
}

/// Every kind that we read.
pub(super) static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    use crds::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
    use crds::k8s_openapi::api::discovery::v1::EndpointSlice;

    let custom = crds::STANDARD_DEFINITIONS.iter().chain(crds::DEFINITIONS);
    let mut definitions: Vec<Definition> = custom.map(|(_, yaml)| Definition::custom(yaml)).collect();
    definitions.push(Definition::core::<ConfigMap>("", "ConfigMap", true));
    definitions.push(Definition::core::<Namespace>("", "Namespace", false));
    definitions.push(Definition::core::<Secret>("", "Secret", true));
    definitions.push(Definition::core::<Service>("", "Service", true));
    definitions.push(Definition::core::<EndpointSlice>("discovery.k8s.io", "EndpointSlice", true));
    definitions
});

/// The schema of a Rust type, in the dialect of CRDs.
fn schema_of<T: schemars::JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_can_be_read() {
        assert_eq!(DEFINITIONS.len(), 24);
        for definition in DEFINITIONS.iter() {
            assert!(!definition.versions.is_empty(), "{}", definition.kind);
            for version in definition.versions.values() {
                let (schema, _) = version.parsed();
                assert!(schema.properties.contains_key("metadata"), "{}", definition.kind);
            }
        }
    }

    #[test]
    fn every_rule_can_be_evaluated() {
        let unsupported: Vec<String> = DEFINITIONS
            .iter()
            .flat_map(|definition| definition.versions.values())
            .flat_map(|version| version.parsed().1.unsupported())
            .collect();
        assert_eq!(unsupported, Vec::<String>::new());
    }
}
