//! The gateway's side of the lease protocol: which keys need units, reports and returns now.
//!
//! In: nudges from workers, replies from the authority, the time. Out: batches to send, and the slots whose waiters
//! may try again. One task owns the holder and does the sending; workers see only [`Slot`]s. The holder never spends,
//! never waits, and stops every lease by itself when its time is over.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use crate::{
    clock::{Mono, RateBound},
    limit::{GatewayId, LeaseId, QuotaKey},
    message::{Answer, Ask, Batch, MAX_ITEMS, Reply, VERSION},
    slot::Slot,
};

mod closing;
mod entry;
#[cfg(test)]
mod tests;

use closing::Closings;
use entry::{Entry, Grant};

/// Entries that a round looks at for ones to forget.
const SWEPT_PER_ROUND: usize = 1024;

/// How a holder behaves.
#[derive(Debug, Clone)]
pub struct HolderConfig {
    /// The name of this gateway.
    pub gateway: GatewayId,
    /// Which life of it this is; must have been made durable before.
    pub epoch: u32,
    /// How far clock rates may err; as at the authority.
    pub bound: RateBound,
    /// Time between reports of a lease in use, at most the authority's time to live / 3.
    pub report_every: Duration,
    /// An ask without an answer is repeated after this.
    pub answer_within: Duration,
    /// A lease not used for so long is returned.
    pub idle_after: Duration,
}

impl HolderConfig {
    /// The defaults: reports each 250 ms, repeats after 500 ms, returns after 30 s.
    pub fn new(gateway: impl Into<GatewayId>, epoch: u32) -> Self {
        Self {
            gateway: gateway.into(),
            epoch,
            bound: RateBound::default(),
            report_every: Duration::from_millis(250),
            answer_within: Duration::from_millis(500),
            idle_after: Duration::from_secs(30),
        }
    }
}

/// What a reply changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Slots that got units or a denial: wake whoever waits for them.
    pub changed: Vec<Arc<Slot>>,
}

/// All leases of one life of one gateway.
#[derive(Debug)]
pub struct Holder {
    config: HolderConfig,
    entries: Slab<Entry>,
    by_key: HashMap<QuotaKey, usize>,
    by_lease: HashMap<LeaseId, usize>,
    /// Entries with a lease or a demand: looked at on every round.
    active: BTreeSet<usize>,
    /// Entries to look at on the next poll.
    nudged: BTreeSet<usize>,
    closings: Closings,
    /// The greatest lease that was closed for a key which is forgotten now.
    forgotten: Option<LeaseId>,
    /// Where the next round goes on looking for entries to forget.
    sweep_at: usize,
    next_round: Mono,
    /// Round trip to the authority, smoothed.
    round_trip: Duration,
    fenced: Option<u32>,
    closed: bool,
    registered: bool,
}

impl Holder {
    /// A holder without leases; its first batch registers it.
    pub fn new(config: HolderConfig, now: Mono) -> Self {
        Self {
            config,
            entries: Slab::new(),
            by_key: HashMap::new(),
            by_lease: HashMap::new(),
            active: BTreeSet::new(),
            nudged: BTreeSet::new(),
            closings: Closings::default(),
            forgotten: None,
            sweep_at: 0,
            next_round: now,
            round_trip: Duration::from_millis(5),
            fenced: None,
            closed: false,
            registered: false,
        }
    }

    /// The slot of `key`, made on first touch. The caller keeps its own concurrent map. A key is forgotten some time
    /// after the last [`Arc`] of its slot was dropped and its lease has ended.
    pub fn slot(&mut self, key: &QuotaKey) -> Arc<Slot> {
        let index = match self.by_key.get(key) {
            Some(index) => *index,
            None => self.track(key.clone()),
        };
        Arc::clone(self.entries[index].slot())
    }

    fn track(&mut self, key: QuotaKey) -> usize {
        let index = self.entries.insert(Entry::new(key.clone(), self.forgotten));
        self.by_key.insert(key, index);
        index
    }

    /// A worker met a slot that is empty, low, expired or exhausted.
    pub fn nudge(&mut self, slot: &Slot) {
        if let Some(index) = self.by_key.get(slot.key()) {
            self.nudged.insert(*index);
        }
    }

