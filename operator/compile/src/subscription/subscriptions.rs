//! Subscriptions: consumer × product × plan.

use std::collections::BTreeMap;

use crds::conditions::Reason;
use crds::subscription::State;
use gateway_snapshot::{Key, Subscription, SubscriptionState};

use super::product::find;
use super::{CompiledPlan, CompiledProduct, seconds};
use crate::field::SPEC;
use crate::order;
use crate::problem::Problem;
use crate::status::Condition;
use crate::world::World;

/// Active subscriptions by consumer and product: key, and from when to when it is valid.
type Active = BTreeMap<(Key, Key), Vec<(Key, i64, i64)>>;

/// A subscription with what is wrong with it.
#[derive(Debug)]
pub(crate) struct CompiledSubscription {
    /// `None` when it cannot be used.
    pub(crate) subscription: Option<Subscription>,
    pub(crate) conditions: Vec<Condition>,
}

/// Every subscription by `namespace/name`.
pub(crate) fn subscriptions(
    world: &World<'_>,
    products: &BTreeMap<Key, CompiledProduct>,
    plans: &BTreeMap<Key, Result<CompiledPlan, Problem>>,
) -> BTreeMap<Key, CompiledSubscription> {
    let mut sorted: Vec<_> = world.resources.subscriptions.values().collect();
    sorted.sort_by_key(|subscription| order::age(&subscription.metadata));
    let mut active = Active::new();
    let mut all = BTreeMap::new();
    for raw in sorted {
        let key = order::key(&raw.metadata);
        let mut unresolved = Vec::new();
        let subscription = sides(world, raw, plans, &mut unresolved);
        let refused = match &subscription {
            None => None,
            Some(subscription) => check(raw, subscription, products, &mut active, &key).err(),
        };
        let conditions =
            vec![Condition::accepted_unless(refused.as_ref()), Condition::resolved_refs(&unresolved)];
        let subscription = subscription.filter(|_| refused.is_none());
        all.insert(key, CompiledSubscription { subscription, conditions });
    }
    all
}

fn sides(
    world: &World<'_>,
    raw: &crds::Subscription,
    plans: &BTreeMap<Key, Result<CompiledPlan, Problem>>,
    unresolved: &mut Vec<Problem>,
) -> Option<Subscription> {
    let namespace = raw.metadata.namespace.as_deref().unwrap_or_default();
    let spec = &raw.spec;
    let mut side = |kind, field: &'static str, reference| {
        find(world, ("Subscription", namespace), kind, reference)
            .map_err(|(reason, what)| unresolved.push(Problem::at(reason, &SPEC.key(field), what)))
            .ok()
            .map(|name| name.to_string())
    };
    let consumer = side("Consumer", "consumerRef", &spec.consumer_ref);
    let product = side("ApiProduct", "productRef", &spec.product_ref);
    let plan = side("Plan", "planRef", &spec.plan_ref);
    if let Some(Err(problem)) = plan.as_ref().and_then(|plan| plans.get(plan)) {
        let message =
            format!("Plan {} is not valid: {}", plan.as_deref().unwrap_or_default(), problem.message);
        unresolved.push(Problem::invalid(&SPEC.key("planRef"), message));
        return None;
    }
    Some(Subscription {
        consumer: consumer?,
        product: product?,
        plan: plan?,
        state: match spec.state {
            State::Active => SubscriptionState::Active,
            State::Pending => SubscriptionState::Pending,
            State::Suspended => SubscriptionState::Suspended,
        },
        not_before: seconds(spec.not_before.as_ref()),
        not_after: seconds(spec.not_after.as_ref()),
    })
}

fn check(
    raw: &crds::Subscription,
    subscription: &Subscription,
    products: &BTreeMap<Key, CompiledProduct>,
    active: &mut Active,
    key: &Key,
) -> Result<(), Problem> {
    if let (Some(from), Some(until)) = (subscription.not_before, subscription.not_after)
        && until <= from
    {
        return Err(Problem::invalid(
            &SPEC.key("notAfter"),
            "is not later than notBefore; correct one of the two",
        ));
    }
    let offer = products.get(&subscription.product).and_then(|product| product.offer.as_ref());
    if let Some(offer) = offer.filter(|offer| !offer.contains(&subscription.plan)) {
        let offered: Vec<&str> = offer.iter().map(String::as_str).collect();
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        let message = format!(
            "ApiProduct {} does not offer Plan {}; it offers {offered}",
            subscription.product, subscription.plan
        );
        return Err(Problem::at(Reason::PlanNotOffered, &SPEC.key("planRef"), message));
    }
    if raw.spec.state != State::Active {
        return Ok(());
    }
    // One may follow another, as in a renewal; at any one time there is one.
    let (from, until) =
        (subscription.not_before.unwrap_or(i64::MIN), subscription.not_after.unwrap_or(i64::MAX));
    let pair = (subscription.consumer.clone(), subscription.product.clone());
    let others = active.entry(pair).or_default();
    if let Some((other, ..)) = others.iter().find(|(_, start, end)| from < *end && *start < until) {
        let message = format!(
            "Subscription {other} ties Consumer {} to ApiProduct {} at the same time; delete one of the two, set its state to Suspended, or let one end before the other begins",
            subscription.consumer, subscription.product
        );
        return Err(Problem::at(Reason::DuplicateSubscription, &SPEC.key("consumerRef"), message));
    }
    others.push((key.clone(), from, until));
    Ok(())
}
