//! Leases that are closed here and not yet settled at the authority.
//!
//! A return is repeated until it is acknowledged, and once more when all that was spent is in the spool. What was
//! closed is never opened again, however late a grant for it arrives.

use std::{collections::BTreeMap, time::Duration};

use crate::{clock::Mono, limit::LeaseId, message::Ask};

#[derive(Debug, Default)]
pub(super) struct Closings {
    open: BTreeMap<LeaseId, Closing>,
    /// The greatest lease that was disowned without a key to remember it by.
    disowned: Option<LeaseId>,
}

#[derive(Debug)]
struct Closing {
    spent: u64,
    closed_at: Mono,
    recorded: bool,
    acknowledged: bool,
    next: Mono,
}

impl Closings {
    pub(super) fn add(&mut self, lease: LeaseId, spent: u64, now: Mono) {
        let closing =
            Closing { spent, closed_at: now, recorded: spent == 0, acknowledged: false, next: Mono::ZERO };
        self.open.insert(lease, closing);
    }

    /// A lease of which this holder knows nothing: returned unspent.
    pub(super) fn disown(&mut self, lease: LeaseId, now: Mono) {
        if !self.open.contains_key(&lease) {
            self.add(lease, 0, now);
            self.disowned = self.disowned.max(Some(lease));
        }
    }

    /// Whether a grant of `lease` comes too late. May also refuse a lease that is merely older than a disowned one,
    /// which then ends unspent.
    pub(super) fn has_seen(&self, lease: LeaseId) -> bool {
        self.open.contains_key(&lease) || self.disowned.is_some_and(|disowned| lease <= disowned)
    }

    /// The returns to send now, at most `most`.
    pub(super) fn due(&mut self, now: Mono, again_after: Duration, most: usize) -> Vec<Ask> {
        let due = self.open.iter_mut().filter(|(_, closing)| closing.next <= now && closing.wants_sending());
        due.take(most)
            .map(|(lease, closing)| {
                closing.next = now.plus(again_after);
                Ask::Return { lease: *lease, spent: closing.spent, recorded: closing.recorded }
            })
            .collect()
    }

    pub(super) fn acknowledged(&mut self, lease: LeaseId, settled: bool) {
        if settled {
            self.open.remove(&lease);
        } else if let Some(closing) = self.open.get_mut(&lease) {
            closing.acknowledged = true;
        }
    }

    pub(super) fn recorded_through(&mut self, instant: Mono) {
        for closing in self.open.values_mut().filter(|closing| closing.closed_at < instant) {
            closing.recorded = true;
        }
    }

    pub(super) fn all_acknowledged(&self) -> bool {
        self.open.values().all(|closing| closing.acknowledged && !closing.recorded)
    }
}

impl Closing {
    fn wants_sending(&self) -> bool {
        !self.acknowledged || self.recorded
    }
}
