//! Who calls, compiled: consumers by key hash, subscriptions by consumer and product.
//!
//! In: the consumers, products, plans and subscriptions of a snapshot. Out: tables with one hash probe per
//! question, however many consumers there are. A key that two consumers claim belongs to the first by name:
//! the compiler reports it, and a mistake of the second must not lock the first out.

use std::sync::{Arc, OnceLock};

use analytics_record::NameId;
use gateway_snapshot::{Credential, Stage, SubscriptionState};
use hashbrown::HashMap;

use crate::credential::KeyHash;
use crate::prepare::Context;
use crate::terms::{Accounts, Terms};

pub(crate) struct Callers {
    pub(crate) consumers: Vec<Consumer>,
    keys: HashMap<KeyHash, Key>,
    pub(crate) products: Vec<Product>,
    pub(crate) plans: Vec<Plan>,
    /// Sorted by key.
    pub(crate) subscriptions: Vec<Subscription>,
    /// (consumer, product) to a range of `candidates`.
    pairs: HashMap<(u32, u32), (u32, u32)>,
    candidates: Vec<u32>,
}

pub(crate) struct Consumer {
    pub(crate) key: Box<str>,
    pub(crate) name: NameId,
    /// Ids from [`Groups`].
    pub(crate) groups: Box<[u32]>,
    pub(crate) disabled: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) consumer: u32,
    /// Seconds since 1970; never: the greatest.
    pub(crate) not_after: i64,
}

pub(crate) struct Product {
    pub(crate) key: Box<str>,
    pub(crate) name: NameId,
    pub(crate) stage: Stage,
    pub(crate) subscription_required: bool,
    /// Value of `Deprecation` (RFC 9745).
    pub(crate) deprecation: Option<Box<str>>,
    /// Value of `Sunset` (RFC 8594).
    pub(crate) sunset: Option<Box<str>>,
}

pub(crate) struct Plan {
    pub(crate) key: Box<str>,
    pub(crate) name: NameId,
    pub(crate) terms: Terms,
}

pub(crate) struct Subscription {
    pub(crate) key: Box<str>,
    pub(crate) name: NameId,
    pub(crate) plan: u32,
    pub(crate) state: SubscriptionState,
    not_before: i64,
    not_after: i64,
    accounts: OnceLock<Arc<Accounts>>,
}

/// What a subscription is good for right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Usable,
    Pending,
    Suspended,
    NotYet,
    Expired,
}

/// Names of groups as numbers.
#[derive(Default)]
pub(crate) struct Groups(HashMap<Box<str>, u32>);

impl Groups {
    pub(crate) fn ids(&mut self, names: &[String]) -> Box<[u32]> {
        let mut id = |name: &String| {
            let next = self.0.len() as u32;
            *self.0.entry(name.as_str().into()).or_insert(next)
        };
        names.iter().map(&mut id).collect()
    }
}

impl Callers {
    pub(crate) fn new(context: &mut Context<'_>, groups: &mut Groups, previous: Option<&Self>) -> Self {
        let (consumers, keys) = consumers(context, groups);
        let products: Vec<Product> = products(context);
        let plans: Vec<Plan> = plans(context);
        let mut callers = Self {
            consumers,
            keys,
            products,
            plans,
            subscriptions: Vec::new(),
            pairs: HashMap::new(),
            candidates: Vec::new(),
        };
        callers.subscribe(context, previous);
        callers
    }

