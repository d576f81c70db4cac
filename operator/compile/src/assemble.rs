//! The steps of a compilation, in order, and what each hands to the next.

use std::collections::{BTreeMap, BTreeSet};

use gateway_snapshot::{Catalog, CatalogLimit, FORMAT, Key, Listener, Rule, Settings, Snapshot};

use crate::alert::{CompiledAlert, alerts};
use crate::backend::{self, Target};
use crate::diagnostic::{self, Warning};
use crate::fleets;
use crate::listener::{Classes, Gateways, classes, gateways};
use crate::object::ObjectRef;
use crate::policy::{Contents, PolicyIndex};
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::route::{self, CompiledRoute, RouteView, Uses, kind_name};
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
    pub(crate) routes: Vec<CompiledRoute>,
    pub(crate) consumers: BTreeMap<Key, CompiledConsumer>,
    pub(crate) plans: BTreeMap<Key, Result<CompiledPlan, Problem>>,
    pub(crate) products: BTreeMap<Key, CompiledProduct>,
    pub(crate) subscriptions: BTreeMap<Key, CompiledSubscription>,
    pub(crate) alerts: BTreeMap<Key, CompiledAlert>,
    pub(crate) telemetry: Telemetry,
    /// QuotaPolicies under which some requests would be charged to too many limits.
    pub(crate) overcharged: BTreeMap<Key, String>,
}

/// The whole compilation.
pub(crate) fn assemble(world: &World<'_>) -> Compiled {
    let classes = classes(world);
    let gateways = gateways(world, &classes);
    let contents = Contents::new(world.resources);
    let policies = PolicyIndex::new(world.resources, &contents);
    let plans = plans(world.resources);
    let products = products(world);
    let subscriptions = subscriptions(world, &products, &plans);
    let mut derived = Derived {
        world,
        classes,
        routes: routes(world, &gateways),
        telemetry: telemetry(world, &gateways),
        gateways,
        contents,
        policies,
        uses: Uses::new(),
        consumers: consumers(world.resources),
        plans,
        products,
        subscriptions,
        alerts: alerts(world.resources),
        overcharged: BTreeMap::new(),
    };
    let mut found = Vec::new();
    let mut snapshot = snapshot(&mut derived, &mut found);
    let mut catalog = catalog(&derived);
    version::stamp(&mut snapshot, &mut catalog);
    let fleets = fleets::fleets(&derived, &snapshot);
    warnings::add(&derived, &snapshot, &mut found);
    let mut statuses = statuses::all(&derived);
    let mut unused = unused::unused(world);
    unused.retain(|note| statuses.contains_key(&note.object));
    statuses::tell(&mut statuses, &unused);
    found.extend(unused);
    let diagnostics = diagnostic::collect(world.resources, &statuses, &found);
    Compiled { snapshot, fleets, catalog, statuses, diagnostics }
}

fn routes(world: &World<'_>, gateways: &Gateways) -> Vec<CompiledRoute> {
    let http = world.resources.http_routes.values().map(|route| RouteView::from(&route.value));
    let grpc = world.resources.grpc_routes.values().map(|route| RouteView::from(&route.value));
    let mut routes = http.chain(grpc).map(|view| route::compile(world, gateways, &view)).collect::<Vec<_>>();
    expressions::bound(&mut routes);
    routes
}

fn snapshot(derived: &mut Derived<'_, '_>, warnings: &mut Vec<Warning>) -> Snapshot {
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
    let mut targets: BTreeMap<Key, Target> = BTreeMap::new();
    for route in &derived.routes {
        let entries =
            route::entries(route, &derived.gateways, &derived.policies, &derived.contents, &mut derived.uses);
        if !entries.is_empty() {
            targets.extend(route.found.targets.clone());
        }
        snapshot.routes.extend(entries);
    }
    for (key, target) in &targets {
        if let Some(backend) = backend::build(derived.world, target) {
            snapshot.backends.insert(key.clone(), backend);
        }
    }
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
    let rules: Vec<&Rule> = snapshot.routes.values().flat_map(|route| &route.rules).collect();
    let named = |pick: fn(&Rule) -> Vec<&Key>| -> BTreeSet<Key> {
        rules.iter().flat_map(|rule| pick(rule)).cloned().collect()
    };
    let (auth, rates, quotas, products) = (
        named(|rule| rule.auth.iter().collect()),
        named(|rule| rule.rate_limits.iter().collect()),
        named(|rule| rule.quotas.iter().collect()),
        named(|rule| rule.product.iter().collect()),
    );
    let contents = &derived.contents;
    snapshot.auth_policies = pick(&auth, |key| Some(contents.auth.get(key)?.0.clone()));
    snapshot.rate_limit_policies = pick(&rates, |key| contents.rate_limits.get(key)?.as_ref().ok().cloned());
    snapshot.quota_policies = pick(&quotas, |key| contents.quotas.get(key)?.as_ref().ok().cloned());
    snapshot.products = pick(&products, |key| Some(derived.products.get(key)?.product.clone()));
    let plans: BTreeSet<Key> =
        snapshot.subscriptions.values().map(|subscription| subscription.plan.clone()).collect();
    snapshot.plans = pick(&plans, |key| Some(derived.plans.get(key)?.as_ref().ok()?.plan.clone()));
}

fn pick<V>(keys: &BTreeSet<Key>, value: impl Fn(&Key) -> Option<V>) -> BTreeMap<Key, V> {
    keys.iter().filter_map(|key| Some((key.clone(), value(key)?))).collect()
}

fn map<T, V>(from: &BTreeMap<Key, T>, value: impl Fn(&T) -> Option<V>) -> BTreeMap<Key, V> {
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
        let mut counts = BTreeMap::new();
        for route in self.routes.iter().filter(|route| route.refused.is_none()) {
            let listeners: BTreeSet<usize> =
                route.parents.iter().flat_map(|parent| &parent.listeners).map(|(index, _)| *index).collect();
            for index in listeners {
                *counts.entry(self.gateways.listeners[index].key()).or_default() += 1;
            }
        }
        counts
    }

    /// Gateways through which each backend is reached, by kind and name of the backend object.
    pub(crate) fn gateways_of_backends(&self) -> BTreeMap<(&'static str, ObjectName), BTreeSet<ObjectName>> {
        let mut reached: BTreeMap<(&'static str, ObjectName), BTreeSet<ObjectName>> = BTreeMap::new();
        for route in &self.routes {
            let listeners = route.parents.iter().flat_map(|parent| &parent.listeners);
            let gateways: BTreeSet<ObjectName> =
                listeners.map(|(index, _)| self.gateways.listeners[*index].gateway.clone()).collect();
            for target in &route.found.objects {
                reached.entry(target.clone()).or_default().extend(gateways.iter().cloned());
            }
        }
        reached
    }

    /// `HTTPRoute`, `GRPCRoute`.
    pub(crate) fn object_of(route: &CompiledRoute) -> ObjectRef {
        ObjectRef::new(kind_name(route.kind), &route.name)
    }
}
