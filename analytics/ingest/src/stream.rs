//! How far one stream is: which prefix of its segments is audited, and through which time that makes it complete.
//!
//! In: audited segments and what the gateway says, in any order, any number of times. Out: marks that only grow.

use std::collections::{BTreeMap, BTreeSet};

use analytics_record::segment::Hash;
use analytics_record::wire::StreamFacts;

use crate::ledger::StreamStatus;

/// Most times remembered for prefixes that are not audited yet; dropping one only makes progress coarser.
const MAX_PROMISES: usize = 4096;

/// The state of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    /// Segments `0..audited` are in the store, or their loss is declared.
    pub audited: u32,
    /// The largest `next_seq` heard of.
    pub next_seq: u32,
    /// No segment follows `next_seq - 1`.
    pub closed: bool,
    /// The stream is complete through this time.
    pub complete_through_us: u64,
    /// A gateway spoke of it: the completeness of the whole waits for it.
    pub expected: bool,
    /// Taken out of the completeness of the whole by an operator; what comes later is a correction.
    pub given_up: bool,
    /// When a heartbeat last spoke of it, monotonic microseconds.
    pub heard_us: u64,
    /// Content hashes of audited segments that the gateway may still hold.
    hashes: BTreeMap<u32, Hash>,
    /// Segments that will never come.
    lost: BTreeSet<u32>,
    /// Once segments `0..key` are audited, the stream is complete through the value.
    promises: BTreeMap<u32, u64>,
}

impl StreamState {
    /// The state that an earlier life wrote down.
    pub(crate) fn resume(known: &StreamStatus) -> Self {
        Self {
            audited: known.audited,
            next_seq: known.next_seq,
            closed: known.closed,
            complete_through_us: known.complete_through_us,
            expected: known.expected,
            given_up: known.given_up,
            ..Self::default()
        }
    }

    /// Whether the stream is closed and audited to its end.
    pub(crate) fn finished(&self) -> bool {
        self.closed && self.audited >= self.next_seq
    }

    /// Whether segment `seq` is in the store.
    pub(crate) fn is_audited(&self, seq: u32) -> bool {
        (seq < self.audited && !self.lost.contains(&seq)) || self.hashes.contains_key(&seq)
    }

    /// The content hash of an audited segment, while it is remembered.
    pub(crate) fn hash(&self, seq: u32) -> Option<Hash> {
        self.hashes.get(&seq).copied()
    }

    /// Takes note that segment `seq` was counted in the store.
    pub(crate) fn audit(&mut self, seq: u32, hash: Hash, complete_through_us: u64) {
        self.hashes.insert(seq, hash);
        self.lost.remove(&seq);
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
        self.promise(seq.saturating_add(1), complete_through_us);
        self.advance();
    }

    /// Takes note of what the gateway says. What it does not hold any more was audited in an earlier life.
    pub(crate) fn hear(&mut self, facts: &StreamFacts, now_us: u64) {
        self.heard_us = self.heard_us.max(now_us);
        self.expected = true;
        self.next_seq = self.next_seq.max(facts.next_seq);
        self.closed |= facts.closed;
        self.audited = self.audited.max(facts.first_held);
        self.promise(facts.next_seq, facts.complete_through_us);
        self.advance();
        self.hashes = self.hashes.split_off(&facts.first_held);
    }

    /// Takes note that segment `seq` will never come; true the first time.
    pub(crate) fn lose(&mut self, seq: u32) -> bool {
        if self.is_audited(seq) || !self.lost.insert(seq) {
            return false;
        }
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
        self.advance();
        true
    }

    /// How many segments are declared lost.
    pub(crate) fn lost(&self) -> usize {
        self.lost.len()
    }

    fn promise(&mut self, next_seq: u32, through_us: u64) {
        let promise = self.promises.entry(next_seq).or_default();
        *promise = (*promise).max(through_us);
        while self.promises.len() > MAX_PROMISES {
            self.promises.pop_first();
        }
    }

    fn advance(&mut self) {
        while self.hashes.contains_key(&self.audited) || self.lost.contains(&self.audited) {
            self.audited += 1;
        }
        let open = self.promises.split_off(&self.audited.saturating_add(1));
        let kept = std::mem::replace(&mut self.promises, open);
        let through = kept.into_values().max().unwrap_or(0);
        self.complete_through_us = self.complete_through_us.max(through);
    }
}

#[cfg(test)]
mod tests;
