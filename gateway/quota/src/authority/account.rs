//! One key in one window: what is settled, what is out, and which thresholds have fired.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    authority::{AccountId, AccountView, HolderId},
    clock::Mono,
    limit::LeaseId,
};

#[derive(Debug, Default)]
pub(super) struct Account {
    /// Units of settled leases.
    pub(super) settled: u64,
    /// Units that stay charged though nobody knows whether they were used.
    pub(super) unaccounted: u64,
    /// The version of the limit that `fired` belongs to.
    pub(super) version: u64,
    pub(super) fired: Vec<u8>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// Since when the window is over and nothing is open in it.
    pub(super) over_since: Option<Mono>,
}

/// Units in the hands of one life of one gateway.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) holder: HolderId,
    pub(super) granted: u64,
    pub(super) returned: u64,
    pub(super) spent: u64,
    /// The holder has returned it: `spent` is what it may still count for.
    pub(super) closed: bool,
    /// The holder has stopped by itself after this.
    pub(super) deadline: Mono,
    pub(super) ttl: Duration,
    /// Unspent units are wanted back.
    pub(super) recall: bool,
}

impl Account {
    /// Everything that counts against the limit: never above it (Q1).
    pub(super) fn charged(&self) -> u64 {
        let leases = self.leases.values().fold(0_u64, |sum, lease| sum.saturating_add(lease.charge()));
        self.settled.saturating_add(self.unaccounted).saturating_add(leases)
    }

    /// Units known to be used.
    pub(super) fn used(&self) -> u64 {
        self.leases.values().fold(self.settled, |sum, lease| sum.saturating_add(lease.used()))
    }

    /// The lease that `holder` may get more units on.
    pub(super) fn open_lease_of(&self, holder: &HolderId) -> Option<LeaseId> {
        self.leases.iter().find(|(_, lease)| !lease.closed && lease.holder == *holder).map(|(id, _)| *id)
    }

    pub(super) fn view(&self, id: &AccountId, quantity: u64, ceiling: u64) -> AccountView {
        let (charged, used) = (self.charged(), self.used());
        AccountView {
            key: id.key.clone(),
            window: id.window,
            quantity,
            ceiling,
            settled: self.settled,
            unaccounted: self.unaccounted,
            used,
            leased: charged.saturating_sub(used).saturating_sub(self.unaccounted),
            remaining: ceiling.saturating_sub(charged),
            fired: self.fired.clone(),
            leases: self.leases.len(),
        }
    }
}

impl Lease {
    /// What it counts for against the limit.
    pub(super) fn charge(&self) -> u64 {
        if self.closed { self.spent } else { self.granted - self.returned }
    }

    /// Units known to be used.
    pub(super) fn used(&self) -> u64 {
        self.spent.min(self.charge())
    }

    /// Units that the holder may still spend, as far as is known.
    pub(super) fn unspent(&self) -> u64 {
        self.charge() - self.used()
    }
}
