//! How many limits one request can be charged to, where plans and QuotaPolicies meet.
//!
//! Each by itself has few enough; only a rule with a product and a QuotaPolicy adds them up. Gateways refuse such
//! requests (500), because a record cannot account for them; nothing is let through uncounted.

use std::collections::{BTreeMap, BTreeSet};

use gateway_snapshot::{Key, Route, Rule, Snapshot};

use crate::policy::MAX_CHARGED;

/// QuotaPolicies under which the requests of some subscribers are refused, and why.
pub(crate) fn overcharged(snapshot: &Snapshot) -> BTreeMap<Key, String> {
    let mut plans: BTreeMap<&Key, BTreeSet<&Key>> = BTreeMap::new();
    for subscription in snapshot.subscriptions.values() {
        plans.entry(&subscription.product).or_default().insert(&subscription.plan);
    }
    let mut found = BTreeMap::new();
    for route in snapshot.routes.values() {
        for (index, rule) in route.rules.iter().enumerate() {
            for plan in rule.product.iter().filter_map(|product| plans.get(product)).flatten() {
                if let Some((policy, message)) = of_rule(snapshot, route, (index, rule), plan) {
                    found.entry(policy).or_insert(message);
                }
            }
        }
    }
    found
}

fn of_rule(
    snapshot: &Snapshot,
    route: &Route,
    (index, rule): (usize, &Rule),
    plan: &Key,
) -> Option<(Key, String)> {
    let policies = rule.quotas.iter().filter_map(|key| snapshot.quota_policies.get(key));
    let count =
        snapshot.plans.get(plan)?.limits.len() + policies.map(|policy| policy.limits.len()).sum::<usize>();
    let policy = rule.quotas.first().filter(|_| count > MAX_CHARGED)?;
    let rule = rule.name.clone().unwrap_or_else(|| index.to_string());
    let message = format!(
        "route {} rule {rule}: a request under Plan {plan} would be charged to {count} limits, and {MAX_CHARGED} is the most, so that it is refused with 500; take limits out of this policy, or attach it elsewhere",
        route.name
    );
    Some((policy.clone(), message))
}
