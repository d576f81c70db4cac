//! A status for every object that is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::conditions::{ConditionType, Reason};
use crds::gateway_api;
use crds::gateway_fleet::Autoscaling;
use gateway_snapshot::Key;

use crate::assemble::Derived;
use crate::backend;
use crate::diagnostic::Warning;
use crate::fleet;
use crate::listener::{listener_set_status, status};
use crate::object::ObjectRef;
use crate::order;
use crate::policy::{PolicyKind, TargetOutcome};
use crate::problem::Problem;
use crate::resources::{ObjectName, Objects};
use crate::route::mock;
use crate::status::{Condition, ParentRef, ParentStatus, Status, Truth};

type Statuses = BTreeMap<ObjectRef, Arc<Status>>;

/// All statuses.
pub(crate) fn all(derived: &Derived<'_, '_>) -> Statuses {
    let mut out = Statuses::new();
    gateways(derived, &mut out);
    for route in &derived.routes {
        if let Some(status) = &route.status {
            out.insert(Derived::object_of(route), Arc::clone(status));
        }
    }
    ours(derived, &mut out);
    policies(derived, &mut out);
    for (name, status) in &derived.telemetry.statuses {
        out.insert(ObjectRef::new("XTelemetryPolicy", name), status.clone().into());
    }
    backends(derived, &mut out);
    out
}

/// Adds what is worth saying to the conditions by which the objects are accepted.
pub(crate) fn tell(statuses: &mut Statuses, notes: &[Warning]) {
    for note in notes {
        let Some(status) = statuses.get_mut(&note.object).map(Arc::make_mut) else { continue };
        let parents = status.parents.iter_mut().chain(&mut status.ancestors);
        let conditions =
            status.conditions.iter_mut().chain(parents.flat_map(|parent| &mut parent.conditions));
        for condition in conditions.filter(|condition| condition.kind == ConditionType::Accepted) {
            if condition.status == Truth::True && condition.message.is_empty() {
                *condition = condition.clone().saying(note.message.as_str());
            }
        }
    }
}

fn gateways(derived: &Derived<'_, '_>, out: &mut Statuses) {
    let resources = derived.world.resources;
    for (name, class) in derived.classes {
        let name = ObjectName::new("", name);
        let generation = resources.gateway_classes.get(&name).and_then(|class| class.metadata.generation);
        let accepted = Condition::accepted_unless(class.as_ref().err());
        out.insert(ObjectRef::new("GatewayClass", &name), Status::of(generation, vec![accepted]).into());
    }
    let attached = derived.attached();
    for gateway in &derived.gateways.list {
        let generation =
            resources.gateways.get(&gateway.name).and_then(|gateway| gateway.metadata.generation);
        let status = status(derived.gateways, gateway, generation, &attached);
        out.insert(ObjectRef::new("Gateway", &gateway.name), status.into());
    }
    for (name, problem) in &derived.gateways.sets {
        let generation = resources.listener_sets.get(name).and_then(|set| set.metadata.generation);
        let listeners: Vec<_> = derived.gateways.of(None, Some(name)).collect();
        let status = listener_set_status(&listeners, problem.as_ref(), generation, &attached);
        out.insert(ObjectRef::new("ListenerSet", name), status.into());
    }
}

