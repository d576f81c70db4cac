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
fn a_fleet_that_cannot_scale_by_its_requests_is_named() {
    let check = |autoscaling: Value, message: &str| {
        let spec = serde_json::from_value(json!({"autoscaling": autoscaling})).unwrap();
        let live = json!({"conditions": [{"type": "Accepted", "status": "True", "message": message}]});
        by_cpu_only(&ObjectName::new("shop", "web"), &spec, &live).map(|check| check.found)
    };
    let by_requests = json!({"minReplicas": 1, "maxReplicas": 3, "requestsPerSecond": 40});
    let message = "the API external.metrics.k8s.io is another's in this cluster";
    assert_eq!(check(by_requests.clone(), message), Some(format!("GatewayFleet shop/web: {message}")));
    assert_eq!(check(by_requests, ""), None);
    assert_eq!(check(json!({"minReplicas": 1, "maxReplicas": 3, "cpuPercent": 80}), message), None);
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
