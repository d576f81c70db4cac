//! One segment on its way into the store.
//!
//! In: outcomes and counts, each with the time. Out: the next phase. The rule that makes it exact is
//! [`Held::counted`]: zero rows permit an insert only if the count was asked after every earlier attempt was dead.

use analytics_record::segment::{Header, Totals};

use crate::config::Config;

/// What happens to a segment now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be counted, not before this time.
    Waiting { not_before_us: u64 },
    /// Being counted by this query, asked at this time.
    Counting { query: u64, asked_us: u64 },
    /// Counted as absent with no attempt alive: may be inserted, not before this time.
    Ready { not_before_us: u64 },
    /// Being inserted by this attempt.
    Inserting { attempt: u64 },
}

/// What a count says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All rows are there, once.
    Audited,
    /// None is there, or it is too early to tell: go on.
    GoOn,
    /// Some rows are there, or more than there should be.
    Mismatch,
}

/// A segment that was taken in and is not yet audited.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub header: Header,
    pub phase: Phase,
    /// Inserts tried in this life of the service.
    pub attempts: u32,
    /// When the last of them was sent, 0 for never.
    pub sent_us: u64,
    /// From this time on, no earlier insert of this segment can still be committed.
    pub dead_from_us: u64,
    /// Refusals and failed counts in a row.
    pub failures: u32,
    /// Whether a mismatch was reported already.
    pub alarmed: bool,
}

impl Held {
    /// A segment just taken in; inserts of an earlier life are dead from `dead_from_us` on.
    pub(crate) fn new(header: Header, now_us: u64, dead_from_us: u64) -> Self {
        let phase = Phase::Waiting { not_before_us: now_us };
        Self { header, phase, attempts: 0, sent_us: 0, dead_from_us, failures: 0, alarmed: false }
    }

    /// The token of the next attempt: never used twice in one life, so that a token without data cannot swallow it.
    pub(crate) fn token(&self) -> String {
        format!("{}:{}:r{}", self.header.name, self.header.schema, self.attempts)
    }

    /// The insert was answered with success: it is over, and a count decides.
    pub(crate) fn insert_answered(&mut self, now_us: u64) {
        self.dead_from_us = now_us;
        self.phase = Phase::Waiting { not_before_us: now_us };
    }

    /// The insert was surely not run.
    pub(crate) fn insert_refused(&mut self, now_us: u64, config: &Config) {
        self.dead_from_us = now_us;
        self.wait(now_us, config);
    }

    /// Nobody knows what became of the insert; it may be committed until its afterlife is over.
    pub(crate) fn insert_ambiguous(&mut self, now_us: u64, config: &Config) {
        self.dead_from_us = now_us.saturating_add(config.afterlife_us());
        self.wait(now_us, config);
    }

    /// Whatever was tried before is known to be dead.
    pub(crate) fn fence(&mut self, now_us: u64) {
        if matches!(self.phase, Phase::Inserting { .. }) {
            return;
        }
        self.dead_from_us = self.dead_from_us.min(now_us);
        if let Phase::Waiting { not_before_us } = &mut self.phase {
            *not_before_us = (*not_before_us).min(now_us);
        }
    }

    /// The count could not be read.
    pub(crate) fn count_failed(&mut self, now_us: u64, config: &Config) {
        self.wait(now_us, config);
    }

    /// The store holds `found` of this segment, as of a query asked at `asked_us`.
    pub(crate) fn counted(&mut self, found: Totals, asked_us: u64, now_us: u64, config: &Config) -> Verdict {
        if found == self.header.totals {
            return Verdict::Audited;
        }
        if found.rows != 0 {
            // One block is all or nothing, so this is damage or a second copy. Keep counting: a repair ends it.
            self.phase = Phase::Waiting { not_before_us: now_us.saturating_add(config.backoff_max_us) };
            return Verdict::Mismatch;
        }
        self.alarmed = false;
        if asked_us >= self.dead_from_us {
            let wait = if self.failures == 0 { 0 } else { config.backoff_us(self.failures - 1) };
            self.phase = Phase::Ready { not_before_us: now_us.saturating_add(wait) };
        } else {
            // Counting again before the end of the afterlife finds a late commit early; it permits nothing.
            let next = now_us.saturating_add(config.backoff_us(self.failures));
            self.phase = Phase::Waiting { not_before_us: next.min(self.dead_from_us).max(now_us) };
            self.failures = self.failures.saturating_add(1);
        }
        Verdict::GoOn
    }

    fn wait(&mut self, now_us: u64, config: &Config) {
        self.phase =
            Phase::Waiting { not_before_us: now_us.saturating_add(config.backoff_us(self.failures)) };
        self.failures = self.failures.saturating_add(1);
    }
}