/// Kinds of ours that attach to nothing.
fn ours(derived: &Derived<'_, '_>, out: &mut Statuses) {
    let resources = derived.world.resources;
    for (name, fleet) in &resources.gateway_fleets {
        let mut accepted = Condition::accepted_unless(fleet::settings(&fleet.spec).err().as_ref());
        let by_requests = fleet.spec.autoscaling.as_ref().is_some_and(Autoscaling::by_requests);
        let runtime = derived.world.options.runtime.as_ref();
        let unheard = by_requests && runtime.is_some_and(|runtime| !runtime.external_metrics);
        if unheard && accepted.status == Truth::True {
            accepted = accepted.saying(
                "spec.autoscaling: gateways scale by CPU only: the API external.metrics.k8s.io is another's in this cluster, or the operator was not allowed to serve it",
            );
        }
        out.insert(
            ObjectRef::new("GatewayFleet", name),
            Status::of(fleet.metadata.generation, vec![accepted]).into(),
        );
    }
    for (name, policy) in &resources.transform_policies {
        let problem = mock(policy).err().map(|message| Problem { reason: Reason::Invalid, message });
        let status =
            Status::of(policy.metadata.generation, vec![Condition::accepted_unless(problem.as_ref())]);
        out.insert(ObjectRef::new("TransformPolicy", name), status.into());
    }
    for (name, plan) in &resources.plans {
        let problem = derived.plans.get(&name.to_string()).and_then(|plan| plan.as_ref().err());
        let status = Status::of(plan.metadata.generation, vec![Condition::accepted_unless(problem)]);
        out.insert(ObjectRef::new("Plan", name), status.into());
    }
    conditions(
        out,
        "Consumer",
        &resources.consumers,
        |object| object.metadata.generation,
        |key| derived.consumers.get(key).map(|consumer| consumer.conditions.clone()),
    );
    conditions(
        out,
        "Subscription",
        &resources.subscriptions,
        |object| object.metadata.generation,
        |key| derived.subscriptions.get(key).map(|subscription| subscription.conditions.clone()),
    );
    for (name, policy) in &resources.alert_policies {
        let Some(alert) = derived.alerts.get(&name.to_string()) else { continue };
        let ancestors =
            vec![ParentStatus { parent: itself("AlertPolicy", name), conditions: alert.conditions.clone() }];
        let status = Status { generation: policy.metadata.generation, ancestors, ..Status::default() };
        out.insert(ObjectRef::new("AlertPolicy", name), status.into());
    }
}

fn conditions<T>(
    out: &mut Statuses,
    kind: &'static str,
    objects: &Objects<T>,
    generation: fn(&T) -> Option<i64>,
    found: impl Fn(&Key) -> Option<Vec<Condition>>,
) {
    for (name, object) in objects {
        if let Some(conditions) = found(&name.to_string()) {
            out.insert(ObjectRef::new(kind, name), Status::of(generation(object), conditions).into());
        }
    }
}

fn itself(kind: &str, name: &ObjectName) -> ParentRef {
    ParentRef {
        group: Some(crds::GROUP.to_owned()),
        kind: Some(kind.to_owned()),
        name: name.name.clone(),
        ..ParentRef::default()
    }
}

/// Kinds that attach to routes and Gateways.
fn policies(derived: &Derived<'_, '_>, out: &mut Statuses) {
    for ((kind, key), outcomes) in &derived.policies.outcomes {
        let Some((namespace, name)) = key.split_once('/') else { continue };
        let name = ObjectName::new(namespace, name);
        let mut targets: Vec<ParentStatus> = outcomes
            .iter()
            .map(|outcome| ParentStatus {
                parent: outcome.parent.clone(),
                conditions: policy_conditions(derived, *kind, key, outcome),
            })
            .collect();
        if targets.is_empty() {
            let outcome = TargetOutcome { parent: itself(kind.name(), &name), problem: None };
            let conditions = policy_conditions(derived, *kind, key, &outcome);
            targets.push(ParentStatus { parent: outcome.parent, conditions });
        }
        let generation = generation(derived, *kind, &name);
        let status = Status { generation, ancestors: targets, ..Status::default() };
        out.insert(ObjectRef::new(kind.name(), &name), status.into());
    }
}

fn generation(derived: &Derived<'_, '_>, kind: PolicyKind, name: &ObjectName) -> Option<i64> {
    let resources = derived.world.resources;
    match kind {
        PolicyKind::Auth => resources.auth_policies.get(name)?.metadata.generation,
        PolicyKind::RateLimit => resources.rate_limit_policies.get(name)?.metadata.generation,
        PolicyKind::Quota => resources.quota_policies.get(name)?.metadata.generation,
        PolicyKind::Product => resources.api_products.get(name)?.metadata.generation,
    }
}

