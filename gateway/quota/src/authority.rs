//! The authority's state machine: it alone decides how many units of a window are out, so that settled use and
//! leases together never exceed the limit (Q1).
//!
//! In: batches of asks, the table of limits, settlement facts, the time. Out: [`Step`]s of durable changes, a reply,
//! and threshold crossings. The shell commits changes and crossings in one transaction *before* it sends the reply
//! (Q4); after a failed commit it drops the authority and restores it from the store. The authority never takes back
//! units on the strength of a clock alone: an expired lease stays charged until its holder or its records settle it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    clock::{Mono, RateBound},
    limit::{GatewayId, LeaseId, Limit, LimitId, QuotaKey},
    message::{Answer, Reply},
    window::Window,
};

mod account;
mod asks;
mod rows;
mod settle;
mod sizing;
mod step;
mod table;
#[cfg(test)]
mod tests;

use account::Account;
pub use rows::{AccountId, AccountRow, Change, FloorRow, GatewayRow, LeaseRow, LimitRow, Row};
pub use settle::{OrphanStream, Proof, Settlement};

/// Both clocks of the authority's machine.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For everything that must be safe.
    pub mono: Mono,
    /// Only for which window it is.
    pub wall: Timestamp,
}

/// How an authority behaves.
#[derive(Debug, Clone)]
pub struct AuthorityConfig {
    /// How long a lease lives after its holder was last heard.
    pub ttl: Duration,
    /// A lease is sized for so much time at its holder's rate.
    pub cover: Duration,
    /// How far clock rates may err; as at the holders.
    pub bound: RateBound,
    /// After a denial, holders with demand ask again after this.
    pub retry_after: Duration,
    /// A window that is over is kept for so long after its last lease settled, against clocks that are set back.
    pub retention: Duration,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        Self {
            // Longer than it takes to start an authority anew.
            ttl: Duration::from_secs(30),
            cover: Duration::from_secs(30),
            bound: RateBound::default(),
            retry_after: Duration::from_millis(100),
            retention: Duration::from_hours(1),
        }
    }
}

/// What one call wants done: first commit, then send.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Rows to put or delete, in one transaction with the crossings.
    pub changes: Vec<Change>,
    /// The answer to the batch; only after the commit.
    pub reply: Option<Reply>,
    /// Thresholds that were reached: each exactly once, if committed with the changes.
    pub crossings: Vec<Crossing>,
    /// What should not happen; for the log and a metric.
    pub discrepancies: Vec<Discrepancy>,
}

/// Use has reached a threshold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crossing {
    /// What is counted.
    pub key: QuotaKey,
    /// In which window.
    pub window: Window,
    /// Counts changes of the limit's quantity; with key, window and threshold it names the crossing.
    pub version: u64,
    /// Percent.
    pub threshold: u8,
    /// Units per window at that time.
    pub quantity: u64,
    /// Units used, at least the threshold's.
    pub used: u64,
    /// When the authority learnt of it.
    pub at: Timestamp,
}

/// Two numbers that should agree do not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lease {lease} of {gateway} epoch {epoch}: {found} units where at most {expected} were granted")]
pub struct Discrepancy {
    /// The lease.
    pub lease: LeaseId,
    /// Its holder.
    pub gateway: GatewayId,
    /// The holder's life.
    pub epoch: u32,
    /// The most that can be true.
    pub expected: u64,
    /// What was said or recorded.
    pub found: u64,
}

/// How one key stands in one window, for reports and the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// What is counted.
    pub key: QuotaKey,
    /// In which window.
    pub window: Window,
    /// Units per window, 0 if the limit is gone.
    pub quantity: u64,
    /// The most units that may be admitted.
    pub ceiling: u64,
    /// Units of settled leases.
    pub settled: u64,
    /// Units that may have been used by gateways whose spool is lost; charged, never billed.
    pub unaccounted: u64,
    /// Units used as far as is known: settled and reported.
    pub used: u64,
    /// Units in the hands of holders, not known to be used.
    pub leased: u64,
    /// Units in nobody's hands.
    pub remaining: u64,
    /// Thresholds that have fired.
    pub fired: Vec<u8>,
    /// Leases that are not settled.
    pub leases: usize,
}

