//! What is worth saying although no condition says it.

use std::collections::BTreeSet;

use gateway_snapshot::Snapshot;

use crate::assemble::Derived;
use crate::backend;
use crate::diagnostic::Warning;
use crate::listener::CompiledListener;
use crate::object::ObjectRef;
use crate::resources::ObjectName;
use crate::route::CompiledRoute;

/// Adds to `out` what the derived state and the snapshot made of it show.
pub(crate) fn add(derived: &Derived<'_, '_>, snapshot: &Snapshot, out: &mut Vec<Warning>) {
    for route in &derived.routes {
        let notes = route.foreign.iter().chain(&route.found.notes).cloned().chain(unserved(derived, route));
        out.extend(notes.map(|message| Warning { object: Derived::object_of(route), message }));
    }
    let resources = derived.world.resources;
    for (name, gateway) in &resources.gateways {
        let class = ObjectName::new("", &gateway.spec.gateway_class_name);
        if !resources.gateway_classes.contains_key(&class) {
            let message = format!(
                "GatewayClass {class} does not exist, so nobody serves this Gateway; create one with controllerName {}",
                derived.world.options.controller_name
            );
            out.push(Warning { object: ObjectRef::new("Gateway", name), message });
        }
    }
    shared(derived, out);
    in_force_nowhere(derived, out);
    unreached(derived, out);
    certificates(derived, snapshot, out);
    for (key, backend) in &snapshot.backends {
        if backend.endpoints.is_empty() {
            let service = key.split(':').next().unwrap_or_default();
            let (namespace, name) = service.split_once('/').unwrap_or_default();
            let message =
                format!("port {key} has no ready endpoint in any EndpointSlice, so requests to it get 503");
            out.push(Warning {
                object: ObjectRef::new("Service", &ObjectName::new(namespace, name)),
                message,
            });
        }
    }
}

/// A route may be accepted by listeners that are not valid themselves.
fn unserved(derived: &Derived<'_, '_>, route: &CompiledRoute) -> Option<String> {
    let attached = || route.parents.iter().flat_map(|parent| &parent.listeners);
    let listeners = || attached().map(|(index, _)| &derived.gateways.listeners[*index]);
    if route.refused.is_some() || listeners().any(CompiledListener::is_servable) {
        return None;
    }
    let keys: BTreeSet<String> = listeners().map(CompiledListener::key).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    (!keys.is_empty()).then(|| {
        format!("is not served, because no listener that it is attached to is valid: {}", keys.join(", "))
    })
}

/// What a Gateway wants of a fleet that is not its own.
fn shared(derived: &Derived<'_, '_>, out: &mut Vec<Warning>) {
    let merged = derived.gateways.list.iter().filter(|gateway| gateway.merged);
    for gateway in merged {
        let raw = derived.world.resources.gateways.get(&gateway.name);
        let infrastructure = raw.and_then(|gateway| gateway.spec.infrastructure.as_ref());
        if infrastructure.is_some_and(|infra| !infra.labels.is_empty() || !infra.annotations.is_empty()) {
            let (owner, _) = gateway.owner();
            let message = format!(
                "spec.infrastructure: labels and annotations are not used, because {owner} merges Gateways; take \
                 them out, or set its spec.mergeGateways to false"
            );
            out.push(Warning { object: ObjectRef::new("Gateway", &gateway.name), message });
        }
    }
}

/// Policies without `targetRefs` that no rule names either guard nothing.
fn in_force_nowhere(derived: &Derived<'_, '_>, out: &mut Vec<Warning>) {
    for ((kind, key), outcomes) in &derived.policies.outcomes {
        let Some((namespace, name)) = key.split_once('/') else { continue };
        if outcomes.is_empty() && !derived.uses.contains_key(&(*kind, key.clone())) {
            let message = "is in force nowhere: it has no targetRefs, and no rule that is served names it in a filter of type ExtensionRef";
            let object = ObjectRef::new(kind.name(), &ObjectName::new(namespace, name));
            out.push(Warning { object, message: message.to_owned() });
        }
    }
}

/// Mistakes in objects that have no status yet, because no route of ours leads to them.
fn unreached(derived: &Derived<'_, '_>, out: &mut Vec<Warning>) {
    let reached = derived.gateways_of_backends();
    for (name, policy) in &derived.world.resources.backend_tls_policies {
        let targets = policy.spec.target_refs.iter();
        let mut services = targets.map(|target| ("Service", ObjectName::new(&name.namespace, &target.name)));
        if services.any(|service| reached.contains_key(&service)) {
            continue;
        }
        let conditions = derived.world.backend_tls.outcomes.get(&name.to_string());
        for condition in conditions.into_iter().flatten().filter(|condition| condition.is_bad()) {
            let object = ObjectRef::new("BackendTLSPolicy", name);
            out.push(Warning { object, message: condition.message.clone() });
        }
    }
    for (name, backend) in &derived.world.resources.backends {
        if let Some(problem) = backend::check_external(derived.world, backend).err()
            && !reached.contains_key(&("XBackend", name.clone()))
        {
            out.push(Warning { object: ObjectRef::new("XBackend", name), message: problem.message });
        }
    }
}

fn certificates(derived: &Derived<'_, '_>, snapshot: &Snapshot, out: &mut Vec<Warning>) {
    for listener in snapshot.listeners.values() {
        let (namespace, name) = listener.gateway.split_once('/').unwrap_or_default();
        let object = ObjectRef::new("Gateway", &ObjectName::new(namespace, name));
        let mut say = |message: String| out.push(Warning { object: object.clone(), message });
        for key in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let Some(certificate) = snapshot.certificates.get(key) else { continue };
            let covers = |host: &String| certificate.names.iter().any(|name| names(name, host));
            if let Some(host) = listener.hostname.as_ref().filter(|host| !covers(host)) {
                say(format!(
                    "listener {}: certificate {key} does not name {host}; clients will refuse it",
                    listener.name
                ));
            }
            match derived.world.options.now {
                Some(now) if certificate.not_after <= now => say(format!(
                    "listener {}: certificate {key} has expired; replace the Secret",
                    listener.name
                )),
                Some(now) if certificate.ends_soon(now) => {
                    let days = (certificate.not_after - now) / 86_400;
                    say(format!(
                        "listener {}: certificate {key} expires in {days} days; replace the Secret",
                        listener.name
                    ));
                }
                _ => {}
            }
        }
    }
}

/// Whether a certificate for `name` is good for `host`: a wildcard stands for one label (RFC 6125, 6.4.3).
fn names(name: &str, host: &str) -> bool {
    name == host
        || name.strip_prefix("*.").is_some_and(|suffix| {
            host.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix)
        })
}
