//! The bad-input table for files: each mistake is answered by place, object, field, problem and cure.

use super::{read_one, said};

/// A route with a rule, to be completed by more fields of the rule; `@` at the start of a text stands for it.
const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: orders
  namespace: shop
spec:
  rules:
  - name: all
";

fn route(rule: &str) -> String {
    format!("{ROUTE}{rule}")
}

/// Text of the file, and how the answer begins.
const TABLE: &[(&str, &str)] = &[
    ("a: [1, 2\nb: 3\n", "f.yaml:2:2: error: not valid YAML: "),
    ("a: 1\na: 2\n", "f.yaml:2:1: error: not valid YAML: duplicate mapping key: a"),
    (
        "just text\n",
        "f.yaml:1:1: error: not an object; an object is a map with apiVersion, kind and metadata",
    ),
    (
        "kind: Gateway\n",
        "f.yaml:1:1: error: Gateway: the field apiVersion is missing or not a string; add it",
    ),
    ("apiVersion: v1\n", "f.yaml:1:1: error: the field kind is missing or not a string; add it"),
    (
        "apiVersion: turnpike.dev/v1alpha1\nkind: Plann\nmetadata: {name: gold}\n",
        "f.yaml:2:1: error: Plann default/gold: kind: unknown kind \"Plann\"; did you mean Plan?",
    ),
    (
        "apiVersion: turnpike.dev/v1\nkind: Plan\nmetadata: {name: gold}\n",
        "f.yaml:1:1: error: Plan default/gold: apiVersion: Plan has no version \"v1\"; write turnpike.dev/v1alpha1",
    ),
    (
        "apiVersion: v1\nkind: HTTPRoute\nmetadata: {name: x}\n",
        "f.yaml:1:1: error: HTTPRoute default/x: apiVersion: HTTPRoute is not a kind of the group \"\"; \
               write gateway.networking.k8s.io/v1 or gateway.networking.k8s.io/v1beta1",
    ),
    (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: x}\n",
        "f.yaml:2:1: error: TCPRoute default/x: kind: TCPRoute is not supported yet; it is left out",
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
        "f.yaml:2:1: warning: Deployment default/x: kind: the kind \"Deployment\" of \"apps\" is not read here; it is left out",
    ),
    (
        "@    matchs: []\n",
        "f.yaml:9:5: error: HTTPRoute shop/orders: spec.rules[0].matchs: unknown field; did you mean matches?",
    ),
    (
        "@    timeouts: {request: 10}\n",
        "f.yaml:9:16: error: HTTPRoute shop/orders: spec.rules[0].timeouts.request: \
               must be a string, not the number 10; put it in quotes",
    ),
    (
        "@    backendRefs:\n    - port: 80\n",
        "f.yaml:10:7: error: HTTPRoute shop/orders: spec.rules[0].backendRefs[0]: the field name is missing; add it",
    ),
    (
        "@    backendRefs:\n    - name: a\n      port: 70000\n",
        "f.yaml:11:7: error: HTTPRoute shop/orders: spec.rules[0].backendRefs[0].port: must be at most 65535, not 70000",
    ),
    (
        "@    backendRefs:\n    - name: a\n",
        "f.yaml:10:7: error: HTTPRoute shop/orders: spec.rules[0].backendRefs[0]: Must have port for Service reference",
    ),
    (
        "@    matches:\n    - method: get\n",
        "f.yaml:10:7: error: HTTPRoute shop/orders: spec.rules[0].matches[0].method: \
               \"get\" is not a value of this field; did you mean GET?",
    ),
    (
        "@    matches: {path: {value: /}}\n",
        "f.yaml:9:5: error: HTTPRoute shop/orders: spec.rules[0].matches: must be a list, not a map; \
               write \"- \" in front of each element",
    ),
    (
        "@    filters:\n    - type: RequestRedirect\n",
        "f.yaml:10:7: error: HTTPRoute shop/orders: spec.rules[0].filters[0]: \
               filter.requestRedirect must be specified for RequestRedirect filter.type",
    ),
    (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: '***'}\n",
        "f.yaml:4:8: error: Secret default/x: data.a: \"***\" is not base64",
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {}\n",
        "f.yaml:3:1: error: Service: metadata: metadata.name is missing or not a string; give the object a name",
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\n",
        "f.yaml:3:12: error: Service default/A_b: metadata.name: \"A_b\" is not a name; \
               use lower-case letters, digits, '-' and '.'",
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, lables: {}}\n",
        "f.yaml:3:21: error: Service default/a: metadata.lables: unknown field; did you mean labels?",
    ),
];

#[test]
fn mistakes_are_answered_with_place_and_cure() {
    for (text, expected) in TABLE {
        let text = text.replacen('@', ROUTE, 1);
        let said = said(&text);
        assert_eq!(
            said.len(),
            1,
            "{text}
{said:#?}"
        );
        assert!(
            said[0].starts_with(expected),
            "{text}
     got {}
expected {expected}",
            said[0]
        );
    }
}

#[test]
fn a_broken_document_hides_no_other() {
    let good = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let text = format!("{}---\na: [\n---\n{}---\n\"\n---\n{}", good("one"), good("two"), good("three"));
    let (resources, diagnostics) = read_one(&text);
    let names: Vec<&str> = resources.namespaces.keys().map(|name| name.name.as_str()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:#?}");
    assert!((5..=7).contains(&diagnostics[0].line), "{}", diagnostics[0]);
}

#[test]
fn of_two_objects_of_one_name_the_first_stays() {
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\nstringData: {{a: {value}}}\n")
    };
    let files = [("a.yaml".to_owned(), secret("first")), ("b.yaml".to_owned(), secret("second"))];
    let (resources, diagnostics) = super::read(&files);
    let data = resources.secrets.values().next().unwrap().data.clone().unwrap();
    assert_eq!(data["a"].0, b"first");
    let said: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "b.yaml:3:12: error: Secret default/x: metadata.name: there is already a Secret default/x, at a.yaml:1; \
          rename or remove one of them; the first one counts"
        ]
    );
}

#[test]
fn an_object_with_an_error_is_absent() {
    let (resources, diagnostics) = read_one(&route("    nonsense: true\n"));
    assert!(resources.is_empty());
    assert_eq!(diagnostics.len(), 1);
}
