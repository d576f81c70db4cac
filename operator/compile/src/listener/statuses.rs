//! Statuses of Gateways and ListenerSets.

use std::collections::BTreeMap;

use crds::conditions::{ConditionType, Reason};
use gateway_snapshot::Key;

use super::{CompiledGateway, CompiledListener, Gateways};
use crate::problem::Problem;
use crate::status::{Condition, ListenerStatus, Status, Truth};

/// Status of a Gateway. `attached`: accepted routes by listener key.
pub(crate) fn status(
    gateways: &Gateways,
    gateway: &CompiledGateway,
    generation: Option<i64>,
    attached: &BTreeMap<Key, u32>,
) -> Status {
    let own: Vec<&CompiledListener> = gateways.of(Some(&gateway.name), None).collect();
    let accepted = match &gateway.refused {
        Some(problem) => Condition::accepted_unless(Some(problem)),
        None => accepted(&own),
    };
    let sets = gateways.listeners.iter().filter(|listener| listener.gateway == gateway.name);
    let servable = sets.clone().any(CompiledListener::is_servable);
    let programmed = match gateway.address.as_ref().filter(|_| servable) {
        Some(problem) => Condition::no(ConditionType::Programmed, problem.reason, problem.message.clone()),
        None => Condition::programmed(servable),
    };
    let mut conditions = vec![accepted, programmed];
    conditions.extend(gateway.client_certificate.as_ref().map(|found| resolved_refs(found, &own)));
    if gateway.insecure {
        let message = "callers are let in with any certificate, or none; use mode AllowValidOnly";
        let kind = ConditionType::InsecureFrontendValidationMode;
        conditions.push(Condition::yes(kind, Reason::ConfigurationChanged).saying(message));
    }
    Status {
        listeners: own.iter().map(|listener| listener_status(listener, attached)).collect(),
        attached_listener_sets: (gateway.attached_sets > 0).then_some(gateway.attached_sets),
        ..Status::of(generation, conditions)
    }
}

/// References of a Gateway itself, then of its listeners.
fn resolved_refs(client_certificate: &Result<Key, Problem>, listeners: &[&CompiledListener]) -> Condition {
    if let Err(problem) = client_certificate {
        return Condition::resolved_refs(std::slice::from_ref(problem));
    }
    let broken: Vec<&str> = listeners
        .iter()
        .filter(|listener| !listener.unresolved.is_empty())
        .map(|listener| listener.name.as_str())
        .collect();
    if broken.is_empty() {
        return Condition::resolved_refs(&[]);
    }
    let message =
        format!("listeners refer to what is not there, see their conditions: {}", broken.join(", "));
    Condition::no(ConditionType::ResolvedRefs, Reason::ListenersNotResolved, message)
}

/// Status of a ListenerSet; `problem` says why it is not attached.
pub(crate) fn listener_set_status(
    listeners: &[&CompiledListener],
    problem: Option<&Problem>,
    generation: Option<i64>,
    attached: &BTreeMap<Key, u32>,
) -> Status {
    let accepted = match problem {
        Some(problem) => Condition::accepted_unless(Some(problem)),
        None => accepted(listeners),
    };
    let programmed = if listeners.iter().any(|listener| listener.is_servable()) {
        Condition::programmed(true)
    } else {
        let reason =
            if accepted.status == Truth::False { accepted.reason } else { Reason::ListenersNotValid };
        Condition::no(ConditionType::Programmed, reason, "not valid, see the other conditions")
    };
    Status {
        listeners: listeners.iter().map(|listener| listener_status(listener, attached)).collect(),
        ..Status::of(generation, vec![accepted, programmed])
    }
}

fn accepted(listeners: &[&CompiledListener]) -> Condition {
    let broken: Vec<&str> = listeners
        .iter()
        .filter(|listener| !listener.is_valid())
        .map(|listener| listener.name.as_str())
        .collect();
    if broken.is_empty() {
        return Condition::accepted();
    }
    let message = format!("not valid, see their conditions: {}", broken.join(", "));
    if listeners.iter().any(|listener| listener.is_servable()) {
        Condition::yes(ConditionType::Accepted, Reason::ListenersNotValid).saying(message)
    } else {
        Condition::no(ConditionType::Accepted, Reason::ListenersNotValid, message)
    }
}

fn listener_status(listener: &CompiledListener, attached: &BTreeMap<Key, u32>) -> ListenerStatus {
    let conflicted = match &listener.conflict {
        None => Condition::no(ConditionType::Conflicted, Reason::NoConflicts, ""),
        Some(problem) => Condition {
            status: Truth::True,
            ..Condition::no(ConditionType::Conflicted, problem.reason, problem.message.clone())
        },
    };
    let programmed = match &listener.conflict {
        None => Condition::programmed(listener.is_servable()),
        Some(problem) => {
            Condition::no(ConditionType::Programmed, problem.reason, "not served, see the other conditions")
        }
    };
    let problem = listener.conflict.as_ref().or(listener.refused.as_ref());
    ListenerStatus {
        name: listener.name.clone(),
        supported_kinds: listener.kinds.clone(),
        attached_routes: attached.get(&listener.key()).copied().unwrap_or_default(),
        conditions: vec![
            Condition::accepted_unless(problem),
            Condition::resolved_refs(&listener.unresolved),
            conflicted,
            programmed,
        ],
    }
}
