//! Admission: taking one request from every rate and quota that applies, all or none.
//!
//! In: the accounts of the plan and the policies of the rule. Out: admitted, refused (then everything taken is
//! given back), or a lease that the shell must fetch first. Byte quotas hold a deposit of one byte from
//! admission on, so that a request against an empty quota is refused before the upstream works for it.
//! What was taken ends as the charges of the record; nothing is counted twice and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use analytics_record::{Charge, Charges, MAX_CHARGES};
use gateway_quota::rate::Verdict;
use gateway_quota::{Mono, QuotaKey, Slot, Spend};

use crate::prepare::Prepared;
use crate::terms::{Accounts, QuotaTerm, SlotCell, Terms};

/// Rounds of waiting for one limit before it counts as unavailable, whatever the shell says.
const MAX_ROUNDS: u8 = 8;

/// Policies and plans that one request is charged to; more refuse it.
const MAX_SETS: usize = 8;

/// A lease that is needed before the request can go on.
#[derive(Debug, Clone)]
pub struct LeaseNeed {
    /// What is counted for whom.
    pub key: QuotaKey,
    /// The slot to nudge and to watch; nothing at a subject's first request on this gateway: make it.
    pub slot: Option<Arc<Slot>>,
    /// Units that the refill must bring at least.
    pub units: u64,
}

/// Where the terms of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TermsRef {
    Plan(u32),
    Rate(u32),
    Quota(u32),
}

struct Set {
    terms: TermsRef,
    accounts: Arc<Accounts>,
}

/// A quota that applies, by set and position.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    set: u8,
    quota: u8,
    bytes: bool,
    observe: bool,
    /// One byte was spent ahead.
    deposit: bool,
}

/// Units taken from a lease; lease 0 only counts.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    meter: u8,
    lease: u64,
    units: u64,
}

#[derive(Default)]
pub(crate) struct Admission {
    sets: [Option<Set>; MAX_SETS],
    meters: [Meter; MAX_CHARGES],
    meter_count: u8,
    taken: [Taken; MAX_CHARGES],
    taken_count: u8,
    /// Meters that have been passed.
    passed: u8,
    rounds: u8,
    admitted: bool,
    /// Meters whose slot wants the lease task's attention, one bit each.
    nudges: u8,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Denied {
    Rate {
        terms: TermsRef,
        rate: usize,
        retry_after: Duration,
    },
    Quota {
        terms: TermsRef,
        quota: usize,
    },
    Unavailable {
        terms: TermsRef,
        quota: usize,
    },
    /// More policies apply than a request can hold, or more quotas than a record can account for.
    TooMany,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done,
    Wait(LeaseNeed),
    Denied(Denied),
}

impl TermsRef {
    pub(crate) fn get(self, prepared: &Prepared) -> &Terms {
        match self {
            Self::Plan(at) => &prepared.callers.plans[at as usize].terms,
            Self::Rate(at) => &prepared.policies.rates[at as usize].terms,
            Self::Quota(at) => &prepared.policies.quotas[at as usize].terms,
        }
    }
}

impl Admission {
    /// Adds accounts that apply.
    pub(crate) fn add(&mut self, terms: TermsRef, accounts: Arc<Accounts>) -> Result<(), Denied> {
        let free = self.sets.iter_mut().find(|set| set.is_none()).ok_or(Denied::TooMany)?;
        *free = Some(Set { terms, accounts });
        Ok(())
    }

    /// Lists the quotas that apply; call once, after the last `add`.
    pub(crate) fn list(&mut self, prepared: &Prepared) -> Result<(), Denied> {
        for at in 0..self.sets.len() {
            let Some(set) = &self.sets[at] else { break };
            for (quota, term) in set.terms.get(prepared).quotas.iter().enumerate() {
                let free = self.meters.get_mut(usize::from(self.meter_count)).ok_or(Denied::TooMany)?;
                let (bytes, observe) = (term.bytes, term.observe);
                *free = Meter { set: at as u8, quota: quota as u8, bytes, observe, deposit: false };
                self.meter_count += 1;
            }
        }
        Ok(())
    }