    /// Forgets keys that nobody holds a slot of and that have no lease: memory follows the subjects in use. What was
    /// closed for them stays closed by `forgotten`, as leases are numbered in the order of their making.
    fn sweep(&mut self) {
        let end = self.sweep_at + SWEPT_PER_ROUND;
        for index in self.sweep_at..end.min(self.entries.capacity()) {
            let idle = self.entries.get(index).is_some_and(Entry::is_forgettable);
            if !idle || self.active.contains(&index) || self.nudged.contains(&index) {
                continue;
            }
            let entry = self.entries.remove(index);
            self.by_key.remove(entry.slot().key());
            self.forgotten = self.forgotten.max(entry.last_closed());
        }
        self.sweep_at = if end >= self.entries.capacity() { 0 } else { end };
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// Returns the leases of keys that `keep` declines, for example of limits that a new snapshot no longer has.
    pub fn retain(&mut self, mut keep: impl FnMut(&QuotaKey) -> bool, now: Mono) {
        for index in self.active.clone() {
            if !keep(self.entries[index].slot().key()) {
                self.end_lease(index, now);
                self.active.remove(&index);
            }
        }
        self.next_round = now;
    }

    /// What to send now. Call it after nudges and at [`Self::next_poll`].
    pub fn poll(&mut self, now: Mono) -> Option<Batch> {
        if self.fenced.is_some() {
            return None;
        }
        let round = now >= self.next_round;
        if round {
            self.next_round = now.plus(self.config.report_every);
            self.sweep();
        }
        let due = std::mem::take(&mut self.nudged);
        self.active.extend(due.iter().copied());
        let mut look = if round { self.active.clone() } else { due };
        let mut acquires = Vec::new();
        while let Some(index) = look.pop_first() {
            if acquires.len() >= MAX_ITEMS / 2 {
                // The rest waits for the next poll, which is due at once.
                look.insert(index);
                self.nudged.append(&mut look);
                break;
            }
            acquires.extend(self.look_at(index, now));
        }
        // Returns go first, so that a key which rolls over is closed before it is asked for again.
        let mut asks = self.closings.due(now, self.config.report_every, MAX_ITEMS / 2);
        asks.append(&mut acquires);
        if asks.is_empty() && (self.registered || !round) {
            return None;
        }
        let gateway = self.config.gateway.clone();
        Some(Batch { version: VERSION, gateway, epoch: self.config.epoch, sent: now, asks })
    }

    /// Looks after one entry; what to ask about it.
    fn look_at(&mut self, index: usize, now: Mono) -> Option<Ask> {
        let entry = &mut self.entries[index];
        entry.measure(now);
        if entry.is_over(now, self.config.idle_after) || (self.closed && entry.lease().is_some()) {
            self.end_lease(index, now);
        }
        let entry = &mut self.entries[index];
        if self.closed {
            self.active.remove(&index);
            return None;
        }
        let ask = entry.ask(now, self.config.answer_within);
        if entry.is_waiting() {
            // Look again when the ask may be repeated.
            let at = entry.quiet_until(self.config.answer_within).max(now.plus(Duration::from_millis(1)));
            self.next_round = self.next_round.min(at);
        }
        if entry.lease().is_none() && !entry.is_waiting() {
            self.active.remove(&index);
        }
        ask
    }

    fn end_lease(&mut self, index: usize, now: Mono) {
        if let Some((lease, spent)) = self.entries[index].end() {
            self.by_lease.remove(&lease);
            self.closings.add(lease, spent, now);
        }
    }

    /// When to poll next without a nudge.
    pub fn next_poll(&self) -> Mono {
        if self.nudged.is_empty() { self.next_round } else { Mono::ZERO }
    }

    /// The batch that was sent at `sent` got no usable answer: what it asked is asked again, after a pause.
    pub fn failed(&mut self, sent: Mono, now: Mono) {
        let retry = now.plus(self.config.answer_within.min(Duration::from_millis(50)));
        for index in &self.active {
            self.entries[*index].failed(sent, retry);
        }
        self.next_round = retry;
    }

    /// Every spend made before `instant` has its record in the spool: what was returned before is final.
    pub fn recorded_through(&mut self, instant: Mono) {
        self.closings.recorded_through(instant);
    }

    /// Takes in the authority's answers. Replies to other lives of this gateway are ignored.
    pub fn apply(&mut self, reply: &Reply, now: Mono) -> Applied {
        let mut applied = Applied::default();
        let mine = reply.gateway == self.config.gateway && reply.epoch == self.config.epoch;
        if !mine || self.fenced.is_some() {
            return applied;
        }
        self.registered = true;
        self.round_trip = (self.round_trip * 7 + now.since(reply.sent)) / 8;
        for answer in &reply.answers {
            if let Some(index) = self.take_in(answer, reply.sent, now) {
                applied.changed.push(Arc::clone(self.entries[index].slot()));
            }
        }
        applied
    }

    /// Takes in one answer; the entry whose waiters it concerns.
    fn take_in(&mut self, answer: &Answer, sent: Mono, now: Mono) -> Option<usize> {
        match answer {
            Answer::Grant { key, lease, granted, ttl_ms, limits } => {
                let deadline = self.config.bound.holder_deadline(sent, Duration::from_millis(*ttl_ms));
                let grant = Grant { lease: *lease, granted: *granted, deadline, limits: *limits };
                self.granted(key, &grant, sent, now)
            }
            Answer::Denied { key, retry_after_ms, limits, reason } => {
                let index = *self.by_key.get(key)?;
                let retry = now.plus(Duration::from_millis(*retry_after_ms));
                self.entries[index].denied(*reason, limits.as_ref(), retry, now);
                Some(index)
            }
            Answer::Recall { lease } => {
                let index = *self.by_lease.get(lease)?;
                self.entries[index].give_back();
                self.nudged.insert(index);
                None
            }
            Answer::Ended { lease } | Answer::Gone { lease } => {
                let gone = matches!(answer, Answer::Gone { .. });
                self.ended(*lease, gone, now)
            }
            Answer::Returned { lease, settled } => {
                self.closings.acknowledged(*lease, *settled);
                None
            }
            Answer::Fenced { epoch } => {
                self.fenced = Some(*epoch);
                for index in std::mem::take(&mut self.active) {
                    let _ = self.entries[index].end();
                }
                None
            }
        }
    }

    fn granted(&mut self, key: &QuotaKey, grant: &Grant, sent: Mono, now: Mono) -> Option<usize> {
        let found = self.by_key.get(key).copied().filter(|index| self.may_use(*index, grant.lease));
        let Some(index) = found else {
            // A grant that comes too late, or that nobody wants any more: back it goes, and it is never used.
            self.closings.disown(grant.lease, now);
            return None;
        };
        if self.entries[index].lease() != Some(grant.lease) {
            self.end_lease(index, now);
            self.by_lease.insert(grant.lease, index);
        }
        self.entries[index].granted(grant, sent, now, self.round_trip);
        self.active.insert(index);
        Some(index)
    }

    /// Whether a grant of `lease` may be used. What was closed here, or is older than what was, must never come back
    /// to life: the authority has its final count.
    fn may_use(&self, index: usize, lease: LeaseId) -> bool {
        let entry = &self.entries[index];
        match entry.lease() {
            Some(current) if current == lease => true,
            Some(current) if current > lease => false,
            _ => !self.closed && !self.closings.has_seen(lease) && !entry.knows_closed(lease),
        }
    }

    fn ended(&mut self, lease: LeaseId, gone: bool, now: Mono) -> Option<usize> {
        let Some(index) = self.by_lease.get(&lease).copied() else {
            if gone {
                self.closings.acknowledged(lease, true);
            } else {
                // Never heard of, or forgotten: nothing was or will be spent from it.
                self.closings.disown(lease, now);
            }
            return None;
        };
        self.end_lease(index, now);
        if gone {
            self.closings.acknowledged(lease, true);
        }
        self.nudged.insert(index);
        Some(index)
    }

    /// Returns everything and asks for nothing more. Poll and apply until [`Self::is_drained`].
    pub fn close(&mut self, now: Mono) {
        self.closed = true;
        for index in std::mem::take(&mut self.active) {
            self.end_lease(index, now);
        }
        self.next_round = now;
    }

    /// After [`Self::close`]: the authority has acknowledged every return. Those not yet recorded settle from the spool.
    pub fn is_drained(&self) -> bool {
        self.fenced.is_some() || (self.closed && self.closings.all_acknowledged())
    }

    /// The newer epoch, if one has registered: this life must stop.
    pub fn fenced(&self) -> Option<u32> {
        self.fenced
    }
}
