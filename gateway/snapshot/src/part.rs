//! The part of a snapshot that the processes of one Gateway serve: its listeners, the routes attached to them, and what
//! these use. Nobody is given another Gateway's certificates, routes or callers.

use std::collections::BTreeSet;

use crate::{Attachment, BackendRef, Entries, Filter, Key, Listener, Route, Rule, Settings, Snapshot};

impl Snapshot {
    /// What `gateways` (`namespace/name` each) serve, with `settings` and without a version.
    #[must_use]
    pub fn part(&self, gateways: &BTreeSet<String>, settings: Settings) -> Self {
        let listeners = self.listeners.only(|_, listener| gateways.contains(&listener.gateway));
        let served = |attachment: &Attachment| listeners.contains_key(&attachment.listener);
        let routes = self.routes.only_shared(|_, route| {
            let mut route = route.clone();
            if !route.attachments.iter().all(served) {
                route.attachments.retain(served);
            }
            (!route.attachments.is_empty()).then_some(route)
        });
        let certificates: BTreeSet<&Key> = listeners.values().flat_map(Listener::certificates).collect();
        let used = Used::by(&routes);
        let subscriptions = self.subscriptions.only(|_, entry| used.products.contains(&entry.product));
        let plans: BTreeSet<&Key> = subscriptions.values().map(|entry| &entry.plan).collect();
        let callers = !used.auth.is_empty() || !subscriptions.is_empty();
        Self {
            format: self.format,
            version: String::new(),
            settings,
            certificates: self.certificates.only(|key, _| certificates.contains(key)),
            backends: self.backends.only(|key, _| used.backends.contains(key)),
            auth_policies: self.auth_policies.only(|key, _| used.auth.contains(key)),
            rate_limit_policies: self.rate_limit_policies.only(|key, _| used.rates.contains(key)),
            quota_policies: self.quota_policies.only(|key, _| used.quotas.contains(key)),
            products: self.products.only(|key, _| used.products.contains(key)),
            plans: self.plans.only(|key, _| plans.contains(key)),
            consumers: self.consumers.only(|_, _| callers),
            subscriptions,
            listeners,
            routes,
        }
    }
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
    fn by(routes: &'a Entries<Route>) -> Self {
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
