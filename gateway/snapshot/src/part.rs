//! The part of a snapshot that the processes of some Gateways serve: their listeners, the routes attached to them, and what
//! these use. Nobody is given another Gateway's certificates, routes or callers.

use std::collections::BTreeSet;

use crate::{Entries, Listener, Route, Settings, Shared, Snapshot, Used};

/// A part that is made again and again, in time that depends on what changed.
#[derive(Debug, Default)]
pub struct Part {
    /// What it was made of last.
    whole: Snapshot,
    /// What it was then.
    last: Snapshot,
    used: Used,
}

impl Part {
    /// What `gateways` (`namespace/name` each) serve of `whole`, with `settings` and without a version.
    pub fn of(&mut self, whole: &Snapshot, gateways: &BTreeSet<String>, settings: Settings) -> Snapshot {
        let listeners = whole.listeners.only(|_, listener| gateways.contains(&listener.gateway));
        if listeners != self.last.listeners {
            *self = Self::default();
        }
        let before = &self.last;
        let mut routes = before.routes.clone();
        self.whole.routes.compare(&whole.routes, |key, _, is| {
            match is.and_then(|route| served(route, &listeners)) {
                Some(route) => routes.insert(key.clone(), route),
                None => routes.remove(key),
            }
        });
        let others = self.used.follow(&before.routes, &routes);
        let used = &self.used;
        let part = Snapshot {
            format: whole.format,
            version: String::new(),
            settings,
            certificates: {
                let shown: BTreeSet<&String> = listeners.values().flat_map(Listener::certificates).collect();
                whole.certificates.only(|key, _| shown.contains(key))
            },
            backends: again((&self.whole.backends, &before.backends), &whole.backends, others, |key, _| {
                used.backends.has(key)
            }),
            auth_policies: whole.auth_policies.only(|key, _| used.auth_policies.has(key)),
            rate_limit_policies: whole.rate_limit_policies.only(|key, _| used.rate_limit_policies.has(key)),
            quota_policies: whole.quota_policies.only(|key, _| used.quota_policies.has(key)),
            products: whole.products.only(|key, _| used.products.has(key)),
            subscriptions: again(
                (&self.whole.subscriptions, &before.subscriptions),
                &whole.subscriptions,
                others,
                |_, entry| used.products.has(&entry.product),
            ),
            ..Snapshot::default()
        };
        let plans: BTreeSet<&String> = part.subscriptions.values().map(|entry| &entry.plan).collect();
        let plans = whole.plans.only(|key, _| plans.contains(key));
        let callers = !part.auth_policies.is_empty() || !part.subscriptions.is_empty();
        let consumers = if callers { whole.consumers.clone() } else { Entries::default() };
        self.last = Snapshot { listeners, routes, plans, consumers, ..part };
        self.whole = whole.clone();
        self.last.clone()
    }
}

/// What is there of a route for those who serve `listeners`.
fn served(route: &Shared<Route>, listeners: &Entries<Listener>) -> Option<Shared<Route>> {
    let mut route = route.clone();
    let ours = |listener: &str| listeners.contains_key(listener);
    if !route.attachments.iter().all(|attachment| ours(&attachment.listener)) {
        route.attachments.retain(|attachment| ours(&attachment.listener));
    }
    (!route.attachments.is_empty()).then_some(route)
}

/// Those of `now` that are to be kept, which are those of last time when nothing differs.
fn again<V>(
    (whole, part): (&Entries<V>, &Entries<V>),
    now: &Entries<V>,
    others: bool,
    keep: impl Fn(&String, &V) -> bool,
) -> Entries<V> {
    if !others && whole.is_shared(now) { part.clone() } else { now.only(keep) }
}

#[cfg(test)]
mod tests;
