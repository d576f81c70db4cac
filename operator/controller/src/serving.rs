//! Whether a Gateway is programmed: what its replicas answered, which Pods are ready, and which addresses there are.
//!
//! Pure: in, what the cluster and the gateways have told; out, a verdict that is true now.

use std::collections::{BTreeMap, BTreeSet};

use crds::conditions::{ConditionType, Reason};
use crds::gateway_fleet::ServiceType;
use gateway_snapshot::Key;
use jiff::Timestamp;
use operator_compile::resources::ObjectName;
use operator_compile::{Condition, Fleet, Status, Truth};
use serde_json::{Value, json};

use crate::certificates::{self, Said};
use crate::events::Notice;
use crate::publisher::Serves;
use crate::world::World;

/// Label that names the Service of an EndpointSlice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Errors of gateways in a message.
const MAX_COMPLAINTS: usize = 3;

/// What to say of a Gateway that only the shell can know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// `Programmed` of its listeners.
    listeners: Condition,
    /// `Programmed` of the Gateway: as its listeners, and reachable.
    gateway: Condition,
    /// `status.addresses`.
    pub(crate) addresses: Vec<Value>,
    /// By key of the listener.
    certificates: BTreeMap<Key, Said>,
}

impl Verdict {
    /// `Programmed` of one listener.
    fn listener(&self, key: &str) -> Condition {
        let mut condition = self.listeners.clone();
        if let Some(said) = self.certificates.get(key).filter(|_| condition.status == Truth::True) {
            condition.message.push_str(&said.note);
        }
        condition
    }

    /// What the `status` of `owner` tells and `live` does not yet, and is worth a warning.
    pub(crate) fn alarms(&self, status: &Status, owner: &str, live: &Value) -> Vec<Notice> {
        let told = live["listeners"].to_string();
        let listeners = status.listeners.iter().filter(|_| self.listeners.status == Truth::True);
        let said = listeners.filter_map(|known| self.certificates.get(&format!("{owner}/{}", known.name)));
        let new: BTreeSet<&String> =
            said.flat_map(|said| &said.alarms).filter(|alarm| !told.contains(*alarm)).collect();
        let notice =
            |text: &String| Notice { reason: "CertificateExpires", action: "Serving", text: text.clone() };
        new.into_iter().map(notice).collect()
    }
}

/// Ready Pods by namespace and Service.
#[derive(Debug, Default)]
pub(crate) struct Ready<'a>(BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>);

impl<'a> Ready<'a> {
    /// Reads the EndpointSlices once.
    pub(crate) fn new(world: &'a World) -> Self {
        let mut ready: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for (name, slice) in &world.resources.endpoint_slices {
            let labels = slice.metadata.labels.as_ref();
            let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) else { continue };
            let endpoints = slice.endpoints.iter().flatten();
            let pods = endpoints
                .filter(|endpoint| endpoint.conditions.as_ref().is_none_or(|now| now.ready != Some(false)))
                .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref());
            ready.entry((name.namespace.as_str(), service)).or_default().extend(pods);
        }
        Self(ready)
    }

    fn pods<'r>(&'r self, fleet: &'r Fleet) -> impl Iterator<Item = &'a str> + 'r {
        self.0.get(&(fleet.namespace.as_str(), fleet.name.as_str())).into_iter().flatten().copied()
    }
}

/// The verdict on a Gateway of a fleet as of `now`. `trouble`: why its children could not be applied.
pub(crate) fn verdict(
    world: &World,
    (fleet, gateway): (&Fleet, &ObjectName),
    ready: &Ready<'_>,
    serving: &BTreeMap<String, Serves>,
    (trouble, now): (Option<&str>, Timestamp),
) -> Verdict {
    let listeners = listeners(world, (fleet, gateway), ready, serving, trouble);
    let (addresses, missing) = addresses(world, fleet, gateway);
    let gateway = match missing {
        Some(missing) if listeners.status == Truth::True => missing,
        _ => listeners.clone(),
    };
    let hash = Some(fleet.snapshot.certificates.hash());
    let serves = |pod: &&str| serving.get(*pod).is_some_and(|serves| serves.certificates == hash);
    let served = (ready.pods(fleet).filter(serves).count(), ready.pods(fleet).count());
    let certificates = certificates::said(&fleet.snapshot, served, now);
    Verdict { listeners, gateway, addresses, certificates }
}

fn programmed(status: Truth, reason: Reason, message: impl Into<String>) -> Condition {
    Condition { kind: ConditionType::Programmed, status, reason, message: message.into() }
}

