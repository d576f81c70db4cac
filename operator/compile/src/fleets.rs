//! Fleets: the processes of one Gateway each, and what they serve.

use std::sync::Arc;

use gateway_snapshot::{Settings, Snapshot};

use crate::assemble::Derived;
use crate::children::{self, Child};
use crate::fleet;
use crate::listener::CompiledGateway;
use crate::resources::ObjectName;
use crate::version;

/// What the processes of one Gateway serve, and how they are to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Its Gateway.
    pub gateway: ObjectName,
    /// Name of its Deployment, Service and so on, in the Gateway's namespace.
    pub name: String,
    /// What the cluster needs for it, in the order in which to apply them.
    pub children: Vec<Child>,
    /// Its own listeners, the routes attached to them and what these use, with a version of its own.
    pub snapshot: Arc<Snapshot>,
}

/// A fleet for each accepted Gateway, where they have processes of their own. One that is not accepted has none: what
/// was made for it stays as it was.
pub(crate) fn fleets(derived: &Derived<'_, '_>, whole: &Snapshot) -> Vec<Fleet> {
    let Some(runtime) = &derived.world.options.runtime else { return Vec::new() };
    let accepted = derived.gateways.list.iter().filter(|gateway| gateway.refused.is_none());
    accepted
        .map(|gateway| {
            let mut snapshot = whole.part(&gateway.name.to_string(), settings(derived, gateway));
            version::stamp_part(&mut snapshot);
            let children = children::children(derived.world, gateway, &snapshot, runtime);
            let name = children::name(&gateway.name, &gateway.class);
            Fleet { gateway: gateway.name.clone(), name, children, snapshot: Arc::new(snapshot) }
        })
        .collect()
}

/// Settings of the processes of one Gateway.
pub(crate) fn settings(derived: &Derived<'_, '_>, gateway: &CompiledGateway) -> Settings {
    let mut settings = of_fleet(derived, gateway.fleet.as_ref());
    derived.telemetry.apply(std::iter::once(gateway), &mut settings);
    settings
}

/// What a GatewayFleet says, or the defaults.
pub(crate) fn of_fleet(derived: &Derived<'_, '_>, name: Option<&ObjectName>) -> Settings {
    name.and_then(|name| derived.world.resources.gateway_fleets.get(name))
        .and_then(|fleet| fleet::settings(&fleet.spec).ok())
        .unwrap_or_default()
}