    fn subscribe(&mut self, context: &mut Context<'_>, previous: Option<&Self>) {
        let snapshot = context.snapshot;
        let consumers = positions(snapshot.consumers.keys());
        let products = positions(snapshot.products.keys());
        let plans = positions(snapshot.plans.keys());
        let mut pairs = Vec::with_capacity(snapshot.subscriptions.len());
        for (key, found) in &snapshot.subscriptions {
            // `lint` has checked the plan and the consumer.
            let plan = plans[found.plan.as_str()];
            let index = self.subscriptions.len() as u32;
            let subscription = Subscription {
                key: key.as_str().into(),
                name: context.name(key),
                plan,
                state: found.state,
                not_before: found.not_before.unwrap_or(i64::MIN),
                not_after: found.not_after.unwrap_or(i64::MAX),
                accounts: OnceLock::new(),
            };
            self.carry(&subscription, previous);
            self.subscriptions.push(subscription);
            if let Some(product) = products.get(found.product.as_str()) {
                let inactive = found.state != SubscriptionState::Active;
                pairs.push((consumers[found.consumer.as_str()], *product, inactive, index));
            }
        }
        // Active ones first, then by name.
        pairs.sort_unstable();
        for run in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let start = self.candidates.len() as u32;
            self.candidates.extend(run.iter().map(|pair| pair.3));
            self.pairs.insert((run[0].0, run[0].1), (start, run.len() as u32));
        }
    }

    /// Keeps the buckets and slots that the subscription had before the reload.
    fn carry(&self, subscription: &Subscription, previous: Option<&Self>) {
        let before = previous.and_then(|previous| {
            let at =
                previous.subscriptions.binary_search_by(|other| other.key.cmp(&subscription.key)).ok()?;
            let old = &previous.subscriptions[at];
            Some((&previous.plans[old.plan as usize].terms, old.accounts.get()?))
        });
        if let Some((terms, accounts)) = before {
            let new_terms = &self.plans[subscription.plan as usize].terms;
            let carried = Accounts::new(new_terms, &subscription.key, Some((terms, accounts)));
            let _ = subscription.accounts.set(Arc::new(carried));
        }
    }

    /// Who a key belongs to.
    pub(crate) fn by_key(&self, hash: &KeyHash) -> Option<Key> {
        self.keys.get(hash).copied()
    }

    /// The consumer's subscriptions to the product, active ones first.
    pub(crate) fn subscriptions_of(&self, consumer: u32, product: u32) -> &[u32] {
        match self.pairs.get(&(consumer, product)) {
            Some((start, count)) => &self.candidates[*start as usize..(*start + *count) as usize],
            None => &[],
        }
    }

    /// The buckets and slots of a subscription, made at its first request.
    pub(crate) fn accounts(&self, subscription: u32) -> &Arc<Accounts> {
        let found = &self.subscriptions[subscription as usize];
        found.accounts.get_or_init(|| {
            let terms = &self.plans[found.plan as usize].terms;
            Arc::new(Accounts::new(terms, &found.key, None))
        })
    }
}

impl Subscription {
    pub(crate) fn standing(&self, unix_s: i64) -> Standing {
        match self.state {
            SubscriptionState::Pending => Standing::Pending,
            SubscriptionState::Suspended => Standing::Suspended,
            SubscriptionState::Active if unix_s < self.not_before => Standing::NotYet,
            SubscriptionState::Active if unix_s >= self.not_after => Standing::Expired,
            SubscriptionState::Active => Standing::Usable,
        }
    }
}

/// Positions of the keys of an ordered map.
pub(crate) fn positions<'k>(keys: impl Iterator<Item = &'k String>) -> HashMap<&'k str, u32> {
    keys.enumerate().map(|(at, key)| (key.as_str(), at as u32)).collect()
}

fn consumers(context: &mut Context<'_>, groups: &mut Groups) -> (Vec<Consumer>, HashMap<KeyHash, Key>) {
    let snapshot = context.snapshot;
    let mut consumers = Vec::with_capacity(snapshot.consumers.len());
    let mut keys = HashMap::with_capacity(snapshot.consumers.len());
    for (key, found) in &snapshot.consumers {
        let consumer = consumers.len() as u32;
        for Credential::ApiKey { sha256, not_after } in &found.credentials {
            let Some(hash) = parse_hash(sha256) else {
                context.fault(format!("consumer {key}"), "an API key hash is not 64 hex digits".to_owned());
                continue;
            };
            keys.entry(hash).or_insert(Key { consumer, not_after: not_after.unwrap_or(i64::MAX) });
        }
        let name = context.name(key);
        let groups = groups.ids(&found.groups);
        consumers.push(Consumer { key: key.as_str().into(), name, groups, disabled: found.disabled });
    }
    (consumers, keys)
}

fn parse_hash(hex: &str) -> Option<KeyHash> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(hash)
}

fn products(context: &mut Context<'_>) -> Vec<Product> {
    let snapshot = context.snapshot;
    let product = |(key, found): (&String, &gateway_snapshot::Product)| Product {
        key: key.as_str().into(),
        name: context.name(key),
        stage: found.stage,
        subscription_required: found.subscription_required || found.stage == Stage::Draft,
        deprecation: found.deprecated_at.map(|at| format!("@{at}").into()),
        sunset: found.sunset_at.and_then(http_date).map(String::into_boxed_str),
    };
    snapshot.products.iter().map(product).collect()
}

/// An HTTP date; nothing outside the years that one can name.
fn http_date(unix_s: i64) -> Option<String> {
    const YEAR_9999: u64 = 253_402_300_799;
    let seconds = u64::try_from(unix_s).ok().filter(|seconds| *seconds <= YEAR_9999)?;
    Some(httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)))
}

fn plans(context: &mut Context<'_>) -> Vec<Plan> {
    let snapshot = context.snapshot;
    let mut plans = Vec::with_capacity(snapshot.plans.len());
    for (key, plan) in &snapshot.plans {
        let terms = Terms::of_plan(plan).unwrap_or_else(|problem| {
            context.fault(format!("plan {key}"), problem);
            Terms::default()
        });
        plans.push(Plan { key: key.as_str().into(), name: context.name(key), terms });
    }
    plans
}