fn listeners(
    world: &World,
    (fleet, gateway): (&Fleet, &ObjectName),
    ready: &Ready<'_>,
    serving: &BTreeMap<String, Serves>,
    trouble: Option<&str>,
) -> Condition {
    if let Some(trouble) = trouble {
        return programmed(Truth::False, Reason::NoResources, trouble);
    }
    let complaints: BTreeSet<&str> = serving
        .values()
        .flat_map(|serves| &serves.complaints)
        .map(String::as_str)
        .take(MAX_COMPLAINTS)
        .collect();
    if !complaints.is_empty() {
        let message = complaints.into_iter().collect::<Vec<_>>().join("; ");
        return programmed(Truth::False, Reason::Invalid, format!("gateways say: {message}"));
    }
    let generation = generation(world, gateway);
    let serves = |pod: &&str| {
        serving.get(*pod).is_some_and(|serves| serves.generations.get(gateway) >= Some(&generation))
    };
    let (all, served) = (ready.pods(fleet).count(), ready.pods(fleet).filter(serves).count());
    if all > 0 && served == all {
        return programmed(Truth::True, Reason::Programmed, format!("served by {served} of {all} gateways"));
    }
    programmed(Truth::Unknown, Reason::Pending, format!("served by {served} of {all} gateways"))
}

/// The present generation of a Gateway.
pub(crate) fn generation(world: &World, gateway: &ObjectName) -> i64 {
    world.live("Gateway", gateway).and_then(|live| live.generation).unwrap_or_default()
}

/// Addresses that there are, and what of those that were asked for is missing.
fn addresses(world: &World, fleet: &Fleet, gateway: &ObjectName) -> (Vec<Value>, Option<Condition>) {
    let name = ObjectName::new(&fleet.namespace, &fleet.name);
    let service = world.resources.services.get(&name).and_then(|service| service.spec.as_ref());
    let given: Vec<(&str, String)> = if service.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
    {
        ingress(world, &name)
    } else {
        let ips = service.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
        ips.filter(|ip| *ip != "None").map(|ip| ("IPAddress", ip.clone())).collect()
    };
    let gateway = world.resources.gateways.get(gateway);
    let wanted: BTreeSet<&str> = gateway
        .iter()
        .flat_map(|gateway| &gateway.spec.addresses)
        .filter_map(|address| address.value.as_deref().filter(|value| !value.is_empty()))
        .collect();
    let has = |value: &str| given.iter().any(|(_, given)| given == value);
    let missing = wanted.iter().find(|value| !has(value)).map(|value| {
        let message =
            format!("spec.addresses: {value} cannot be had: the load balancer did not give it; take it out");
        programmed(Truth::False, Reason::AddressNotUsable, message)
    });
    let none = given.is_empty().then(|| {
        let kind = ServiceType::LoadBalancer;
        let message = format!("Service {name} has no address yet; a cluster without load balancers never gives one to type {kind:?}: set service.type of the GatewayFleet");
        programmed(Truth::False, Reason::AddressNotAssigned, message)
    });
    let usable = given.iter().filter(|(_, value)| wanted.is_empty() || wanted.contains(value.as_str()));
    let addresses = usable.map(|(kind, value)| json!({"type": kind, "value": value})).collect();
    (addresses, missing.or(none))
}

fn ingress(world: &World, service: &ObjectName) -> Vec<(&'static str, String)> {
    let Some(live) = world.live("Service", service) else { return Vec::new() };
    let points = live.status["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    points
        .filter_map(|point| {
            let ip = point["ip"].as_str().map(|ip| ("IPAddress", ip.to_owned()));
            ip.or_else(|| Some(("Hostname", point["hostname"].as_str()?.to_owned())))
        })
        .collect()
}

/// `status` with what was left open answered by `verdict`. What is not known is left as `live` has it, if that is about
/// the same generation: an operator that has just started has not heard from everybody. The listeners are those below
/// `owner`, a Gateway or a ListenerSet of one, by its key.
pub(crate) fn answered(status: &Status, owner: &str, verdict: &Verdict, live: &Value) -> Status {
    let mut status = status.clone();
    for condition in &mut status.conditions {
        answer(condition, &verdict.gateway, status.generation, &live["conditions"]);
    }
    for listener in &mut status.listeners {
        let there = live["listeners"].as_array().into_iter().flatten();
        let there =
            there.clone().find(|there| there["name"] == listener.name.as_str()).unwrap_or(&Value::Null);
        let programmed = verdict.listener(&format!("{owner}/{}", listener.name));
        for condition in &mut listener.conditions {
            answer(condition, &programmed, status.generation, &there["conditions"]);
        }
    }
    status
}

fn answer(condition: &mut Condition, verdict: &Condition, generation: Option<i64>, live: &Value) {
    if (condition.kind, condition.status) != (ConditionType::Programmed, Truth::Unknown) {
        return;
    }
    let there = live.as_array().into_iter().flatten().find(|there| there["type"] == "Programmed");
    let told = there.is_some_and(|there| {
        there["status"] == "True"
            && there["observedGeneration"].as_i64().is_some_and(|told| Some(told) == generation)
    });
    *condition = verdict.clone();
    if verdict.status == Truth::Unknown && told {
        condition.status = Truth::True;
        condition.reason = Reason::Programmed;
    }
}

#[cfg(test)]
mod tests;
