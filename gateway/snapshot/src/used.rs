//! What routes refer to, counted, so that a change of one route needs no look at the others.

use std::collections::BTreeMap;

use crate::{BackendRef, Entries, Filter, Key, Route, Rule};

/// How often each entry is referred to.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<Key, usize>);

/// Entries that rules refer to, by kind.
#[derive(Debug, Default)]
pub struct Used {
    /// Backends, of mirrors too.
    pub backends: Counts,
    /// AuthPolicies.
    pub auth_policies: Counts,
    /// RateLimitPolicies.
    pub rate_limit_policies: Counts,
    /// QuotaPolicies.
    pub quota_policies: Counts,
    /// ApiProducts.
    pub products: Counts,
}

impl Counts {
    /// Whether something refers to it.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All that something refers to, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    /// How many different ones something refers to.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is referred to.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One reference more; whether it is the first.
    pub fn add(&mut self, key: &str) -> bool {
        if let Some(count) = self.0.get_mut(key) {
            *count += 1;
            return false;
        }
        self.0.insert(key.to_owned(), 1).is_none()
    }

    /// One reference less; whether it was the last.
    pub fn take(&mut self, key: &str) -> bool {
        let count = self.0.get_mut(key).map_or(0, |count| {
            *count -= 1;
            *count
        });
        count == 0 && self.0.remove(key).is_some()
    }
}

impl Used {
    /// Counts the routes of `to` instead of those of `from`; whether others are referred to than before.
    pub fn follow(&mut self, from: &Entries<Route>, to: &Entries<Route>) -> bool {
        let mut others = false;
        from.compare(to, |_, was, is| {
            // What is referred to as before is never without a reference meanwhile.
            for rule in is.iter().flat_map(|route| &route.rules) {
                self.each(rule, &mut |counts, key| others |= counts.add(key));
            }
            for rule in was.iter().flat_map(|route| &route.rules) {
                self.each(rule, &mut |counts, key| others |= counts.take(key));
            }
        });
        others
    }

    fn each(&mut self, rule: &Rule, visit: &mut impl FnMut(&mut Counts, &Key)) {
        rule.auth.iter().for_each(|key| visit(&mut self.auth_policies, key));
        rule.rate_limits.iter().for_each(|key| visit(&mut self.rate_limit_policies, key));
        rule.quotas.iter().for_each(|key| visit(&mut self.quota_policies, key));
        rule.product.iter().for_each(|key| visit(&mut self.products, key));
        let filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|choice| &choice.filters));
        let mirrors = filters.filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(&mirror.backend),
            _ => None,
        });
        for backend in rule.backends.iter().map(|choice| &choice.backend).chain(mirrors) {
            if let BackendRef::To(key) = backend {
                visit(&mut self.backends, key);
            }
        }
    }
}
