//! Which listeners a route attaches to (ParentReference, AllowedRoutes), and why not to the others.

use crds::conditions::Reason;
use crds::gateway_api::{self, ParentReference};
use gateway_snapshot::Hostname;

use super::rule::kind_name;
use super::view::RouteView;
use crate::check;
use crate::listener::{CompiledListener, Gateways, admits};
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::status::ParentRef;
use crate::world::World;

/// What became of one `parentRef`.
#[derive(Debug, Clone)]
pub(crate) struct ParentOutcome {
    pub(crate) parent: ParentRef,
    /// Why no listener of it takes the route.
    pub(crate) problem: Option<Problem>,
    /// Index of each listener that takes it, and the hostnames served there (none: all).
    pub(crate) listeners: Vec<(usize, Vec<Hostname>)>,
}

/// Outcomes for parents that are ours, in the order written; and what is worth saying about the others.
pub(crate) fn parents(
    world: &World<'_>,
    gateways: &Gateways,
    view: &RouteView<'_>,
    hostnames: &[Hostname],
) -> (Vec<ParentOutcome>, Vec<String>) {
    let (mut outcomes, mut foreign) = (Vec::new(), Vec::new());
    for raw in view.parents {
        match candidates(world, gateways, view, raw) {
            Ok(listeners) => outcomes.push(outcome(world, gateways, view, hostnames, (raw, listeners))),
            Err(Some(message)) => foreign.push(message),
            Err(None) => {}
        }
    }
    if view.parents.is_empty() {
        foreign.push("has no spec.parentRefs, so no Gateway serves it; name one".to_owned());
    }
    (outcomes, foreign)
}

/// Listeners of the parent, or `Err` when the parent is not ours.
fn candidates(
    world: &World<'_>,
    gateways: &Gateways,
    view: &RouteView<'_>,
    raw: &ParentReference,
) -> Result<Vec<usize>, Option<String>> {
    let group = raw.group.as_deref().unwrap_or(gateway_api::GROUP);
    let kind = raw.kind.as_deref().unwrap_or("Gateway");
    let own = view.meta.namespace.as_deref().unwrap_or_default();
    let name = ObjectName::new(raw.namespace.as_deref().unwrap_or(own), &raw.name);
    let belongs: &dyn Fn(&CompiledListener) -> bool = match (group, kind) {
        (gateway_api::GROUP, "Gateway") => {
            if gateways.get(&name).is_none() {
                // Another controller's Gateway is none of our business; a missing one is worth a word.
                let exists = world.resources.gateways.contains_key(&name);
                return Err((!exists)
                    .then(|| format!("Gateway {name} does not exist; create it or correct the name")));
            }
            &|listener| listener.set.is_none() && listener.gateway == name
        }
        (gateway_api::GROUP, "ListenerSet") => {
            if !gateways.sets.contains_key(&name) {
                let exists = world.resources.listener_sets.contains_key(&name);
                return Err((!exists)
                    .then(|| format!("ListenerSet {name} does not exist; create it or correct the name")));
            }
            &|listener| listener.set.as_ref() == Some(&name)
        }
        _ => {
            return Err(Some(format!(
                "kind {kind} of group {group:?} is no parent; use a Gateway or ListenerSet"
            )));
        }
    };
    let listeners = gateways.listeners.iter().enumerate();
    Ok(listeners.filter(|(_, listener)| belongs(listener)).map(|(index, _)| index).collect())
}

fn outcome(
    world: &World<'_>,
    gateways: &Gateways,
    view: &RouteView<'_>,
    hostnames: &[Hostname],
    (raw, candidates): (&ParentReference, Vec<usize>),
) -> ParentOutcome {
    let parent = ParentRef {
        group: raw.group.clone(),
        kind: raw.kind.clone(),
        namespace: raw.namespace.clone(),
        name: raw.name.clone(),
        section_name: raw.section_name.clone(),
        port: raw.port,
    };
    match select(world, gateways, view, hostnames, (raw, candidates)) {
        Ok(listeners) => ParentOutcome { parent, problem: None, listeners },
        Err(problem) => ParentOutcome { parent, problem: Some(problem), listeners: vec![] },
    }
}

fn select(
    world: &World<'_>,
    gateways: &Gateways,
    view: &RouteView<'_>,
    hostnames: &[Hostname],
    (raw, candidates): (&ParentReference, Vec<usize>),
) -> Result<Vec<(usize, Vec<Hostname>)>, Problem> {
    let at = |index: &usize| &gateways.listeners[*index];
    let matching: Vec<usize> = candidates
        .into_iter()
        .filter(|index| raw.section_name.as_deref().is_none_or(|section| section == at(index).name))
        .filter(|index| raw.port.is_none_or(|port| port == i32::from(at(index).port)))
        .collect();
    if matching.is_empty() {
        return Err(no_matching_parent(raw));
    }
    let namespace = view.meta.namespace.as_deref().unwrap_or_default();
    let kind = kind_name(view.kind);
    let allowed: Vec<usize> = matching
        .into_iter()
        .filter(|index| {
            let listener = at(index);
            listener.kinds.contains(&kind)
                && admits(world, &listener.namespaces, listener.namespace(), namespace)
        })
        .collect();
    if allowed.is_empty() {
        let message = format!(
            "no listener of {} allows {kind}s of namespace {namespace}; see allowedRoutes of its listeners",
            raw.name
        );
        return Err(Problem { reason: Reason::NotAllowedByListeners, message });
    }
    let served: Vec<(usize, Vec<Hostname>)> = allowed
        .into_iter()
        .filter_map(|index| Some((index, intersection(at(&index).hostname.as_deref(), hostnames)?)))
        .collect();
    if served.is_empty() {
        let message = format!(
            "no listener of {} serves {}; compare spec.hostnames with the hostnames of the listeners",
            raw.name,
            hostnames.join(", ")
        );
        return Err(Problem { reason: Reason::NoMatchingListenerHostname, message });
    }
    Ok(served)
}

fn no_matching_parent(raw: &ParentReference) -> Problem {
    let wanted = match (&raw.section_name, raw.port) {
        (Some(section), Some(port)) => format!("named {section} on port {port}"),
        (Some(section), None) => format!("named {section}"),
        (None, Some(port)) => format!("on port {port}"),
        (None, None) => "at all".to_owned(),
    };
    let message =
        format!("{} has no listener {wanted}; correct sectionName or port of the parentRef", raw.name);
    Problem { reason: Reason::NoMatchingParent, message }
}

/// Hostnames that both sides serve; none at all is `None`, every one is an empty list.
fn intersection(listener: Option<&str>, route: &[Hostname]) -> Option<Vec<Hostname>> {
    match listener {
        None => Some(route.to_vec()),
        Some(own) if route.is_empty() => Some(vec![own.to_owned()]),
        Some(own) => {
            let mut both: Vec<Hostname> = Vec::new();
            for name in route.iter().filter_map(|name| check::intersect(own, name)) {
                if both.iter().all(|earlier| earlier != name) {
                    both.push(name.to_owned());
                }
            }
            (!both.is_empty()).then_some(both)
        }
    }
}