    /// Takes one request from every quota and rate. Rates are asked first, because they refuse most often and
    /// asking is cheap, and taken last, because a bucket takes nothing back. After `Wait`, call again with what
    /// came of the wait.
    pub(crate) fn admit(&mut self, prepared: &Prepared, now: Mono, timed_out: bool) -> Attempt {
        if let Err(denied) = self.rates(prepared, 0, now) {
            self.undo();
            return Attempt::Denied(denied);
        }
        let mut timed_out = timed_out || self.rounds >= MAX_ROUNDS;
        while self.passed < self.meter_count {
            match self.spend(prepared, self.passed, 1, now, timed_out) {
                Attempt::Done => {
                    let meter = &mut self.meters[usize::from(self.passed)];
                    meter.deposit = meter.bytes;
                    self.passed += 1;
                    (self.rounds, timed_out) = (0, false);
                }
                Attempt::Wait(need) => {
                    self.rounds += 1;
                    return Attempt::Wait(need);
                }
                Attempt::Denied(denied) => {
                    self.undo();
                    return Attempt::Denied(denied);
                }
            }
        }
        // Another thread may have taken the last token meanwhile.
        if let Err(denied) = self.rates(prepared, 1, now) {
            self.undo();
            return Attempt::Denied(denied);
        }
        self.admitted = true;
        Attempt::Done
    }

    /// Takes body bytes from every byte quota, before they are passed on; all or none.
    pub(crate) fn spend_bytes(&mut self, prepared: &Prepared, bytes: u64, now: Mono) -> Attempt {
        if bytes == 0 || !self.meters().any(|meter| meter.bytes) {
            return Attempt::Done;
        }
        let before = self.taken;
        for at in 0..self.meter_count {
            let meter = self.meters[usize::from(at)];
            let units = bytes - u64::from(meter.deposit);
            if !meter.bytes || units == 0 {
                continue;
            }
            let attempt = self.spend(prepared, at, units, now, false);
            if !matches!(attempt, Attempt::Done) {
                self.return_to(&before);
                return attempt;
            }
        }
        // The deposit has become the first byte.
        self.meters.iter_mut().for_each(|meter| meter.deposit = false);
        Attempt::Done
    }

    /// Takes `units` from every bucket; with 0, asks whether each holds one.
    fn rates(&self, prepared: &Prepared, units: u64, now: Mono) -> Result<(), Denied> {
        for set in self.sets.iter().flatten() {
            let terms = set.terms.get(prepared);
            for (at, (term, bucket)) in terms.rates.iter().zip(&set.accounts.buckets).enumerate() {
                let retry_after = match bucket.take(&term.rate, units, now) {
                    Verdict::Allowed { remaining, .. } if units > 0 || remaining > 0 => continue,
                    Verdict::Allowed { .. } => term.next(bucket, now),
                    Verdict::Limited { retry_after, .. } => retry_after,
                };
                return Err(Denied::Rate { terms: set.terms, rate: at, retry_after });
            }
        }
        Ok(())
    }

    fn spend(&mut self, prepared: &Prepared, at: u8, units: u64, now: Mono, timed_out: bool) -> Attempt {
        let meter = self.meters[usize::from(at)];
        let Some((terms, cell)) = self.cell(meter) else { return Attempt::Done };
        let quota = usize::from(meter.quota);
        let Some(slot) = cell.slot.get() else {
            let need = LeaseNeed { key: cell.key.clone(), slot: None, units };
            return match (timed_out, meter.observe) {
                (false, _) => Attempt::Wait(need),
                (true, true) => self.take(at, 0, units, terms),
                (true, false) => Attempt::Denied(Denied::Unavailable { terms, quota }),
            };
        };
        match slot.try_spend(units, now) {
            Spend::Spent { lease, low, .. } => {
                self.nudges |= u8::from(low) << at;
                let attempt = self.take(at, lease.get(), units, terms);
                if matches!(attempt, Attempt::Denied(_))
                    && let Some((_, cell)) = self.cell(meter)
                {
                    cell.slot.get().map(|slot| slot.refund(lease, units));
                }
                attempt
            }
            refused => {
                let need = LeaseNeed { key: cell.key.clone(), slot: Some(Arc::clone(slot)), units };
                self.nudges |= 1 << at;
                match refused {
                    _ if meter.observe => self.take(at, 0, units, terms),
                    Spend::Exhausted => Attempt::Denied(Denied::Quota { terms, quota }),
                    // A limit of nothing never gets a lease.
                    _ if terms.get(prepared).quotas[quota].ceiling == 0 => {
                        Attempt::Denied(Denied::Quota { terms, quota })
                    }
                    _ if timed_out => Attempt::Denied(Denied::Unavailable { terms, quota }),
                    _ => Attempt::Wait(need),
                }
            }
        }
    }

    /// Notes units of a lease. A record has room for few leases: the units of one more are refused rather
    /// than left out of the record.
    fn take(&mut self, meter: u8, lease: u64, units: u64, terms: TermsRef) -> Attempt {
        let count = usize::from(self.taken_count);
        let same = |taken: &&mut Taken| taken.meter == meter && taken.lease == lease;
        if let Some(taken) = self.taken[..count].iter_mut().find(same) {
            taken.units += units;
            return Attempt::Done;
        }
        let Some(free) = self.taken.get_mut(count) else {
            let quota = usize::from(self.meters[usize::from(meter)].quota);
            return Attempt::Denied(Denied::Unavailable { terms, quota });
        };
        *free = Taken { meter, lease, units };
        self.taken_count += 1;
        Attempt::Done
    }

