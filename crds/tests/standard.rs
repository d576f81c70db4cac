//! The generated Rust types of the standard kinds have every field of the published CRDs, and every word.

#![allow(clippy::unwrap_used, reason = "only tests are here")]

use crds::gateway_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// A value with every field of a schema; `turn` chooses among the words of enums.
fn sample(schema: &Value, turn: usize) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[turn % words.len()].clone();
    }
    match schema["type"].as_str() {
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => properties
                .iter()
                .map(|(name, schema)| (name.clone(), sample(schema, turn)))
                .collect::<Map<_, _>>(),
            None => Map::from_iter([("key".to_owned(), sample(&schema["additionalProperties"], turn))]),
        }
        .into(),
        Some("array") => json!([sample(&schema["items"], turn)]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        _ if schema["format"] == "date-time" => json!("2026-01-31T12:00:00Z"),
        _ => json!("text"),
    }
}

/// Reads a sample of every turn as `T` and writes it again: nothing may be lost.
fn round_trip<T: DeserializeOwned + Serialize>(kind: &str) {
    let crd = definition(kind);
    let (group, names) = (crd["spec"]["group"].as_str().unwrap(), &crd["spec"]["names"]["kind"]);
    // Types are written in the newest version, which comes first; the others have the same fields.
    let version = &crd["spec"]["versions"][0];
    for turn in 0..12 {
        let mut object = sample(&version["schema"]["openAPIV3Schema"], turn);
        object["metadata"] = json!({"name": "x"});
        object["kind"] = names.clone();
        object["apiVersion"] = format!("{group}/{}", version["name"].as_str().unwrap()).into();
        let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(serde_json::to_value(typed).unwrap(), object, "{kind}");
    }
}

fn definition(kind: &str) -> Value {
    let all = crds::STANDARD_DEFINITIONS.iter();
    let mut all = all.map(|(_, text)| serde_saphyr::from_str::<Value>(text).unwrap());
    all.find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap()
}

#[test]
fn types_have_every_field() {
    round_trip::<GatewayClass>("GatewayClass");
    round_trip::<Gateway>("Gateway");
    round_trip::<ListenerSet>("ListenerSet");
    round_trip::<HttpRoute>("HTTPRoute");
    round_trip::<GrpcRoute>("GRPCRoute");
    round_trip::<ReferenceGrant>("ReferenceGrant");
    round_trip::<BackendTlsPolicy>("BackendTLSPolicy");
    round_trip::<XBackend>("XBackend");
    round_trip::<XTelemetryPolicy>("XTelemetryPolicy");
}

#[test]
fn definitions_are_of_one_release() {
    for (name, text) in crds::STANDARD_DEFINITIONS {
        assert!(text.contains("gateway.networking.k8s.io/bundle-version: v1.7.0\n"), "{name}");
        assert!(text.contains("gateway.networking.k8s.io/channel: experimental\n"), "{name}");
    }
}