/// A limit under guard.
#[derive(Debug)]
struct Guarded {
    limit: Limit,
    version: u64,
    /// The window of the last look, as finding one costs more than checking one.
    window: Window,
}

/// A life of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HolderId {
    gateway: GatewayId,
    epoch: u32,
}

#[derive(Debug)]
struct Gateway {
    epoch: u32,
    seen: Mono,
    /// When its leases were last searched for expired ones.
    searched: Mono,
}

/// The single writer of a set of limits.
#[derive(Debug)]
pub struct Authority {
    config: AuthorityConfig,
    limits: BTreeMap<LimitId, Guarded>,
    /// Also of limits that are gone, so that a version is never used twice.
    versions: BTreeMap<LimitId, LimitRow>,
    /// No window of the limit that ends at or before this may be opened again.
    floors: BTreeMap<LimitId, Timestamp>,
    gateways: BTreeMap<GatewayId, Gateway>,
    accounts: BTreeMap<AccountId, Account>,
    leases: BTreeMap<LeaseId, AccountId>,
    held: BTreeMap<HolderId, BTreeSet<LeaseId>>,
    recalled: BTreeMap<HolderId, BTreeSet<LeaseId>>,
    next_lease: u64,
    learning: bool,
}

impl Authority {
    /// The authority as its store knows it; without rows, a first start. Every open lease is given its full time
    /// again, as nobody knows how much of it had passed. Call [`Self::set_limits`] before the first batch: leases of
    /// limits that are not in the table are ended.
    pub fn restore(config: AuthorityConfig, rows: impl IntoIterator<Item = Row>, now: Now) -> Self {
        // Lease numbers start at the time of day, so that a lost store does not lead to numbers that records know.
        let next_lease = (now.wall.as_millisecond().max(1) as u64) << 20;
        let mut authority = Self {
            config,
            limits: BTreeMap::new(),
            versions: BTreeMap::new(),
            floors: BTreeMap::new(),
            gateways: BTreeMap::new(),
            accounts: BTreeMap::new(),
            leases: BTreeMap::new(),
            held: BTreeMap::new(),
            recalled: BTreeMap::new(),
            next_lease,
            learning: false,
        };
        for row in rows {
            authority.load(row, now);
        }
        authority
    }

    /// Every window that is known, by key and start.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> + '_ {
        self.accounts.iter().map(|(id, account)| {
            let limit = self.limits.get(&id.key.limit).map(|guarded| &guarded.limit);
            let ceiling = limit.map_or(0, Limit::ceiling);
            account.view(id, limit.map_or(0, |limit| limit.quantity), ceiling)
        })
    }

    /// After the store was lost: denies everything until [`Self::finish_learning`], while leases of before run out.
    pub fn start_learning(&mut self) {
        self.learning = true;
    }

    /// Ends the learning, at the earliest a time to live and the drift of clocks after it began: `used` are the units
    /// that complete records show for each window.
    pub fn finish_learning(
        &mut self,
        used: impl IntoIterator<Item = (QuotaKey, Window, u64)>,
        now: Now,
    ) -> Step {
        self.learning = false;
        let mut work = step::Work::default();
        for (key, window, units) in used {
            let id = AccountId { key, window };
            let account = self.accounts.entry(id.clone()).or_default();
            account.settled = account.settled.max(units);
            work.changed_account(id);
        }
        self.finish(work, now)
    }

    fn holder(gateway: &GatewayId, epoch: u32) -> HolderId {
        HolderId { gateway: gateway.clone(), epoch }
    }

    /// Gateways that were heard of within a time to live, at least 1.
    fn live_gateways(&self, now: Now) -> u64 {
        let live = self.gateways.values().filter(|gateway| now.mono.since(gateway.seen) <= self.config.ttl);
        (live.count() as u64).max(1)
    }

    fn gone(lease: LeaseId) -> Answer {
        Answer::Gone { lease }
    }
}