    /// Gives everything back. Units of a lease that was closed meanwhile stay in the record's charges.
    fn undo(&mut self) {
        self.return_to(&[Taken::default(); MAX_CHARGES]);
        self.meters.iter_mut().for_each(|meter| meter.deposit = false);
    }

    /// Refunds what was taken since `before`.
    fn return_to(&mut self, before: &[Taken; MAX_CHARGES]) {
        for (at, earlier) in before.iter().enumerate() {
            let now = self.taken[at];
            let units = now.units - earlier.units;
            if units > 0 && self.refund(now, units) {
                self.taken[at].units = earlier.units;
            }
        }
        // Room for other leases; only the last ones can be new.
        while self.taken_count > 0 && self.taken[usize::from(self.taken_count) - 1].units == 0 {
            self.taken_count -= 1;
        }
    }

    fn refund(&self, taken: Taken, units: u64) -> bool {
        let Some((_, cell)) = self.cell(self.meters[usize::from(taken.meter)]) else { return false };
        match gateway_quota::LeaseId::new(taken.lease) {
            None => true,
            Some(lease) => cell.slot.get().is_some_and(|slot| slot.refund(lease, units)),
        }
    }

    /// Ends it: deposits that no byte used go back, and a request that was never admitted gives back all.
    pub(crate) fn settle(&mut self) -> Charges {
        if !self.admitted {
            self.undo();
        }
        for at in 0..usize::from(self.taken_count) {
            let taken = self.taken[at];
            let meter = usize::from(taken.meter);
            if taken.units > 0 && std::mem::take(&mut self.meters[meter].deposit) && self.refund(taken, 1) {
                self.taken[at].units -= 1;
            }
        }
        let mut charges = Charges::NONE;
        for taken in self.taken.iter().filter(|taken| taken.units > 0) {
            let fits = charges.push(Charge { lease: taken.lease, units: taken.units });
            debug_assert!(fits, "as many as a record holds");
        }
        charges
    }

    /// Puts the slot that the lease task made where the next request finds it.
    pub(crate) fn install(&self, slot: &Arc<Slot>) {
        for meter in self.meters() {
            if let Some((_, cell)) = self.cell(*meter)
                && cell.key == *slot.key()
            {
                let _ = cell.slot.set(Arc::clone(slot));
            }
        }
    }

    /// Hands over the slots that want the lease task's attention, once each.
    pub(crate) fn nudges(&mut self, nudge: &mut dyn FnMut(&Arc<Slot>)) {
        let bits = std::mem::take(&mut self.nudges);
        for (at, meter) in self.meters().enumerate() {
            if bits & (1 << at) != 0
                && let Some((_, cell)) = self.cell(*meter)
                && let Some(slot) = cell.slot.get()
            {
                nudge(slot);
            }
        }
    }

    /// The sets that apply, with their terms.
    pub(crate) fn sets<'a>(
        &'a self,
        prepared: &'a Prepared,
    ) -> impl Iterator<Item = (&'a Terms, &'a Accounts)> {
        self.sets.iter().flatten().map(|set| (set.terms.get(prepared), &*set.accounts))
    }

    /// Time until the window of a quota ends.
    pub(crate) fn reset(&self, terms: TermsRef, quota: usize, now: Mono) -> Option<Duration> {
        let set = self.sets.iter().flatten().find(|set| set.terms == terms)?;
        Some(set.accounts.slots.get(quota)?.slot.get()?.standing(now)?.reset)
    }

    pub(crate) fn has_sets(&self) -> bool {
        self.sets[0].is_some()
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters[..usize::from(self.meter_count)].iter()
    }

    fn cell(&self, meter: Meter) -> Option<(TermsRef, &SlotCell)> {
        let set = self.sets[usize::from(meter.set)].as_ref()?;
        Some((set.terms, &set.accounts.slots[usize::from(meter.quota)]))
    }
}

impl Denied {
    /// The name of the limit that refused.
    pub(crate) fn limit(self, prepared: &Prepared) -> Option<&str> {
        let quota = |terms: TermsRef, at: usize| -> &QuotaTerm { &terms.get(prepared).quotas[at] };
        match self {
            Self::Rate { terms, rate, .. } => Some(&terms.get(prepared).rates[rate].id),
            Self::Quota { terms, quota: at } | Self::Unavailable { terms, quota: at } => {
                Some(quota(terms, at).id.as_str())
            }
            Self::TooMany => None,
        }
    }
}
