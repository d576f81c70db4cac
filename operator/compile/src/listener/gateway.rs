//! Gateways with their own listeners and those of their ListenerSets.

use std::collections::{BTreeMap, BTreeSet};

use crds::conditions::Reason;
use crds::gateway_api::{self, ListenerSet, ParametersReference};
use gateway_snapshot::Key;

use super::check::{Owner, listener};
use super::class::parameters;
use super::{
    AllowedNamespaces, Certificates, Classes, CompiledListener, address, admits, conflict, frontend,
};
use crate::field::SPEC;
use crate::object::ObjectRef;
use crate::order;
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::world::World;

/// A Gateway that is ours.
#[derive(Debug)]
pub(crate) struct CompiledGateway {
    pub(crate) name: ObjectName,
    pub(crate) class: String,
    /// Why none of its listeners is served.
    pub(crate) refused: Option<Problem>,
    /// The fleet whose settings it has: its own, or its class's.
    pub(crate) fleet: Option<ObjectName>,
    /// Its processes serve all Gateways of its class with that fleet.
    pub(crate) merged: bool,
    /// ListenerSets that are attached.
    pub(crate) attached_sets: u32,
    /// An address that was asked for and cannot be had; it is served all the same, at other addresses.
    pub(crate) address: Option<Problem>,
    /// Its client certificate for backends: the key, or why it cannot be used.
    pub(crate) client_certificate: Option<Result<Key, Problem>>,
    /// Callers may show any certificate, or none, on one of its ports that asks for them.
    pub(crate) insecure: bool,
}

impl CompiledGateway {
    /// The object that its processes belong to in a cluster, and its class: equal for those that share processes.
    pub(crate) fn owner(&self) -> (ObjectRef, &str) {
        let owner = match &self.fleet {
            Some(fleet) if self.merged => ObjectRef::new("GatewayFleet", fleet),
            _ => ObjectRef::new("Gateway", &self.name),
        };
        (owner, &self.class)
    }
}

/// All Gateways that are ours, and their listeners.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    /// The oldest first.
    pub(crate) list: Vec<CompiledGateway>,
    /// In order of precedence; those of one Gateway or ListenerSet in the order of its spec.
    pub(crate) listeners: Vec<CompiledListener>,
    /// ListenerSets for our Gateways, and why one is not attached.
    pub(crate) sets: BTreeMap<ObjectName, Option<Problem>>,
    pub(crate) certificates: Certificates,
}

impl Gateways {
    /// The Gateway, if it is ours.
    pub(crate) fn get(&self, name: &ObjectName) -> Option<&CompiledGateway> {
        self.list.iter().find(|gateway| gateway.name == *name)
    }

    /// Listeners that are written in a Gateway itself, or in a ListenerSet.
    pub(crate) fn of<'a>(
        &'a self,
        gateway: Option<&'a ObjectName>,
        set: Option<&'a ObjectName>,
    ) -> impl Iterator<Item = &'a CompiledListener> {
        self.listeners.iter().filter(move |listener| {
            listener.set.as_ref() == set && gateway.is_none_or(|gateway| listener.gateway == *gateway)
        })
    }
}

/// Compiles every Gateway whose class is ours.
pub(crate) fn gateways(world: &World<'_>, classes: &Classes, certificates: Certificates) -> Gateways {
    let mut all = Gateways { certificates, ..Gateways::default() };
    let mut sorted: Vec<_> = world.resources.gateways.iter().collect();
    sorted.sort_by_key(|(_, gateway)| order::age(&gateway.metadata));
    let mut units: Vec<Vec<CompiledListener>> = Vec::new();
    for (name, gateway) in sorted {
        let Some(class) = classes.get(&gateway.spec.gateway_class_name) else { continue };
        let fleet = fleet(world, class, gateway);
        let mut compiled = CompiledGateway {
            name: name.clone(),
            class: gateway.spec.gateway_class_name.clone(),
            refused: None,
            fleet: None,
            merged: false,
            attached_sets: 0,
            address: None,
            client_certificate: client_certificate(world, &mut all.certificates, name, gateway),
            insecure: frontend::is_insecure(gateway),
        };
        match fleet.and_then(|fleet| address::check(world, gateway).map(|address| (fleet, address))) {
            Ok((fleet, address)) => {
                compiled.merged = fleet.as_ref().is_some_and(|fleet| merges(world, fleet));
                (compiled.fleet, compiled.address) = (fleet, address);
            }
            Err(problem) => compiled.refused = Some(problem),
        }
        let client_certificate = compiled.client_certificate.as_ref().and_then(|found| found.as_deref().ok());
        let owner = Owner { gateway, gateway_name: name, set: None, client_certificate };
        units.push(unit(world, &mut all.certificates, &owner, &gateway.spec.listeners));
        for (set_name, set) in sets_of(world, name) {
            let problem = not_allowed(world, &compiled, gateway, set_name);
            if problem.is_none() {
                let owner = Owner { set: Some(set_name), ..owner };
                units.push(unit(world, &mut all.certificates, &owner, &set.spec.listeners));
            }
            all.sets.insert(set_name.clone(), problem);
        }
        if let Some(problem) = &compiled.refused {
            refuse(&mut units, name, problem);
        }
        all.list.push(compiled);
    }
    let shared = world.options.shared_ports();
    let merged = all.list.iter().filter(|gateway| gateway.merged);
    let merged: BTreeMap<_, _> = merged.map(|gateway| (&gateway.name, gateway.owner())).collect();
    conflict::find(&mut units, |left, right| {
        let owner = merged.get(&left.gateway);
        shared || left.gateway == right.gateway || (owner.is_some() && owner == merged.get(&right.gateway))
    });
    drop(merged);
    all.listeners = units.into_iter().flatten().collect();
    count_sets(&mut all);
    all
}

