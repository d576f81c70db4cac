//! A compiled route and the policies in force for it → entries of the snapshot.
//!
//! Policies on listeners and Gateways can make a route mean different things on different listeners. Then it has an
//! entry for each meaning: the first under the route's own key, the others with their listener's key behind it.

use std::collections::BTreeMap;

use gateway_snapshot::{Attachment, BackendChoice, BackendRef, Hostname, Key, Route, Rule};

use super::{CheckedRule, CompiledRoute, kind_name};
use crate::listener::{CompiledListener, Gateways};
use crate::policy::{Contents, PolicyIndex, PolicyKind, Scope};

/// What a policy does for the rules in its reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// In force for at least one rule.
    pub(crate) enforced: bool,
    /// A more specific policy that replaces it somewhere.
    pub(crate) overridden_by: Option<Key>,
}

/// By kind and `namespace/name`.
pub(crate) type Uses = BTreeMap<(PolicyKind, Key), Use>;

/// Policies of one rule, in the order of [`PolicyKind::ALL`].
type InForce = [Option<Key>; 4];

/// The entries of `route` by key; what its policies do is added to `uses`.
pub(crate) fn entries(
    route: &CompiledRoute,
    gateways: &Gateways,
    index: &PolicyIndex,
    contents: &Contents,
    uses: &mut Uses,
) -> Vec<(Key, Route)> {
    if route.refused.is_some() {
        return Vec::new();
    }
    let mut groups: BTreeMap<Vec<InForce>, Vec<Attachment>> = BTreeMap::new();
    for (listener, hostnames) in attachments(route, gateways) {
        let meaning = route.rules.iter().map(|rule| in_force(route, rule, listener, index, uses)).collect();
        groups.entry(meaning).or_default().push(Attachment { listener: listener.key(), hostnames });
    }
    let mut sorted: Vec<(Vec<InForce>, Vec<Attachment>)> = groups.into_iter().collect();
    sorted.sort_by(|left, right| first_listener(&left.1).cmp(first_listener(&right.1)));
    let base = route.key();
    sorted
        .into_iter()
        .enumerate()
        .map(|(number, (meaning, attachments))| {
            let key =
                if number == 0 { base.clone() } else { format!("{base}/{}", first_listener(&attachments)) };
            let rules = route.rules.iter().zip(meaning);
            let entry = Route {
                kind: route.kind,
                name: route.name.to_string(),
                created: route.created,
                attachments,
                rules: rules.map(|(checked, policies)| rule(checked, policies, contents)).collect(),
            };
            (key, entry)
        })
        .collect()
}

fn first_listener(attachments: &[Attachment]) -> &str {
    attachments.first().map_or("", |attachment| attachment.listener.as_str())
}

/// Listeners that serve the route, each once, by key.
fn attachments<'a>(
    route: &CompiledRoute,
    gateways: &'a Gateways,
) -> Vec<(&'a CompiledListener, Vec<Hostname>)> {
    let mut by_listener: BTreeMap<Key, (&CompiledListener, Vec<Hostname>)> = BTreeMap::new();
    for (index, hostnames) in route.parents.iter().flat_map(|parent| &parent.listeners) {
        let listener = &gateways.listeners[*index];
        if listener.is_servable() {
            by_listener.entry(listener.key()).or_insert_with(|| (listener, hostnames.clone()));
        }
    }
    by_listener.into_values().collect()
}

fn in_force(
    route: &CompiledRoute,
    checked: &CheckedRule,
    listener: &CompiledListener,
    index: &PolicyIndex,
    uses: &mut Uses,
) -> InForce {
    let scope = Scope {
        kind: kind_name(route.kind),
        route: &route.name,
        rule: checked.rule.name.as_deref(),
        gateway: &listener.gateway,
        // A listener of a ListenerSet is no section of the Gateway.
        listener: listener.set.as_ref().map_or(listener.name.as_str(), |_| ""),
    };
    PolicyKind::ALL.map(|kind| {
        let named = checked.extensions.iter().filter(|(other, _)| *other == kind).map(|(_, key)| key);
        let mut first: Option<&Key> = None;
        for key in named.chain(index.chain(kind, &scope)) {
            let entry = uses.entry((kind, key.clone())).or_default();
            match first {
                None => {
                    entry.enforced = true;
                    first = Some(key);
                }
                Some(winner) if winner != key => entry.overridden_by = Some(winner.clone()),
                Some(_) => {}
            }
        }
        first.cloned()
    })
}

fn rule(checked: &CheckedRule, policies: InForce, contents: &Contents) -> Rule {
    let [auth, rate_limit, quota, product] = policies;
    // Only an extension filter can name a broken one: attached ones are left out before.
    let broken = |kind: &str, key: &Key| format!("{kind} {key} is not valid");
    let rate_broken = rate_limit
        .as_ref()
        .filter(|key| contents.rate_limits.get(*key).is_none_or(Result::is_err))
        .map(|key| broken("RateLimitPolicy", key));
    let quota_broken = quota
        .as_ref()
        .filter(|key| contents.quotas.get(*key).is_none_or(Result::is_err))
        .map(|key| broken("QuotaPolicy", key));
    let mut rule = Rule { auth, product, ..checked.rule.clone() };
    if let Some(message) = rate_broken.or(quota_broken) {
        let backend = BackendRef::Invalid(message);
        rule.filters.clear();
        rule.backends = vec![BackendChoice { backend, weight: 1, filters: vec![] }];
    } else {
        rule.rate_limits = rate_limit.into_iter().collect();
        rule.quotas = quota.into_iter().collect();
    }
    rule
}
