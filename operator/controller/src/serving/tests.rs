use std::sync::Arc;

use super::*;
use crate::watch::Change;

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn fleet() -> Fleet {
    Fleet {
        gateway: name("web"),
        name: "web-turnpike".to_owned(),
        children: vec![],
        snapshot: Arc::default(),
    }
}

/// A Gateway of generation 3 with a Service at `ingress`, and Pods that are ready or not.
fn world(ingress: &Value, pods: &[(&str, bool)]) -> World {
    let mut world = World::waiting_for([]);
    let gateway = json!({
        "metadata": {"name": "web", "namespace": "shop", "generation": 3},
        "spec": {"gatewayClassName": "turnpike", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    });
    let service = json!({
        "metadata": {"name": "web-turnpike", "namespace": "shop"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, ready)| {
            json!({"addresses": ["10.1.0.1"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}})
        })
        .collect();
    let slice = json!({
        "metadata": {"name": "web-turnpike-1", "namespace": "shop", "labels": {SERVICE_NAME: "web-turnpike"}},
        "addressType": "IPv4", "endpoints": endpoints,
    });
    world.apply(Change::Put("Gateway", name("web"), gateway));
    world.apply(Change::Put("Service", name("web-turnpike"), service));
    world.apply(Change::Put("EndpointSlice", name("web-turnpike-1"), slice));
    world
}

fn serving(pods: &[(&str, Option<i64>)]) -> BTreeMap<String, Serves> {
    let one = |generation: &Option<i64>| Serves { generation: *generation, complaints: vec![] };
    pods.iter().map(|(pod, generation)| ((*pod).to_owned(), one(generation))).collect()
}

fn judge(world: &World, serving: &BTreeMap<String, Serves>, trouble: Option<&str>) -> Verdict {
    verdict(world, &fleet(), &Ready::new(world), serving, trouble)
}

fn said(condition: &Condition) -> (Truth, Reason, &str) {
    (condition.status, condition.reason, &condition.message)
}

#[test]
fn it_is_programmed_when_every_ready_gateway_serves_its_present_generation() {
    let world = world(&json!([{"ip": "192.0.2.1"}]), &[("a", true), ("b", true), ("starting", false)]);
    let pending = |text| (Truth::Unknown, Reason::Pending, text);
    for (serves, expected) in [
        (serving(&[]), pending("served by 0 of 2 gateways")),
        (serving(&[("a", Some(3))]), pending("served by 1 of 2 gateways")),
        (serving(&[("a", Some(3)), ("b", Some(2))]), pending("served by 1 of 2 gateways")),
        (serving(&[("a", Some(3)), ("b", None), ("gone", Some(3))]), pending("served by 1 of 2 gateways")),
        (
            serving(&[("a", Some(3)), ("b", Some(3))]),
            (Truth::True, Reason::Programmed, "served by 2 of 2 gateways"),
        ),
    ] {
        let verdict = judge(&world, &serves, None);
        assert_eq!(said(&verdict.listeners), expected);
        assert_eq!(said(&verdict.gateway), expected);
    }
}

#[test]
fn a_complaint_or_trouble_with_children_is_told() {
    let world = world(&json!([{"ip": "192.0.2.1"}]), &[("a", true)]);
    let mut serves = serving(&[("a", Some(3))]);
    serves.get_mut("a").unwrap().complaints = vec!["port 80 is taken".to_owned()];
    let verdict = judge(&world, &serves, None);
    assert_eq!(said(&verdict.gateway), (Truth::False, Reason::Invalid, "gateways say: port 80 is taken"));
    let verdict = judge(&world, &serving(&[("a", Some(3))]), Some("Deployment: forbidden"));
    assert_eq!(said(&verdict.gateway), (Truth::False, Reason::NoResources, "Deployment: forbidden"));
}

#[test]
fn without_an_address_the_gateway_is_not_programmed_and_its_listeners_are() {
    let world = world(&json!([]), &[("a", true)]);
    let verdict = judge(&world, &serving(&[("a", Some(3))]), None);
    assert_eq!(verdict.listeners.status, Truth::True);
    assert_eq!((verdict.gateway.status, verdict.gateway.reason), (Truth::False, Reason::AddressNotAssigned));
    assert!(verdict.addresses.is_empty());
}

#[test]
fn an_operator_that_has_just_started_takes_nothing_back_that_was_true() {
    let world = world(&json!([{"ip": "192.0.2.1"}]), &[("a", true)]);
    let verdict = judge(&world, &serving(&[]), None);
    let open = Condition { message: String::new(), ..programmed(Truth::Unknown, Reason::Pending, "") };
    let status = |generation| Status {
        generation: Some(generation),
        conditions: vec![open.clone()],
        ..Status::default()
    };
    let live = json!({"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 3}]});
    let truth = |generation| answered(&status(generation), &verdict, &live).conditions[0].status;
    assert_eq!((truth(3), truth(4)), (Truth::True, Truth::Unknown));
}
