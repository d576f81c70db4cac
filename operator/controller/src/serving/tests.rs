use std::sync::Arc;

use gateway_snapshot::Snapshot;
use operator_compile::ListenerStatus;

use super::*;
use crate::watch::Change;

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn fleet() -> Fleet {
    Fleet {
        key: "shop/web".to_owned(),
        namespace: "shop".to_owned(),
        name: "web-turnpike".to_owned(),
        gateways: vec![name("web")],
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
    let one = |generation: &Option<i64>| {
        let generations = generation.map(|generation| (name("web"), generation)).into_iter().collect();
        Serves { generations: Arc::new(generations), ..Serves::default() }
    };
    pods.iter().map(|(pod, generation)| ((*pod).to_owned(), one(generation))).collect()
}

fn judge(world: &World, serving: &BTreeMap<String, Serves>, trouble: Option<&str>) -> Verdict {
    verdict(world, (&fleet(), &name("web")), &Ready::new(world), serving, (trouble, Timestamp::UNIX_EPOCH))
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
    let truth = |generation| answered(&status(generation), "shop/web", &verdict, &live).conditions[0].status;
    assert_eq!((truth(3), truth(4)), (Truth::True, Truth::Unknown));
}

#[test]
fn a_listener_says_which_certificate_it_serves_and_an_alarm_is_told_once() {
    let world = world(&json!([{"ip": "192.0.2.1"}]), &[("a", true), ("b", true)]);
    let snapshot: Snapshot = serde_json::from_value(json!({
        "format": 1, "version": "x", "settings": {},
        "listeners": {"shop/web/https": {
            "gateway": "shop/web", "name": "https", "port": 443, "protocol": "https", "hostname": null,
            "tls": {"certificates": ["shop/tls"]},
        }},
        "certificates": {"shop/tls": {
            "chain": "", "key": "", "names": [], "serial": "0a", "not_before": 0, "not_after": 100,
        }},
        "routes": {}, "backends": {}, "auth_policies": {}, "rate_limit_policies": {}, "quota_policies": {},
        "products": {}, "plans": {}, "consumers": {}, "subscriptions": {},
    }))
    .unwrap();
    let hash = Some(snapshot.certificates.hash());
    let fleet = Fleet { snapshot: Arc::new(snapshot), ..fleet() };
    let mut serves = serving(&[("a", Some(3)), ("b", Some(3))]);
    serves.get_mut("a").unwrap().certificates = hash;
    let open = Condition { message: String::new(), ..programmed(Truth::Unknown, Reason::Pending, "") };
    let listener = ListenerStatus {
        name: "https".to_owned(),
        supported_kinds: vec![],
        attached_routes: 0,
        conditions: vec![open],
    };
    let status = Status { generation: Some(3), listeners: vec![listener], ..Status::default() };
    let at = |second| {
        let now = Timestamp::from_second(second).unwrap();
        verdict(&world, (&fleet, &name("web")), &Ready::new(&world), &serves, (None, now))
    };
    let said = |second, live: &Value| {
        let verdict = at(second);
        let message =
            answered(&status, "shop/web", &verdict, live).listeners[0].conditions[0].message.clone();
        (message, verdict.alarms(&status, "shop/web", live).len())
    };
    let served =
        "served by 2 of 2 gateways; certificate shop/tls (serial 0a, not after 1970-01-01T00:01:40Z)";
    assert_eq!(said(1, &Value::Null), (format!("{served}, served by 1 of 2"), 0));
    let (message, alarms) = said(90, &Value::Null);
    assert_eq!(message, format!("{served} ends soon and has not been renewed, served by 1 of 2"));
    assert_eq!(alarms, 1);
    let live =
        json!({"listeners": [{"name": "https", "conditions": [{"type": "Programmed", "message": message}]}]});
    assert_eq!(said(91, &live), (message, 0), "it has been told");
    assert_eq!(said(101, &live).1, 1, "that it has expired is news");
}
