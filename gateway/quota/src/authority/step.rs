//! Turning what a call did into a [`Step`]: rows that changed, thresholds that were reached, the answers.

use std::collections::BTreeSet;

use crate::{
    authority::{AccountId, Authority, Change, Crossing, Discrepancy, Now, Row, Step, rows::lease_row_id},
    limit::LeaseId,
    message::Answer,
};

/// What a call has done so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) changes: Vec<Change>,
    pub(super) answers: Vec<Answer>,
    pub(super) discrepancies: Vec<Discrepancy>,
    /// Accounts whose use may have grown.
    used: BTreeSet<AccountId>,
    accounts: BTreeSet<AccountId>,
    leases: BTreeSet<LeaseId>,
    granted: bool,
}

impl Work {
    pub(super) fn put(&mut self, row: Row) {
        self.changes.push(Change::Put(row));
    }

    /// The account's row must be written.
    pub(super) fn changed_account(&mut self, id: AccountId) {
        self.used.insert(id.clone());
        self.accounts.insert(id);
    }

    /// The account's use may have grown, in memory only.
    pub(super) fn used(&mut self, id: &AccountId) {
        if !self.used.contains(id) {
            self.used.insert(id.clone());
        }
    }

    /// The lease's row must be written, or deleted if it is settled.
    pub(super) fn changed_lease(&mut self, id: LeaseId) {
        self.leases.insert(id);
    }

    /// A lease number was taken.
    pub(super) fn took_number(&mut self) {
        self.granted = true;
    }
}

impl Authority {
    /// The step of a finished call, without a reply.
    pub(super) fn finish(&mut self, mut work: Work, now: Now) -> Step {
        let mut crossings = Vec::new();
        for id in std::mem::take(&mut work.used) {
            if self.fire(&id, now, &mut crossings) {
                work.accounts.insert(id);
            }
        }
        let mut changes = work.changes;
        for id in work.accounts {
            let change = match self.accounts.get(&id) {
                Some(account) => Change::Put(Self::account_row(&id, account)),
                None => Change::Drop(id.row_id()),
            };
            changes.push(change);
        }
        for id in work.leases {
            changes.push(self.lease_row(id).map_or_else(|| Change::Drop(lease_row_id(id)), Change::Put));
        }
        if work.granted {
            changes.push(Change::Put(Row::NextLease(self.next_lease)));
        }
        Step { changes, reply: None, crossings, discrepancies: work.discrepancies }
    }

    /// Fires the thresholds that the account has reached and not fired under this version of its limit (Q10).
    fn fire(&mut self, id: &AccountId, now: Now, crossings: &mut Vec<Crossing>) -> bool {
        let Some(guarded) = self.limits.get(&id.key.limit) else { return false };
        let Some(account) = self.accounts.get_mut(id) else { return false };
        let limit = &guarded.limit;
        let used = account.used();
        let outdated = account.version != guarded.version;
        let fired: &[u8] = if outdated { &[] } else { &account.fired };
        let mut reached: Vec<u8> = limit.thresholds.clone();
        reached.retain(|percent| !fired.contains(percent) && used >= limit.threshold_units(*percent));
        reached.sort_unstable();
        reached.dedup();
        if reached.is_empty() {
            return false;
        }
        if outdated {
            (account.version, account.fired) = (guarded.version, Vec::new());
        }
        account.fired.extend(&reached);
        crossings.extend(reached.into_iter().map(|threshold| Crossing {
            key: id.key.clone(),
            window: id.window,
            version: guarded.version,
            threshold,
            quantity: limit.quantity,
            used,
            at: now.wall,
        }));
        true
    }
}