fn merges(world: &World<'_>, fleet: &ObjectName) -> bool {
    world.resources.gateway_fleets.get(fleet).is_some_and(|fleet| fleet.spec.merge_gateways)
}

/// A ListenerSet is attached when one of its listeners, at least, is served.
fn count_sets(all: &mut Gateways) {
    let mut attached: BTreeMap<&ObjectName, BTreeSet<&ObjectName>> = BTreeMap::new();
    for listener in all.listeners.iter().filter(|listener| listener.is_servable()) {
        if let Some(set) = &listener.set {
            attached.entry(&listener.gateway).or_default().insert(set);
        }
    }
    for gateway in &mut all.list {
        gateway.attached_sets = attached.get(&gateway.name).map_or(0, BTreeSet::len) as u32;
    }
}

fn unit(
    world: &World<'_>,
    certificates: &mut Certificates,
    owner: &Owner<'_>,
    raw: &[gateway_api::Listener],
) -> Vec<CompiledListener> {
    let list = SPEC.key("listeners");
    let mut out: Vec<CompiledListener> = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let field = list.index(index);
        let mut compiled = listener(world, certificates, owner, raw, &field);
        if out.iter().any(|earlier| earlier.name == compiled.name) {
            compiled.refused =
                Some(Problem::value(&field.key("name"), "is the name of two listeners; rename one"));
        }
        out.push(compiled);
    }
    out
}

fn fleet(
    world: &World<'_>,
    class: &Result<Option<ObjectName>, Problem>,
    gateway: &gateway_api::Gateway,
) -> Result<Option<ObjectName>, Problem> {
    let of_class = class.clone().map_err(|problem| Problem {
        reason: Reason::InvalidParameters,
        message: format!("GatewayClass {}: {}", gateway.spec.gateway_class_name, problem.message),
    })?;
    let Some(local) = gateway.spec.infrastructure.as_ref().and_then(|infra| infra.parameters_ref.as_ref())
    else {
        return Ok(of_class);
    };
    let reference = ParametersReference {
        group: local.group.clone(),
        kind: local.kind.clone(),
        name: local.name.clone(),
        namespace: gateway.metadata.namespace.clone(),
    };
    let field = SPEC.key("infrastructure");
    parameters(world, &reference, &field.key("parametersRef")).map(Some)
}

/// The fleet that a Gateway or else its class refers to, whether or not it exists.
pub(crate) fn fleet_named(world: &World<'_>, gateway: &gateway_api::Gateway) -> Option<ObjectName> {
    let own = gateway.spec.infrastructure.as_ref().and_then(|infra| infra.parameters_ref.as_ref());
    if let Some(own) = own {
        return Some(ObjectName::new(gateway.metadata.namespace.as_deref()?, &own.name));
    }
    let class = ObjectName::new("", &gateway.spec.gateway_class_name);
    let reference = world.resources.gateway_classes.get(&class)?.spec.parameters_ref.as_ref()?;
    Some(ObjectName::new(reference.namespace.as_deref()?, &reference.name))
}

/// The certificate that backends see, if there is to be one.
fn client_certificate(
    world: &World<'_>,
    certificates: &mut Certificates,
    name: &ObjectName,
    gateway: &gateway_api::Gateway,
) -> Option<Result<Key, Problem>> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let field = SPEC.key("tls");
    let field = field.key("backend");
    let field = field.key("clientCertificateRef");
    let found = certificates.resolve(world, ("Gateway", &name.namespace), reference, &field);
    Some(found.map_err(|problem| match problem.reason {
        Reason::RefNotPermitted => problem,
        _ => Problem { reason: Reason::InvalidClientCertificateRef, ..problem },
    }))
}

fn refuse(units: &mut [Vec<CompiledListener>], gateway: &ObjectName, problem: &Problem) {
    for listener in units.iter_mut().flatten().filter(|listener| listener.gateway == *gateway) {
        let message = format!("the Gateway is not accepted: {}", problem.message);
        listener.refused.get_or_insert(Problem { reason: Reason::Invalid, message });
    }
}

/// ListenerSets for a Gateway, the oldest first.
fn sets_of<'a>(world: &World<'a>, gateway: &ObjectName) -> Vec<(&'a ObjectName, &'a ListenerSet)> {
    let mut sets: Vec<(&ObjectName, &ListenerSet)> = world
        .resources
        .listener_sets
        .iter()
        .filter(|(name, set)| {
            let parent = &set.spec.parent_ref;
            let group = parent.group.as_deref().unwrap_or(gateway_api::GROUP);
            let kind = parent.kind.as_deref().unwrap_or("Gateway");
            (group, kind) == (gateway_api::GROUP, "Gateway")
                && parent.name == gateway.name
                && parent.namespace.as_deref().unwrap_or(&name.namespace) == gateway.namespace
        })
        .map(|(name, set)| (name, &**set))
        .collect();
    sets.sort_by_key(|(_, set)| order::age(&set.metadata));
    sets
}

fn not_allowed(
    world: &World<'_>,
    compiled: &CompiledGateway,
    gateway: &gateway_api::Gateway,
    set: &ObjectName,
) -> Option<Problem> {
    let raw = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let allowed = AllowedNamespaces::of_listener_sets(raw);
    if !admits(world, &allowed, &compiled.name.namespace, &set.namespace) {
        let message = format!(
            "Gateway {} does not allow ListenerSets of namespace {}; set its spec.allowedListeners",
            compiled.name, set.namespace
        );
        return Some(Problem { reason: Reason::NotAllowed, message });
    }
    let problem = compiled.refused.as_ref()?;
    let message = format!("Gateway {} is not accepted: {}", compiled.name, problem.message);
    Some(Problem { reason: Reason::ParentNotAccepted, message })
}
