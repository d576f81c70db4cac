//! The `CustomResourceDefinition`s of our kinds, made from their Rust types, and the standard ones.
//!
//! The YAML under `crds/yaml` is what Helm installs and what validation reads; a test compares it with
//! [`definitions`] (`UPDATE_GOLDEN=1 cargo test -p crds` rewrites it).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::CustomResourceExt;
use serde_json::Value;

/// The definitions of our kinds: file name and YAML.
pub const DEFINITIONS: &[(&str, &str)] = &[
    ("alertpolicies.yaml", include_str!("../yaml/alertpolicies.yaml")),
    ("apiproducts.yaml", include_str!("../yaml/apiproducts.yaml")),
    ("authpolicies.yaml", include_str!("../yaml/authpolicies.yaml")),
    ("consumers.yaml", include_str!("../yaml/consumers.yaml")),
    ("gatewayfleets.yaml", include_str!("../yaml/gatewayfleets.yaml")),
    ("plans.yaml", include_str!("../yaml/plans.yaml")),
    ("quotapolicies.yaml", include_str!("../yaml/quotapolicies.yaml")),
    ("ratelimitpolicies.yaml", include_str!("../yaml/ratelimitpolicies.yaml")),
    ("subscriptions.yaml", include_str!("../yaml/subscriptions.yaml")),
    ("transformpolicies.yaml", include_str!("../yaml/transformpolicies.yaml")),
];

macro_rules! standard {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../yaml/gateway-api/", $name)))),+]
    };
}

/// The definitions of the standard kinds that we read, as published with Gateway API v1.7.0 (experimental
/// channel): file name and YAML.
pub const STANDARD_DEFINITIONS: &[(&str, &str)] = standard![
    "gateway.networking.k8s.io_backendtlspolicies.yaml",
    "gateway.networking.k8s.io_gatewayclasses.yaml",
    "gateway.networking.k8s.io_gateways.yaml",
    "gateway.networking.k8s.io_grpcroutes.yaml",
    "gateway.networking.k8s.io_httproutes.yaml",
    "gateway.networking.k8s.io_listenersets.yaml",
    "gateway.networking.k8s.io_referencegrants.yaml",
    "gateway.networking.x-k8s.io_xbackends.yaml",
    "gateway.networking.x-k8s.io_xtelemetrypolicies.yaml",
];

/// The definitions of our kinds, in alphabetical order of their plurals.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [
        crate::AlertPolicy::crd(),
        crate::ApiProduct::crd(),
        crate::AuthPolicy::crd(),
        crate::Consumer::crd(),
        crate::GatewayFleet::crd(),
        crate::Plan::crd(),
        crate::QuotaPolicy::crd(),
        crate::RateLimitPolicy::crd(),
        crate::Subscription::crd(),
        crate::TransformPolicy::crd(),
    ]
    .into_iter()
    .map(tidied)
    .collect()
}

/// A definition without what Rust's types bring in but an API server does not know or need.
fn tidied(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(definition).expect("a definition is JSON");
    tidy(&mut value["spec"]["versions"][0]["schema"]);
    serde_json::from_value(value).expect("tidying keeps the form of a definition")
}

/// Integers get the two formats of OpenAPI; absent is the only way to write nothing, so that empty lists and maps
/// are no defaults; and default objects that are the sum of their members' defaults become empty, so that the
/// members' own defaults apply, but where there are rules: an API server holds them against the default as it is written.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("type").is_some_and(Value::is_string) {
                map.remove("nullable");
                let format = map.get("format").and_then(Value::as_str);
                if let Some(integer) = format.filter(|format| format.contains("int")) {
                    let wide = integer.ends_with("64");
                    map.insert("format".into(), if wide { "int64" } else { "int32" }.into());
                }
                let structure =
                    map.contains_key("properties") && !map.contains_key("x-kubernetes-validations");
                match map.get_mut("default") {
                    Some(default) if structure => *default = Value::Object(serde_json::Map::new()),
                    Some(Value::Array(elements)) if elements.is_empty() => _ = map.remove("default"),
                    Some(Value::Object(_)) => _ = map.remove("default"),
                    _ => {}
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