fn policy_conditions(
    derived: &Derived<'_, '_>,
    kind: PolicyKind,
    key: &Key,
    outcome: &TargetOutcome,
) -> Vec<Condition> {
    let content = match kind {
        PolicyKind::Auth => {
            derived.contents.auth.get(key).and_then(|(_, problem)| problem.as_ref()).map(|problem| {
                let message = format!("{}; until then nobody passes where it is attached", problem.message);
                Problem { reason: problem.reason, message }
            })
        }
        PolicyKind::RateLimit => {
            derived.contents.rate_limits.get(key).and_then(|content| content.as_ref().err()).cloned()
        }
        PolicyKind::Quota => {
            derived.contents.quotas.get(key).and_then(|content| content.as_ref().err()).cloned()
        }
        PolicyKind::Product => derived.products.get(key).and_then(|product| product.refused.clone()),
    };
    let problem = outcome.problem.as_ref().or(content.as_ref());
    let mut conditions = vec![Condition::accepted_unless(problem)];
    if kind == PolicyKind::Product {
        let unresolved = derived.products.get(key).map_or(&[][..], |product| &product.unresolved);
        conditions.push(Condition::resolved_refs(unresolved));
    }
    let used = derived.uses.get(&(kind, key.clone())).filter(|_| problem.is_none());
    if let Some(used) = used {
        let overcharged = derived.overcharged.get(key).filter(|_| kind == PolicyKind::Quota);
        if let Some(message) = overcharged {
            conditions.push(Condition::no(ConditionType::Enforced, Reason::Invalid, message.as_str()));
            return conditions;
        }
        conditions.push(match &used.overridden_by {
            Some(winner) if !used.enforced => {
                let message = format!("{} {winner} is more specific for every rule in reach", kind.name());
                Condition::no(ConditionType::Enforced, Reason::Overridden, message)
            }
            Some(winner) => {
                let message = format!("but not for rules where {} {winner} is more specific", kind.name());
                Condition::yes(ConditionType::Enforced, Reason::Accepted).saying(message)
            }
            None => Condition::yes(ConditionType::Enforced, Reason::Accepted),
        });
    }
    conditions
}

/// XBackends and BackendTLSPolicies: one entry for each Gateway through which they are reached.
fn backends(derived: &Derived<'_, '_>, out: &mut Statuses) {
    let resources = derived.world.resources;
    let reached = derived.gateways_of_backends();
    let none = BTreeSet::new();
    let through = |gateways: &BTreeSet<&ObjectName>, conditions: &[Condition]| -> Vec<ParentStatus> {
        gateways
            .iter()
            .map(|gateway| ParentStatus { parent: gateway_ref(gateway), conditions: conditions.to_vec() })
            .collect()
    };
    for (name, backend) in &resources.backends {
        let gateways = reached.get(&("XBackend", name.clone())).unwrap_or(&none);
        let problem = backend::check_external(derived.world, backend).err();
        let ancestors = through(gateways, &[Condition::accepted_unless(problem.as_ref())]);
        if !ancestors.is_empty() {
            let status = Status { generation: backend.metadata.generation, ancestors, ..Status::default() };
            out.insert(ObjectRef::new("XBackend", name), status.into());
        }
    }
    for (name, policy) in &resources.backend_tls_policies {
        let Some(outcome) = derived.world.backend_tls.outcomes.get(&order::key(&policy.metadata)) else {
            continue;
        };
        let gateways: BTreeSet<&ObjectName> = policy
            .spec
            .target_refs
            .iter()
            .filter_map(|target| reached.get(&("Service", ObjectName::new(&name.namespace, &target.name))))
            .flatten()
            .copied()
            .collect();
        let ancestors = through(&gateways, outcome);
        if !ancestors.is_empty() {
            let status = Status { generation: policy.metadata.generation, ancestors, ..Status::default() };
            out.insert(ObjectRef::new("BackendTLSPolicy", name), status.into());
        }
    }
}

fn gateway_ref(name: &ObjectName) -> ParentRef {
    ParentRef {
        group: Some(gateway_api::GROUP.to_owned()),
        kind: Some("Gateway".to_owned()),
        namespace: Some(name.namespace.clone()),
        name: name.name.clone(),
        ..ParentRef::default()
    }
}
