//! Deadlines and limits of ingestion.
//!
//! In: what a deployment chooses. Out: durations in microseconds. The safety of a retry rests on `insert_deadline_us`
//! and `slack_us`: an insert that was given up must be dead after both have passed.

/// The present, as the service reads it before each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A monotonic clock, microseconds of any origin: all waiting is measured with it.
    pub mono_us: u64,
    /// The wall clock, microseconds since 1970-01-01 UTC: compared with the age of rows only.
    pub wall_us: u64,
}

/// Settings of ingestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The store gives up an insert after this long (`max_execution_time`), in microseconds.
    pub insert_deadline_us: u64,
    /// How much later than its deadline the store may still commit an insert, in microseconds.
    pub slack_us: u64,
    /// Wait before the first retry after a refusal or a failed count, in microseconds; doubles each time.
    pub backoff_min_us: u64,
    /// Longest wait between retries, in microseconds.
    pub backoff_max_us: u64,
    /// Most segments taken in and not yet audited; more are answered `busy`.
    pub max_held: usize,
    /// Most inserts at a time.
    pub max_inserts: usize,
    /// Most segments counted by one query.
    pub verify_batch: usize,
    /// Rows older than this are dropped by the store at once, so such segments are not inserted, in microseconds.
    pub retention_us: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insert_deadline_us: 10_000_000,
            slack_us: 2_000_000,
            backoff_min_us: 100_000,
            backoff_max_us: 5_000_000,
            max_held: 256,
            max_inserts: 2,
            verify_batch: 64,
            retention_us: 35 * 86_400_000_000,
        }
    }
}

impl Config {
    /// How long after it was given up an insert may still be committed, in microseconds.
    pub(crate) fn afterlife_us(&self) -> u64 {
        self.insert_deadline_us.saturating_add(self.slack_us)
    }

    /// The wait before retry number `failures`, in microseconds.
    pub(crate) fn backoff_us(&self, failures: u32) -> u64 {
        let factor = 1u64.checked_shl(failures.min(20)).unwrap_or(1 << 20);
        self.backoff_min_us.saturating_mul(factor).min(self.backoff_max_us)
    }
}
