//! Fleets: the processes of one Gateway each, or of all Gateways that a GatewayFleet merges, and what they serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_snapshot::{Part, Settings, Snapshot};

use crate::assemble::Derived;
use crate::basis::Basis;
use crate::children::{self, Child};
use crate::diagnostic::Warning;
use crate::fleet;
use crate::listener::{CompiledGateway, Gateways, fleet_named};
use crate::object::ObjectRef;
use crate::resources::ObjectName;
use crate::telemetry::Telemetry;
use crate::version;
use crate::world::World;

/// What some processes serve, and how they are to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Names it on streams and in certificates: `namespace/gateway`, or `namespace/merged_name`, which no Gateway can be
    /// called.
    pub key: String,
    /// Namespace of its Deployment, Service and so on.
    pub namespace: String,
    /// Their name.
    pub name: String,
    /// Gateways that it serves, the oldest first.
    pub gateways: Vec<ObjectName>,
    /// What the cluster needs for it, in the order in which to apply them.
    pub children: Vec<Child>,
    /// The listeners of its Gateways, the routes attached to them and what these use, with a version of its own.
    pub snapshot: Arc<Snapshot>,
}

impl Fleet {
    /// Whether a fleet of this key belongs to `owner`; of a GatewayFleet, to any in its namespace.
    pub fn may_be_of(key: &str, owner: &ObjectRef) -> bool {
        match owner.kind {
            "Gateway" => key == owner.name.to_string(),
            _ => key.split_once('/').is_some_and(|(namespace, name)| {
                namespace == owner.name.namespace && name.starts_with(children::MERGED)
            }),
        }
    }
}

/// A fleet for each accepted Gateway or group of merged ones, where Gateways have processes of their own. One that is not
/// accepted has none: what was made for it stays as it was. `parts` is what is remembered of each.
pub(crate) fn fleets(
    world: &World<'_>,
    basis: &Basis,
    telemetry: &Telemetry,
    whole: &Snapshot,
    parts: &mut BTreeMap<String, Part>,
) -> Vec<Fleet> {
    let Some(runtime) = &world.options.runtime else { return Vec::new() };
    let mut groups: Vec<Vec<&CompiledGateway>> = Vec::new();
    let mut places = BTreeMap::new();
    for gateway in basis.gateways.list.iter().filter(|gateway| gateway.refused.is_none()) {
        let place = *places.entry(gateway.owner()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(gateway);
    }
    let mut known = std::mem::take(parts);
    let fleet = |group: Vec<&CompiledGateway>| {
        let key = children::key(group[0]);
        let names = group.iter().map(|gateway| gateway.name.to_string()).collect();
        let part = parts.entry(key.clone()).or_insert_with(|| known.remove(&key).unwrap_or_default());
        let mut snapshot = part.of(whole, &names, settings(world, telemetry, &group));
        version::stamp(&mut snapshot);
        Fleet {
            key,
            namespace: group[0].owner().0.name.namespace,
            name: children::name(group[0]),
            gateways: group.iter().map(|gateway| gateway.name.clone()).collect(),
            children: children::children(world, (&group, &basis.gateways), &snapshot, runtime),
            snapshot: Arc::new(snapshot),
        }
    };
    groups.into_iter().map(fleet).collect()
}

/// Objects whose fleets, or whose part of one, stay as they are, because a Gateway or ListenerSet is not accepted at present.
pub(crate) fn kept(derived: &Derived<'_, '_>) -> BTreeSet<ObjectRef> {
    let detached =
        derived.gateways.sets.iter().filter(|(_, problem)| problem.is_some()).map(|(name, _)| name);
    let is_refused = |name| derived.gateways.get(name).is_some_and(|gateway| gateway.refused.is_some());
    let of_refused = derived.gateways.listeners.iter().filter(|listener| is_refused(&listener.gateway));
    let sets = detached.chain(of_refused.filter_map(|listener| listener.set.as_ref()));
    let sets = sets.map(|name| Some(ObjectRef::new("ListenerSet", name)));
    let refused = derived.gateways.list.iter().filter(|gateway| gateway.refused.is_some());
    let own = |gateway: &CompiledGateway| ObjectRef::new("Gateway", &gateway.name);
    let gateways = &derived.world.resources.gateways;
    let named = |gateway: &CompiledGateway| {
        let name = fleet_named(derived.world, gateways.get(&gateway.name)?)?;
        Some(ObjectRef::new("GatewayFleet", &name))
    };
    refused.flat_map(|gateway| [Some(own(gateway)), named(gateway)]).chain(sets).flatten().collect()
}

/// Settings of one process for all Gateways: those of the oldest that has a fleet.
pub(crate) fn settings_of_all(world: &World<'_>, gateways: &Gateways, telemetry: &Telemetry) -> Settings {
    let accepted = || gateways.list.iter().filter(|gateway| gateway.refused.is_none());
    let mut settings = of_fleet(world, accepted().find_map(|gateway| gateway.fleet.as_ref()));
    telemetry.apply(accepted(), &mut settings);
    settings
}

/// Where all Gateways share one process, whose GatewayFleet is not the one in force.
pub(crate) fn unused(derived: &Derived<'_, '_>) -> Vec<Warning> {
    if !derived.world.options.shared_ports() {
        return Vec::new();
    }
    let accepted = derived.gateways.list.iter().filter(|gateway| gateway.refused.is_none());
    let mut fleets = accepted.filter_map(|gateway| Some((gateway, gateway.fleet.as_ref()?)));
    let Some((_, winner)) = fleets.next() else { return Vec::new() };
    let others = fleets.filter(|(_, fleet)| *fleet != winner).map(|(gateway, fleet)| {
        let message = format!(
            "GatewayFleet {fleet} is not used: all Gateways share one process here, and an older one has GatewayFleet {winner}"
        );
        Warning { object: ObjectRef::new("Gateway", &gateway.name), message }
    });
    others.collect()
}

/// Settings of the processes of some Gateways with the same GatewayFleet.
fn settings(world: &World<'_>, telemetry: &Telemetry, gateways: &[&CompiledGateway]) -> Settings {
    let mut settings = of_fleet(world, gateways[0].fleet.as_ref());
    telemetry.apply(gateways.iter().copied(), &mut settings);
    settings
}

/// What a GatewayFleet says, or the defaults.
fn of_fleet(world: &World<'_>, name: Option<&ObjectName>) -> Settings {
    name.and_then(|name| world.resources.gateway_fleets.get(name))
        .and_then(|fleet| fleet::settings(&fleet.spec).ok())
        .unwrap_or_default()
}
