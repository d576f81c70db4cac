//! What is read, and in which form it arrives.

use super::super::{ObjectName, Severity};
use super::read_one;

#[test]
fn defaults_of_the_schema_are_filled_in() {
    let (resources, diagnostics) = read_one(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{name: a, port: 80}]
",
    );
    assert_eq!(diagnostics, []);
    let (name, route) = resources.http_routes.first_key_value().unwrap();
    assert_eq!(name, &ObjectName::new("default", "orders"));
    assert_eq!(route.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(route.origin.to_string(), "f.yaml:1");
    assert_eq!(route.spec.parent_refs[0].kind.as_deref(), Some("Gateway"));
    let rule = &route.spec.rules[0];
    assert_eq!(rule.backend_refs[0].weight, Some(1));
    assert_eq!(rule.backend_refs[0].kind.as_deref(), Some("Service"));
    assert_eq!(rule.matches[0].path.as_ref().unwrap().value.as_deref(), Some("/"));
}

#[test]
fn metadata_and_status_are_taken_as_an_api_server_does() {
    let (resources, diagnostics) = read_one(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata:
  name: turnpike
  namespace: ignored
  generation: 7
  creationTimestamp: 2026-01-31T12:00:00Z
  labels: {team: shop}
spec: {controllerName: turnpike.dev/gateway-controller, description: null}
status: {nonsense: true}
",
    );
    assert_eq!(diagnostics, []);
    let (name, class) = resources.gateway_classes.first_key_value().unwrap();
    assert_eq!(name.to_string(), "turnpike");
    assert_eq!(class.metadata.namespace, None);
    assert_eq!(class.metadata.generation, Some(7));
    assert!(class.metadata.creation_timestamp.is_some());
    assert_eq!(class.metadata.labels.as_ref().unwrap()["team"], "shop");
    assert_eq!(class.status, None);
}

#[test]
fn older_versions_that_are_served_are_read() {
    let (resources, diagnostics) = read_one(
        "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: x}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}]
  to: [{group: '', kind: Service}]
",
    );
    assert_eq!(diagnostics, []);
    assert_eq!(resources.reference_grants.len(), 1);
}

#[test]
fn lists_and_json_are_read() {
    let (resources, diagnostics) = read_one(
        "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: a}
- {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"b\"}}
- apiVersion: v1
  kind: Namespace
  metadata: {nam: c}
---
{\"apiVersion\": \"v1\", \"kind\": \"Namespace\",
 \"metadata\": {\"name\": \"d\"}}
",
    );
    let origins: Vec<String> =
        resources.namespaces.iter().map(|(name, object)| format!("{name} {}", object.origin)).collect();
    assert_eq!(origins, ["a f.yaml:4", "b f.yaml:7", "d f.yaml:12"]);
    assert_eq!(
        diagnostics.iter().map(|d| (d.line, d.severity)).collect::<Vec<_>>(),
        [(10, Severity::Error), (10, Severity::Error)]
    );
}

#[test]
fn the_text_of_a_secret_becomes_its_data() {
    let (resources, diagnostics) = read_one(
        "apiVersion: v1
kind: Secret
metadata: {name: x}
data: {a: b25l, b: dHdv}
stringData: {b: second, c: third}
",
    );
    assert_eq!(diagnostics, []);
    let secret = resources.secrets.values().next().unwrap();
    let data: Vec<_> =
        secret.data.as_ref().unwrap().iter().map(|(key, value)| (key.as_str(), &value.0[..])).collect();
    assert_eq!(data, [("a", &b"one"[..]), ("b", b"second"), ("c", b"third")]);
    assert_eq!(secret.string_data, None);
}

#[test]
fn anchors_and_merges_are_expanded() {
    let (resources, diagnostics) = read_one(
        "apiVersion: v1
kind: ConfigMap
metadata: &m {name: x, labels: &l {a: b}}
data:
  <<: *l
  c: d
",
    );
    assert_eq!(diagnostics, []);
    let data = resources.config_maps.values().next().unwrap().data.clone().unwrap();
    assert_eq!(data.into_iter().collect::<Vec<_>>(), [("a".into(), "b".into()), ("c".into(), "d".into())]);
}

#[test]
fn an_external_hostname_is_a_backend() {
    let (resources, diagnostics) = read_one(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {name: echo, namespace: shop}
spec:
  type: ExternalHostname
  externalHostname: {hostname: localhost}
  port: {number: 8080}
",
    );
    assert_eq!(diagnostics, []);
    let backend = &resources.backends[&ObjectName::new("shop", "echo")];
    assert_eq!(backend.spec.port.number, Some(8080));
    assert_eq!(backend.spec.external_hostname.as_ref().unwrap().hostname, "localhost");
}
