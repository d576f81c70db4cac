//! The part of a snapshot that the processes of one Gateway serve: its listeners, the routes attached to them, and what
//! these use. Nobody is given another Gateway's certificates, routes or callers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BackendRef, Filter, Key, Listener, Route, Rule, Settings, Snapshot};

impl Snapshot {
    /// What the Gateway `gateway` (`namespace/name`) serves, with `settings` and without a version.
    #[must_use]
    pub fn part(&self, gateway: &str, settings: Settings) -> Self {
        let listeners = only(&self.listeners, |_, listener| listener.gateway == gateway);
        let attached = |route: &Route| -> Option<Route> {
            let mut route = route.clone();
            route.attachments.retain(|attachment| listeners.contains_key(&attachment.listener));
            (!route.attachments.is_empty()).then_some(route)
        };
        let routes: BTreeMap<Key, Route> =
            self.routes.iter().filter_map(|(key, route)| Some((key.clone(), attached(route)?))).collect();
        let certificates: BTreeSet<&Key> = listeners.values().flat_map(Listener::certificates).collect();
        let used = Used::by(&routes);
        let subscriptions = only(&self.subscriptions, |_, entry| used.products.contains(&entry.product));
        let plans: BTreeSet<&Key> = subscriptions.values().map(|entry| &entry.plan).collect();
        let callers = !used.auth.is_empty() || !subscriptions.is_empty();
        Self {
            format: self.format,
            version: String::new(),
            settings,
            certificates: only(&self.certificates, |key, _| certificates.contains(key)),
            backends: only(&self.backends, |key, _| used.backends.contains(key)),
            auth_policies: only(&self.auth_policies, |key, _| used.auth.contains(key)),
            rate_limit_policies: only(&self.rate_limit_policies, |key, _| used.rates.contains(key)),
            quota_policies: only(&self.quota_policies, |key, _| used.quotas.contains(key)),
            products: only(&self.products, |key, _| used.products.contains(key)),
            plans: only(&self.plans, |key, _| plans.contains(key)),
            consumers: only(&self.consumers, |_, _| callers),
            subscriptions,
            listeners,
            routes,
        }
    }
}

fn only<V: Clone>(from: &BTreeMap<Key, V>, keep: impl Fn(&Key, &V) -> bool) -> BTreeMap<Key, V> {
    from.iter()
        .filter(|(key, value)| keep(key, value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Keys that rules refer to.
#[derive(Default)]
struct Used<'a> {
    backends: BTreeSet<&'a Key>,
    auth: BTreeSet<&'a Key>,
    rates: BTreeSet<&'a Key>,
    quotas: BTreeSet<&'a Key>,
    products: BTreeSet<&'a Key>,
}

impl<'a> Used<'a> {
    fn by(routes: &'a BTreeMap<Key, Route>) -> Self {
        let mut used = Self::default();
        routes.values().flat_map(|route| &route.rules).for_each(|rule| used.add(rule));
        used
    }

    fn add(&mut self, rule: &'a Rule) {
        self.auth.extend(&rule.auth);
        self.rates.extend(&rule.rate_limits);
        self.quotas.extend(&rule.quotas);
        self.products.extend(&rule.product);
        let filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|choice| &choice.filters));
        let mirrors = filters.filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(&mirror.backend),
            _ => None,
        });
        for backend in rule.backends.iter().map(|choice| &choice.backend).chain(mirrors) {
            if let BackendRef::To(key) = backend {
                self.backends.insert(key);
            }
        }
    }
}
