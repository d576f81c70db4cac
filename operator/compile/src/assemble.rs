//! The steps of a compilation, in order, and what each hands to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_snapshot::{Catalog, CatalogLimit, Entries, FORMAT, Key, Listener, Settings, Snapshot};

use crate::alert::{CompiledAlert, alerts};
use crate::backend::{self, Target};
use crate::diagnostic::{self, Warning};
use crate::fleets::{self, Fleet};
use crate::listener::{Classes, Gateways, classes, gateways};
use crate::memo::{Memo, Shown};
use crate::object::ObjectRef;
use crate::policy::{Contents, PolicyIndex};
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::route::{CompiledRoute, Uses, kind_name};
use crate::subscription::{
    CompiledConsumer, CompiledPlan, CompiledProduct, CompiledSubscription, consumers, plans, products,
    subscriptions,
};
use crate::telemetry::{Telemetry, telemetry};
use crate::world::World;
use crate::{Compiled, charges, expressions, statuses, unused, version, warnings};

/// Everything that was derived, for the last steps.
pub(crate) struct Derived<'w, 'a> {
    pub(crate) world: &'w World<'a>,
    pub(crate) classes: Classes,
    pub(crate) gateways: Gateways,
    pub(crate) contents: Contents,
    pub(crate) policies: PolicyIndex,
    pub(crate) uses: Uses,
    pub(crate) routes: Vec<Arc<CompiledRoute>>,
    pub(crate) consumers: BTreeMap<Key, CompiledConsumer>,
    pub(crate) plans: BTreeMap<Key, Result<CompiledPlan, Problem>>,
    pub(crate) products: BTreeMap<Key, CompiledProduct>,
    pub(crate) subscriptions: BTreeMap<Key, CompiledSubscription>,
    pub(crate) alerts: BTreeMap<Key, CompiledAlert>,
    pub(crate) telemetry: Telemetry,
    /// QuotaPolicies under which some requests would be charged to too many limits.
    pub(crate) overcharged: BTreeMap<Key, String>,
}

/// What gateways and analytics need, and what statuses are made of.
pub(crate) struct Served<'w, 'a> {
    derived: Derived<'w, 'a>,
    snapshot: Snapshot,
    found: Vec<Warning>,
    pub(crate) fleets: Vec<Fleet>,
    pub(crate) catalog: Catalog,
}

/// The first half of a compilation.
pub(crate) fn serve<'w, 'a>(world: &'w World<'a>, memo: &mut Memo) -> Served<'w, 'a> {
    let classes = classes(world);
    let gateways = gateways(world, &classes, std::mem::take(&mut memo.certificates));
    let contents = Contents::new(world.resources);
    let policies = PolicyIndex::new(world.resources, &contents);
    let plans = plans(world.resources);
    let products = products(world);
    let subscriptions = subscriptions(world, &products, &plans);
    let mut kept = memo.routes(world, &gateways, &policies, &contents);
    expressions::bound(&mut kept);
    let (routes, shown): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    let mut derived = Derived {
        world,
        classes,
        routes,
        telemetry: telemetry(world, &gateways),
        gateways,
        contents,
        policies,
        uses: uses(&shown),
        consumers: consumers(world.resources),
        plans,
        products,
        subscriptions,
        alerts: alerts(world.resources),
        overcharged: BTreeMap::new(),
    };
    let mut found = Vec::new();
    let mut snapshot = snapshot(&mut derived, &shown, &mut found);
    snapshot.adopt(&memo.snapshot);
    let mut catalog = catalog(&derived);
    version::stamp(&mut snapshot, &mut catalog);
    memo.snapshot = snapshot.clone();
    memo.certificates = std::mem::take(&mut derived.gateways.certificates).again();
    let fleets = fleets::fleets(&derived, &snapshot);
    Served { derived, snapshot, found, fleets, catalog }
}

/// The second half: what to tell the authors.
pub(crate) fn report(served: Served<'_, '_>) -> Compiled {
    let Served { derived, snapshot, mut found, fleets, catalog } = served;
    let world = derived.world;
    warnings::add(&derived, &snapshot, &mut found);
    let mut statuses = statuses::all(&derived);
    let mut unused = unused::unused(world);
    unused.retain(|note| statuses.contains_key(&note.object));
    statuses::tell(&mut statuses, &unused);
    found.extend(unused);
    let diagnostics = diagnostic::collect(world.resources, &statuses, &found);
    let kept = fleets::kept(&derived);
    Compiled { snapshot, fleets, kept, catalog, statuses, diagnostics }
}

/// What policies do for all routes together.
fn uses(shown: &[Arc<Shown>]) -> Uses {
    let mut all = Uses::new();
    for (policy, found) in shown.iter().flat_map(|shown| &shown.uses) {
        let known = all.entry(policy.clone()).or_default();
        known.enforced |= found.enforced;
        if found.overridden_by.is_some() {
            known.overridden_by.clone_from(&found.overridden_by);
        }
    }
    all
}

