//! The generated schemas are structural, as an API server demands of a CRD
//! (kubernetes.io, "Specifying a structural schema"), and every field is documented.

use serde_json::Value;

fn check(schema: &Value, path: &str, problems: &mut Vec<String>) {
    let mut problem = |text: &str| problems.push(format!("{path}: {text}"));
    let kind = schema["type"].as_str().unwrap_or_default();
    if !["object", "array", "string", "integer", "number", "boolean"].contains(&kind) {
        problem("no type");
    }
    for keyword in ["$ref", "oneOf", "anyOf", "allOf", "not", "const", "definitions", "nullable"] {
        if schema.get(keyword).is_some() {
            problem(keyword);
        }
    }
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_some() {
        problem("both properties and additionalProperties");
    }
    if kind == "array" && schema.get("items").is_none() {
        problem("a list without items");
    }
    for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
        let required = schema["items"]["required"].as_array();
        if !required.is_some_and(|required| required.contains(key)) {
            problem("a key of a list is not required");
        }
    }
    if let Some(format) = schema["format"].as_str().filter(|f| !["int32", "int64", "date-time"].contains(f)) {
        problem(format);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) && path != ".metadata" {
            problems.push(format!("{path}: no description"));
        }
        check(property, &path, problems);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            check(&schema[inner], &format!("{path}[]"), problems);
        }
    }
}

#[test]
fn our_schemas_are_structural() {
    for definition in crds::definitions() {
        let value = serde_json::to_value(&definition).unwrap();
        let mut problems = Vec::new();
        check(&value["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut problems);
        assert_eq!(problems, Vec::<String>::new(), "{}", definition.spec.names.kind);
    }
}

#[test]
fn our_kinds_have_status_columns_and_a_category() {
    for definition in crds::definitions() {
        let (kind, version) = (&definition.spec.names.kind, &definition.spec.versions[0]);
        assert_eq!(
            (definition.spec.group.as_str(), version.name.as_str()),
            (crds::GROUP, crds::VERSION),
            "{kind}"
        );
        assert!(version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()), "{kind}");
        let columns: Vec<&str> =
            version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
        assert!(columns.contains(&"Accepted") && columns.contains(&"Age"), "{kind}: {columns:?}");
        let categories = definition.spec.names.categories.as_deref().unwrap_or_default();
        assert!(categories.contains(&"turnpike".to_owned()), "{kind}");
    }
}
