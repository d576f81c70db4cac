//! What is compiled of everything but routes and endpoints: it stays while none of that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_snapshot::{Catalog, CatalogLimit, FORMAT, Key, Listener, Snapshot};

use crate::alert::{CompiledAlert, alerts};
use crate::listener::{Certificates, Classes, Gateways, classes, gateways};
use crate::options::Options;
use crate::policy::Contents;
use crate::problem::Problem;
use crate::subscription::{
    CompiledConsumer, CompiledPlan, CompiledProduct, CompiledSubscription, consumers, plans, products,
    subscriptions,
};
use crate::version;
use crate::world::World;

/// Kinds that nothing here looks at.
const OTHERS: [&str; 3] = ["HTTPRoute", "GRPCRoute", "EndpointSlice"];

/// Empty at first.
#[derive(Debug, Default)]
pub(crate) struct Basis {
    /// What it was compiled from: the digest of all objects, and the options.
    from: Option<(u128, Options)>,
    pub(crate) classes: Classes,
    pub(crate) gateways: Gateways,
    pub(crate) contents: Contents,
    pub(crate) consumers: BTreeMap<Key, CompiledConsumer>,
    pub(crate) plans: BTreeMap<Key, Result<CompiledPlan, Problem>>,
    pub(crate) products: BTreeMap<Key, CompiledProduct>,
    pub(crate) subscriptions: BTreeMap<Key, CompiledSubscription>,
    pub(crate) alerts: BTreeMap<Key, CompiledAlert>,
    /// Listeners, certificates, consumers, subscriptions and plans.
    pub(crate) snapshot: Snapshot,
    pub(crate) catalog: Arc<Catalog>,
}

impl Basis {
    /// Makes it that of `world`; whether it is another one than before.
    pub(crate) fn renew(&mut self, world: &World<'_>) -> bool {
        let from = Some((world.digest(|kind| !OTHERS.contains(&kind)), world.options.timeless()));
        if self.from == from {
            return false;
        }
        let before = std::mem::take(self);
        let classes = classes(world);
        let certificates: Certificates = before.gateways.certificates;
        let gateways = gateways(world, &classes, certificates.again());
        let plans = plans(world.resources);
        let products = products(world);
        *self = Self {
            from,
            subscriptions: subscriptions(world, &products, &plans),
            consumers: consumers(world.resources),
            contents: Contents::new(world.resources),
            alerts: alerts(world.resources),
            classes,
            gateways,
            plans,
            products,
            ..Self::default()
        };
        self.snapshot = self.entries();
        self.snapshot.adopt(&before.snapshot);
        let mut catalog = self.catalog();
        version::stamp_catalog(&mut catalog);
        self.catalog =
            if catalog.version == before.catalog.version { before.catalog } else { catalog.into() };
        true
    }

    fn entries(&self) -> Snapshot {
        let servable = self.gateways.listeners.iter();
        let mut snapshot = Snapshot {
            format: FORMAT,
            listeners: servable.filter_map(|listener| Some((listener.key(), listener.entry()?))).collect(),
            consumers: map(&self.consumers, |compiled| Some(compiled.consumer.clone())),
            subscriptions: map(&self.subscriptions, |compiled| compiled.subscription.clone()),
            ..Snapshot::default()
        };
        let certificates: BTreeSet<&Key> =
            snapshot.listeners.values().flat_map(Listener::certificates).collect();
        let found = |key: &Key| Some((key.clone(), self.gateways.certificates.get(key)?.clone()));
        snapshot.certificates = certificates.into_iter().filter_map(found).collect();
        let plans: BTreeSet<&Key> = snapshot.subscriptions.values().map(|entry| &entry.plan).collect();
        let found = |key: &Key| Some((key.clone(), self.plans.get(key)?.as_ref().ok()?.plan.clone()));
        snapshot.plans = plans.into_iter().filter_map(found).collect();
        snapshot
    }

    fn catalog(&self) -> Catalog {
        let mut limits = BTreeMap::new();
        let mut add = |limit: &gateway_quota::Limit, source: String| {
            limits.insert(limit.id.to_string(), CatalogLimit { limit: limit.clone(), source });
        };
        for (key, plan) in &self.plans {
            for limit in plan.iter().flat_map(|plan| &plan.plan.limits) {
                add(limit, format!("Plan {key}"));
            }
        }
        for (key, policy) in &self.contents.quotas {
            for limit in policy.iter().flat_map(|policy| &policy.limits) {
                add(limit, format!("QuotaPolicy {key}"));
            }
        }
        Catalog {
            format: FORMAT,
            version: String::new(),
            consumers: map(&self.consumers, |compiled| Some(compiled.catalog.clone())),
            products: map(&self.products, |compiled| Some(compiled.product.clone())),
            plans: map(&self.plans, |plan| Some(plan.as_ref().ok()?.prices.clone())),
            subscriptions: map(&self.subscriptions, |compiled| compiled.subscription.clone()),
            limits,
            alerts: map(&self.alerts, |compiled| compiled.rule.clone()),
        }
    }
}

fn map<T, V, M: FromIterator<(Key, V)>>(from: &BTreeMap<Key, T>, value: impl Fn(&T) -> Option<V>) -> M {
    from.iter().filter_map(|(key, compiled)| Some((key.clone(), value(compiled)?))).collect()
}
