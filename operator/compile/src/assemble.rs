//! From what was compiled to what the authors are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_snapshot::Key;

use crate::alert::CompiledAlert;
use crate::basis::Basis;
use crate::diagnostic;
use crate::fleets::{self, Fleet};
use crate::listener::{Classes, Gateways};
use crate::memo::Memo;
use crate::object::ObjectRef;
use crate::policy::{Contents, PolicyIndex};
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::route::{CompiledRoute, Uses, kind_name};
use crate::subscription::{CompiledConsumer, CompiledPlan, CompiledProduct, CompiledSubscription};
use crate::telemetry::Telemetry;
use crate::world::World;
use crate::{Compiled, charges, statuses, unused, warnings};

/// Everything that was derived, for the last steps.
pub(crate) struct Derived<'w, 'a> {
    pub(crate) world: &'w World<'a>,
    pub(crate) classes: &'w Classes,
    pub(crate) gateways: &'w Gateways,
    pub(crate) contents: &'w Contents,
    pub(crate) policies: &'w PolicyIndex,
    pub(crate) uses: Uses,
    pub(crate) routes: Vec<&'w CompiledRoute>,
    pub(crate) consumers: &'w BTreeMap<Key, CompiledConsumer>,
    pub(crate) plans: &'w BTreeMap<Key, Result<CompiledPlan, Problem>>,
    pub(crate) products: &'w BTreeMap<Key, CompiledProduct>,
    pub(crate) subscriptions: &'w BTreeMap<Key, CompiledSubscription>,
    pub(crate) alerts: &'w BTreeMap<Key, CompiledAlert>,
    pub(crate) telemetry: &'w Telemetry,
    /// QuotaPolicies under which some requests would be charged to too many limits.
    pub(crate) overcharged: BTreeMap<Key, String>,
}

/// All that comes of what is in `memo`, with what to tell the authors.
pub(crate) fn report(world: &World<'_>, memo: &Memo, fleets: Vec<Fleet>) -> Compiled {
    let derived = Derived::new(world, memo);
    let mut found = fleets::unused(&derived);
    warnings::add(&derived, &memo.snapshot, &mut found);
    let mut statuses = statuses::all(&derived);
    let mut unused = unused::unused(world);
    unused.retain(|note| statuses.contains_key(&note.object));
    statuses::tell(&mut statuses, &unused);
    found.extend(unused);
    let diagnostics = diagnostic::collect(world.resources, &statuses, &found);
    let kept = fleets::kept(&derived);
    let catalog = Arc::clone(&memo.basis.catalog);
    Compiled { snapshot: memo.snapshot.clone(), fleets, kept, catalog, statuses, diagnostics }
}

/// What policies do for all routes together.
fn uses(memo: &Memo) -> Uses {
    let mut all = Uses::new();
    for (policy, found) in memo.routes.iter().flat_map(|(_, shown)| &shown.uses) {
        let known = all.entry(policy.clone()).or_default();
        known.enforced |= found.enforced;
        if found.overridden_by.is_some() {
            known.overridden_by.clone_from(&found.overridden_by);
        }
    }
    all
}

impl<'w, 'a> Derived<'w, 'a> {
    fn new(world: &'w World<'a>, memo: &'w Memo) -> Self {
        let Memo { basis, policies, telemetry, routes, snapshot, .. } = memo;
        let Basis { classes, gateways, contents, consumers, plans, products, subscriptions, alerts, .. } =
            basis;
        Self {
            world,
            classes,
            gateways,
            contents,
            policies,
            uses: uses(memo),
            routes: routes.iter().map(|(route, _)| &**route).collect(),
            consumers,
            plans,
            products,
            subscriptions,
            alerts,
            telemetry,
            overcharged: charges::overcharged(snapshot),
        }
    }
}

impl Derived<'_, '_> {
    /// Accepted routes by the key of the listener that they are attached to.
    pub(crate) fn attached(&self) -> BTreeMap<Key, u32> {
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        for route in self.routes.iter().filter(|route| route.refused.is_none()) {
            let listeners: BTreeSet<usize> =
                route.parents.iter().flat_map(|parent| &parent.listeners).map(|(index, _)| *index).collect();
            for index in listeners {
                *counts.entry(index).or_default() += 1;
            }
        }
        counts.into_iter().map(|(index, count)| (self.gateways.listeners[index].key(), count)).collect()
    }

    /// Gateways through which each backend is reached, by kind and name of the backend object.
    pub(crate) fn gateways_of_backends(
        &self,
    ) -> BTreeMap<&(&'static str, ObjectName), BTreeSet<&ObjectName>> {
        let mut reached: BTreeMap<&(&'static str, ObjectName), BTreeSet<&ObjectName>> = BTreeMap::new();
        for route in &self.routes {
            for target in &route.found.objects {
                let listeners = route.parents.iter().flat_map(|parent| &parent.listeners);
                let gateways = listeners.map(|(index, _)| &self.gateways.listeners[*index].gateway);
                reached.entry(target).or_default().extend(gateways);
            }
        }
        reached
    }

    /// `HTTPRoute`, `GRPCRoute`.
    pub(crate) fn object_of(route: &CompiledRoute) -> ObjectRef {
        ObjectRef::new(kind_name(route.kind), &route.name)
    }
}
