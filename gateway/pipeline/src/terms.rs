//! Terms: the rates and quotas of a plan or policy; accounts: where one subject's use of them is kept.
//!
//! In: plans and policies of a snapshot. Out: compiled terms, and accounts that outlive a reload: buckets and
//! slots are carried over by the ids of their limits. Accounts are made at a subject's first request, so a
//! million idle subscriptions cost nothing.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gateway_quota::rate::{Bucket, Rate, Verdict};
use gateway_quota::{
    Limit, LimitId, Mode, Mono, PolicyMember, QuotaKey, Slot, Unit, policy_field, ratelimit_field,
};
use gateway_snapshot::{Dimension, Plan, QuotaPolicy, RateLimitPolicy};
use hashbrown::HashMap;

/// Subjects with an account of their own per policy on one gateway; the rest share one.
const MAX_SUBJECTS: usize = 65_536;
const SHARDS: usize = 16;

/// Compiled rates and quotas with one subject.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) rates: Box<[RateTerm]>,
    pub(crate) quotas: Box<[QuotaTerm]>,
    /// The value of `RateLimit-Policy`.
    pub(crate) policy_field: Box<str>,
    /// What subjects begin with, so that those of different kinds never meet in one account.
    pub(crate) subjects: &'static str,
}

pub(crate) struct RateTerm {
    pub(crate) id: Box<str>,
    pub(crate) rate: Rate,
    /// `RateLimit` up to the number of units that remain.
    pub(crate) field: Box<str>,
}

pub(crate) struct QuotaTerm {
    pub(crate) id: LimitId,
    pub(crate) bytes: bool,
    /// Counts and refuses nothing.
    pub(crate) observe: bool,
    /// Most units that may ever be admitted in a window.
    pub(crate) ceiling: u64,
    pub(crate) field: Box<str>,
}

/// One subject's accounts, parallel to its [`Terms`].
pub(crate) struct Accounts {
    pub(crate) buckets: Box<[Arc<Bucket>]>,
    pub(crate) slots: Box<[SlotCell]>,
}

/// A quota key and its slot, once the lease task has made one.
pub(crate) struct SlotCell {
    pub(crate) key: QuotaKey,
    pub(crate) slot: OnceLock<Arc<Slot>>,
}

const REQUESTS: Unit = Unit::Requests;

impl Terms {
    pub(crate) fn of_plan(plan: &Plan) -> Result<Self, String> {
        let mut rates = Vec::with_capacity(plan.rates.len());
        for rate in &plan.rates {
            rates.push(RateTerm::new(&rate.id, rate.requests, rate.period_ms, rate.burst)?);
        }
        Ok(Self::new(rates, &plan.limits, "subscription/"))
    }

    pub(crate) fn of_rate(key: &str, policy: &RateLimitPolicy) -> Result<Self, String> {
        let rate = RateTerm::new(key, policy.requests, policy.period_ms, policy.burst)?;
        Ok(Self::new(vec![rate], &[], prefix(&policy.by)))
    }

    pub(crate) fn of_quota(policy: &QuotaPolicy) -> Self {
        Self::new(Vec::new(), &policy.limits, prefix(&policy.by))
    }

    fn new(rates: Vec<RateTerm>, limits: &[Limit], subjects: &'static str) -> Self {
        // Custom units are named by upstreams and settled from records, not enforced here.
        let enforced = || limits.iter().filter(|limit| !matches!(limit.unit, Unit::Custom(_)));
        let of_rate = |term: &RateTerm| (term.rate.units(), term.rate.period().as_secs().max(1));
        let mut members: Vec<PolicyMember<'_>> = rates
            .iter()
            .map(|term| (term, of_rate(term)))
            .map(|(term, (quantity, window_seconds))| PolicyMember {
                name: short(&term.id),
                quantity,
                window_seconds,
                unit: &REQUESTS,
            })
            .collect();
        members.extend(enforced().map(|limit| PolicyMember {
            name: short(limit.id.as_str()),
            quantity: limit.quantity,
            window_seconds: limit.window.nominal_seconds(),
            unit: &limit.unit,
        }));
        let policy_field = policy_field(&members).into();
        let quotas = enforced().map(QuotaTerm::new).collect();
        Self { rates: rates.into(), quotas, policy_field, subjects }
    }

    fn same_shape(&self, other: &Self) -> bool {
        self.rates.iter().map(|term| &term.id).eq(other.rates.iter().map(|term| &term.id))
            && self.quotas.iter().map(|term| &term.id).eq(other.quotas.iter().map(|term| &term.id))
    }
}

impl RateTerm {
    fn new(id: &str, requests: u64, period_ms: u64, burst: u64) -> Result<Self, String> {
        let rate = Rate::new(requests, Duration::from_millis(period_ms), burst)
            .map_err(|error| format!("rate {id}: {error}"))?;
        Ok(Self { id: id.into(), rate, field: field_start(id) })
    }
}

impl RateTerm {
    /// When an empty bucket holds a unit again. Asking for one takes none as long as there is none.
    pub(crate) fn next(&self, bucket: &Bucket, now: Mono) -> Duration {
        match bucket.take(&self.rate, 1, now) {
            Verdict::Limited { retry_after, .. } => retry_after,
            Verdict::Allowed { .. } => Duration::ZERO,
        }
    }
}

impl QuotaTerm {
    fn new(limit: &Limit) -> Self {
        Self {
            id: limit.id.clone(),
            bytes: limit.unit == Unit::Bytes,
            observe: limit.mode == Mode::Observe,
            ceiling: limit.ceiling(),
            field: field_start(limit.id.as_str()),
        }
    }
}