fn snapshot(derived: &mut Derived<'_, '_>, shown: &[Arc<Shown>], warnings: &mut Vec<Warning>) -> Snapshot {
    let mut snapshot = Snapshot {
        format: FORMAT,
        settings: settings(derived, warnings),
        consumers: map(&derived.consumers, |compiled| Some(compiled.consumer.clone())),
        subscriptions: map(&derived.subscriptions, |compiled| compiled.subscription.clone()),
        ..Snapshot::default()
    };
    for listener in &derived.gateways.listeners {
        if let Some(entry) = listener.entry() {
            snapshot.listeners.insert(listener.key(), entry);
        }
    }
    snapshot.routes = shown.iter().flat_map(|shown| &shown.entries).cloned().collect();
    let routes = derived.routes.iter().zip(shown).filter(|(_, shown)| !shown.entries.is_empty());
    let targets: BTreeMap<&Key, &Target> = routes.flat_map(|(route, _)| &route.found.targets).collect();
    let build = |(key, target): (&Key, &Target)| Some((key.clone(), backend::build(derived.world, target)?));
    snapshot.backends = targets.into_iter().filter_map(build).collect();
    used(derived, &mut snapshot);
    derived.overcharged = charges::overcharged(&snapshot);
    snapshot
}

/// Adds what the listeners, routes and subscriptions of `snapshot` refer to.
fn used(derived: &Derived<'_, '_>, snapshot: &mut Snapshot) {
    let certificates: BTreeSet<&Key> = snapshot.listeners.values().flat_map(Listener::certificates).collect();
    let found = certificates
        .into_iter()
        .filter_map(|key| Some((key.clone(), derived.gateways.certificates.get(key)?.clone())));
    snapshot.certificates = found.collect();
    let routes = snapshot.routes.clone();
    let rules = || routes.values().flat_map(|route| &route.rules);
    let contents = &derived.contents;
    snapshot.auth_policies =
        pick(rules().flat_map(|rule| &rule.auth), |key| Some(contents.auth.get(key)?.0.clone()));
    snapshot.rate_limit_policies = pick(rules().flat_map(|rule| &rule.rate_limits), |key| {
        contents.rate_limits.get(key)?.as_ref().ok().cloned()
    });
    snapshot.quota_policies =
        pick(rules().flat_map(|rule| &rule.quotas), |key| contents.quotas.get(key)?.as_ref().ok().cloned());
    snapshot.products =
        pick(rules().flat_map(|rule| &rule.product), |key| Some(derived.products.get(key)?.product.clone()));
    let subscriptions = snapshot.subscriptions.clone();
    snapshot.plans = pick(subscriptions.values().map(|subscription| &subscription.plan), |key| {
        Some(derived.plans.get(key)?.as_ref().ok()?.plan.clone())
    });
}

fn pick<'k, V>(keys: impl Iterator<Item = &'k Key>, value: impl Fn(&Key) -> Option<V>) -> Entries<V> {
    let keys: BTreeSet<&Key> = keys.collect();
    keys.into_iter().filter_map(|key| Some((key.clone(), value(key)?))).collect()
}

fn map<T, V, M: FromIterator<(Key, V)>>(from: &BTreeMap<Key, T>, value: impl Fn(&T) -> Option<V>) -> M {
    from.iter().filter_map(|(key, compiled)| Some((key.clone(), value(compiled)?))).collect()
}

/// Settings of the process: those of the oldest Gateway that has a fleet.
fn settings(derived: &Derived<'_, '_>, warnings: &mut Vec<Warning>) -> Settings {
    let accepted = derived.gateways.list.iter().filter(|gateway| gateway.refused.is_none());
    let mut first: Option<&ObjectName> = None;
    for (gateway, fleet) in accepted.filter_map(|gateway| Some((gateway, gateway.fleet.as_ref()?))) {
        match first {
            None => first = Some(fleet),
            Some(winner) if winner != fleet && derived.world.options.shared_ports() => {
                let message = format!(
                    "GatewayFleet {fleet} is not used: all Gateways share one process here, and an older one has GatewayFleet {winner}"
                );
                warnings.push(Warning { object: ObjectRef::new("Gateway", &gateway.name), message });
            }
            Some(_) => {}
        }
    }
    let mut settings = fleets::of_fleet(derived, first);
    let accepted = derived.gateways.list.iter().filter(|gateway| gateway.refused.is_none());
    derived.telemetry.apply(accepted, &mut settings);
    settings
}

fn catalog(derived: &Derived<'_, '_>) -> Catalog {
    let mut limits = BTreeMap::new();
    let mut add = |limit: &gateway_quota::Limit, source: String| {
        limits.insert(limit.id.to_string(), CatalogLimit { limit: limit.clone(), source });
    };
    for (key, plan) in &derived.plans {
        for limit in plan.iter().flat_map(|plan| &plan.plan.limits) {
            add(limit, format!("Plan {key}"));
        }
    }
    for (key, policy) in &derived.contents.quotas {
        for limit in policy.iter().flat_map(|policy| &policy.limits) {
            add(limit, format!("QuotaPolicy {key}"));
        }
    }
    Catalog {
        format: FORMAT,
        version: String::new(),
        consumers: map(&derived.consumers, |compiled| Some(compiled.catalog.clone())),
        products: map(&derived.products, |compiled| Some(compiled.product.clone())),
        plans: map(&derived.plans, |plan| Some(plan.as_ref().ok()?.prices.clone())),
        subscriptions: map(&derived.subscriptions, |compiled| compiled.subscription.clone()),
        limits,
        alerts: map(&derived.alerts, |compiled| compiled.rule.clone()),
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
