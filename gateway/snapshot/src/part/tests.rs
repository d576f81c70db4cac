//! A part that is made again and again is what it would be if it were made at once.

use proptest::prelude::*;

use super::*;
use crate::diff::tests::snapshot;
use crate::{BackendRef, Key};

/// A snapshot of which routes are attached to listeners, and refer to policies and products, that may be there.
fn whole() -> impl Strategy<Value = Snapshot> {
    snapshot().prop_map(|mut snapshot| {
        for route in snapshot.routes.values_mut() {
            route.attachments[0].listener.clone_from(&route.name);
            let rule = &mut route.rules[0];
            (rule.auth, rule.product) = (Some(route.name.clone()), Some(route.name.clone()));
        }
        snapshot
    })
}

/// By definition, with a look at everything.
fn naive(whole: &Snapshot, gateways: &BTreeSet<String>) -> Snapshot {
    let listeners = whole.listeners.only(|_, listener| gateways.contains(&listener.gateway));
    let routes = whole.routes.only(|_, route| listeners.contains_key(&route.attachments[0].listener));
    let rules = || routes.values().flat_map(|route| &route.rules);
    let auth: BTreeSet<&Key> = rules().flat_map(|rule| &rule.auth).collect();
    let products: BTreeSet<&Key> = rules().flat_map(|rule| &rule.product).collect();
    let backends = rules().flat_map(|rule| &rule.backends).filter_map(|choice| match &choice.backend {
        BackendRef::To(key) => Some(key),
        BackendRef::Invalid(_) => None,
    });
    let backends: BTreeSet<&Key> = backends.collect();
    let auth_policies = whole.auth_policies.only(|key, _| auth.contains(key));
    let subscriptions = whole.subscriptions.only(|_, entry| products.contains(&entry.product));
    let callers = !auth_policies.is_empty() || !subscriptions.is_empty();
    Snapshot {
        format: whole.format,
        settings: whole.settings.clone(),
        backends: whole.backends.only(|key, _| backends.contains(key)),
        products: whole.products.only(|key, _| products.contains(key)),
        consumers: whole.consumers.only(|_, _| callers),
        listeners: listeners.clone(),
        routes: routes.clone(),
        auth_policies,
        subscriptions,
        ..Snapshot::default()
    }
}

proptest! {
    #[test]
    fn what_was_made_before_shows_in_no_part(
        mut wholes in proptest::collection::vec(whole(), 1..5),
        gateways in proptest::collection::btree_set("[ab]/[a-d]", 0..6),
        changed in any::<prop::sample::Index>(),
    ) {
        // Most changes are of one route.
        let mut like_the_last = wholes[wholes.len() - 1].clone();
        if let Some(route) = like_the_last.routes.values_mut().nth(changed.index(5)) {
            route.created += 1;
            route.rules[0].product = None;
        }
        wholes.push(like_the_last);
        let mut part = Part::default();
        for whole in &wholes {
            let made = part.of(whole, &gateways, whole.settings.clone());
            prop_assert_eq!(&made, &naive(whole, &gateways));
        }
    }
}