/// What the subjects of a policy begin with.
fn prefix(by: &Dimension) -> &'static str {
    match by {
        Dimension::All => "",
        Dimension::Consumer => "consumer/",
        Dimension::ClientAddress => "address/",
        Dimension::Header(_) => "header/",
    }
}

/// The last part of an id, which is what its author called it: `plan/shop/gold/monthly` is `monthly`.
fn short(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// A member of `RateLimit` up to the number of units that remain.
fn field_start(id: &str) -> Box<str> {
    let whole = ratelimit_field(&[(short(id), 0, 0)]);
    whole.strip_suffix("0;t=0").unwrap_or(&whole).into()
}

impl Accounts {
    /// New accounts, with the buckets and slots of `before` where the ids agree.
    pub(crate) fn new(terms: &Terms, subject: &str, before: Option<(&Terms, &Self)>) -> Self {
        let bucket = |term: &RateTerm| {
            let carried = before.and_then(|(old, accounts)| {
                old.rates
                    .iter()
                    .position(|other| other.id == term.id)
                    .map(|at| Arc::clone(&accounts.buckets[at]))
            });
            carried.unwrap_or_else(|| Arc::new(Bucket::new()))
        };
        let slot = |term: &QuotaTerm| {
            let slot = OnceLock::new();
            if let Some(carried) = before.and_then(|(_, accounts)| accounts.slot(&term.id)) {
                let _ = slot.set(carried);
            }
            let subject = format!("{}{subject}", terms.subjects);
            SlotCell { key: QuotaKey::new(term.id.clone(), subject), slot }
        };
        Self {
            buckets: terms.rates.iter().map(bucket).collect(),
            slots: terms.quotas.iter().map(slot).collect(),
        }
    }

    /// Whether forgetting it changes nothing: every bucket is full, and no quota was used in a window that
    /// still runs. The lease task keeps the slots, so a subject that comes back meets the same ones.
    fn is_idle(&self, terms: &Terms, now: Mono) -> bool {
        let full = |(term, bucket): (&RateTerm, &Arc<Bucket>)| matches!(bucket.take(&term.rate, 0, now), Verdict::Allowed { reset, .. } if reset.is_zero());
        let over = |cell: &SlotCell| {
            let standing = cell.slot.get().and_then(|slot| slot.standing(now));
            standing.is_none_or(|standing| standing.reset.is_zero())
        };
        self.slots.iter().all(over) && terms.rates.iter().zip(&self.buckets).all(full)
    }

    fn slot(&self, id: &LimitId) -> Option<Arc<Slot>> {
        self.slots.iter().find(|cell| cell.key.limit == *id).and_then(|cell| cell.slot.get().cloned())
    }
}

/// The accounts of all subjects of one policy.
pub(crate) struct Subjects {
    shards: Box<[Mutex<Shard>]>,
    overflow: OnceLock<Arc<Accounts>>,
}

#[derive(Default)]
struct Shard {
    accounts: HashMap<Box<str>, Arc<Accounts>>,
    /// When idle subjects were last looked for.
    swept: Mono,
}

impl Default for Subjects {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, overflow: OnceLock::new() }
    }
}

impl Subjects {
    /// The same accounts when the terms count the same things, else new ones with what can be carried over.
    pub(crate) fn carried(before: (&Terms, &Arc<Self>), terms: &Terms) -> Arc<Self> {
        let (old_terms, old) = before;
        if old_terms.same_shape(terms) {
            return Arc::clone(old);
        }
        let new = Self::default();
        for (old_shard, shard) in old.shards.iter().zip(&new.shards) {
            let (old_shard, mut shard) = (lock(old_shard), lock(shard));
            for (subject, accounts) in &old_shard.accounts {
                let accounts = Accounts::new(terms, subject, Some((old_terms, accounts)));
                shard.accounts.insert(subject.clone(), Arc::new(accounts));
            }
        }
        Arc::new(new)
    }

    /// The accounts of `subject`, made at its first request. When the table is full, idle subjects make room;
    /// if none are, newcomers share one account, so memory stays bounded.
    pub(crate) fn accounts(&self, terms: &Terms, subject: &str, now: Mono) -> Arc<Accounts> {
        let mut shard = lock(self.shard(subject));
        if let Some(accounts) = shard.accounts.get(subject) {
            return Arc::clone(accounts);
        }
        if shard.accounts.len() >= MAX_SUBJECTS / SHARDS {
            shard.sweep(terms, now);
        }
        if shard.accounts.len() >= MAX_SUBJECTS / SHARDS {
            let shared = self.overflow.get_or_init(|| Arc::new(Accounts::new(terms, "__other__", None)));
            return Arc::clone(shared);
        }
        let accounts = Arc::new(Accounts::new(terms, subject, None));
        shard.accounts.insert(subject.into(), Arc::clone(&accounts));
        accounts
    }

    fn shard(&self, subject: &str) -> &Mutex<Shard> {
        // FNV-1a: any spread will do, and the same subject must always meet the same shard.
        let hash = subject.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl Shard {
    /// At most once a second: under a flood of subjects a look through the table per request would cost more
    /// than what it frees.
    fn sweep(&mut self, terms: &Terms, now: Mono) {
        if now.since(self.swept) < Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        self.accounts.retain(|_, accounts| !accounts.is_idle(terms, now));
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
