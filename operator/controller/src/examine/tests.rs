use serde_json::json;

use super::*;

const OURS: &str = "turnpike.dev/gateway-controller";

fn found(live: &Value) -> Vec<String> {
    let route = ObjectRef { kind: "HTTPRoute", name: ObjectName::new("shop", "orders") };
    wrong(&route, Some(2), live, OURS).into_iter().map(|check| check.found).collect()
}

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    json!({"type": kind, "status": status, "reason": "Because", "message": "it is so", "observedGeneration": generation})
}

#[test]
fn what_is_well_or_not_ours_is_not_named() {
    let good = json!([condition("Accepted", "True", 2), condition("Conflicted", "False", 2)]);
    assert!(found(&json!({"parents": [{"controllerName": OURS, "conditions": good}]})).is_empty());
    let bad = json!([condition("Accepted", "False", 2)]);
    assert!(found(&json!({"parents": [{"controllerName": "another", "conditions": bad}]})).is_empty());
    assert!(found(&Value::Null).is_empty());
}

#[test]
fn what_is_not_well_is_named_with_its_message() {
    let parents = json!([condition("Accepted", "False", 2), condition("PartiallyInvalid", "True", 2)]);
    let listeners = json!([{"name": "http", "conditions": [condition("Programmed", "Unknown", 2)]}]);
    let live = json!({"parents": [{"controllerName": OURS, "conditions": parents}], "listeners": listeners});
    assert_eq!(
        found(&live),
        [
            "HTTPRoute shop/orders: Programmed is Unknown (Because): it is so",
            "HTTPRoute shop/orders: Accepted is False (Because): it is so",
            "HTTPRoute shop/orders: PartiallyInvalid is True (Because): it is so",
        ]
    );
    assert_eq!(
        found(&json!({"conditions": [condition("Accepted", "True", 1)]})),
        ["HTTPRoute shop/orders: its status is of an older generation"]
    );
}
