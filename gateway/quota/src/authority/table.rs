//! The table of limits as it changes, and windows as they pass.

use std::collections::BTreeSet;

use crate::{
    authority::{
        AccountId, Authority, Change, FloorRow, Guarded, HolderId, LimitRow, Now, Row, Step,
        account::Account, step::Work,
    },
    limit::{LeaseId, Limit, LimitId},
    window::Window,
};

impl Authority {
    /// Replaces the whole table. A raised limit takes effect with the next ask; a lowered one at once for what is
    /// not out yet, and units that are out are recalled.
    pub fn set_limits(&mut self, limits: impl IntoIterator<Item = Limit>, now: Now) -> Step {
        let mut work = Work::default();
        let mut gone: BTreeSet<LimitId> = self.limits.keys().cloned().collect();
        let mut changed = BTreeSet::new();
        for limit in limits {
            gone.remove(&limit.id);
            if self.limits.get(&limit.id).is_none_or(|guarded| guarded.limit != limit) {
                changed.insert(limit.id.clone());
                self.guard(limit, now, &mut work);
            }
        }
        for id in &gone {
            self.limits.remove(id);
        }
        changed.append(&mut gone);
        let affected: Vec<AccountId> =
            self.accounts.keys().filter(|id| changed.contains(&id.key.limit)).cloned().collect();
        for id in affected {
            self.recall_excess(&id);
            if id.window.contains(now.wall) {
                work.used(&id);
            }
        }
        self.finish(work, now)
    }

    fn guard(&mut self, limit: Limit, now: Now, work: &mut Work) {
        let known = self.versions.get(&limit.id);
        let version = match known {
            Some(row) if row.quantity == limit.quantity => row.version,
            Some(row) => row.version + 1,
            None => 1,
        };
        if known.is_none_or(|row| row.version != version) {
            let row = LimitRow { limit: limit.id.clone(), version, quantity: limit.quantity };
            self.versions.insert(limit.id.clone(), row.clone());
            work.put(Row::Limit(row));
        }
        let window = limit.window.at(now.wall);
        self.limits.insert(limit.id.clone(), Guarded { limit, version, window });
    }

    /// Recalls what is unspent if more is out than the limit now allows.
    fn recall_excess(&mut self, id: &AccountId) {
        let ceiling = self.limits.get(&id.key.limit).map_or(0, |guarded| guarded.limit.ceiling());
        if self.accounts.get(id).is_some_and(|account| account.charged() > ceiling) {
            self.recall_unspent(id, None);
        }
    }

    /// Recalls all that is unspent in the hands of others than `asking`; whether there was any.
    pub(super) fn recall_unspent(&mut self, id: &AccountId, asking: Option<&HolderId>) -> bool {
        let Some(account) = self.accounts.get_mut(id) else { return false };
        let mut any = false;
        for (lease_id, lease) in &mut account.leases {
            if lease.closed || lease.unspent() == 0 || asking == Some(&lease.holder) {
                continue;
            }
            lease.recall = true;
            self.recalled.entry(lease.holder.clone()).or_default().insert(*lease_id);
            any = true;
        }
        any
    }

    /// Forgets windows that are long over. Call it about once a second.
    pub fn tick(&mut self, now: Now) -> Step {
        let mut work = Work::default();
        let mut over = Vec::new();
        for (id, account) in &mut self.accounts {
            if id.window.end > now.wall || !account.leases.is_empty() {
                account.over_since = None;
                continue;
            }
            // Counted on the monotonic clock, so that a wall clock that jumps ahead and back forgets nothing.
            let since = *account.over_since.get_or_insert(now.mono);
            if now.mono.since(since) >= self.config.retention {
                over.push(id.clone());
            }
        }
        for id in over {
            self.forget(id, &mut work);
        }
        self.finish(work, now)
    }

    fn forget(&mut self, id: AccountId, work: &mut Work) {
        self.accounts.remove(&id);
        work.changes.push(Change::Drop(id.row_id()));
        let end = id.window.end;
        let limit = id.key.limit;
        if self.floors.get(&limit).is_none_or(|floor| *floor < end) {
            self.floors.insert(limit.clone(), end);
            work.put(Row::Floor(FloorRow { limit, end }));
        }
    }

    /// The limit's window of now; `None` if that window was forgotten.
    pub(super) fn open_window(&mut self, limit: &LimitId, now: Now) -> Option<Window> {
        let guarded = self.limits.get_mut(limit)?;
        if !guarded.window.contains(now.wall) {
            guarded.window = guarded.limit.window.at(now.wall);
        }
        let window = guarded.window;
        self.floors.get(limit).is_none_or(|floor| window.end > *floor).then_some(window)
    }

    /// Removes a settled lease from all indexes.
    pub(super) fn unlist(&mut self, lease: LeaseId, holder: &HolderId) {
        self.leases.remove(&lease);
        for index in [&mut self.held, &mut self.recalled] {
            if let Some(leases) = index.get_mut(holder) {
                leases.remove(&lease);
                if leases.is_empty() {
                    index.remove(holder);
                }
            }
        }
    }

    pub(super) fn account_of(&mut self, lease: LeaseId) -> Option<(AccountId, &mut Account)> {
        let id = self.leases.get(&lease)?.clone();
        let account = self.accounts.get_mut(&id)?;
        Some((id, account))
    }
}
