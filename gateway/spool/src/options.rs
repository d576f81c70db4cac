//! How large, how often: the settings of a spool.
//!
//! In: what a deployment chooses. Out: values that the spool takes as they are; [`Options::checked`] refuses those
//! that cannot work, with the cure.

use std::time::Duration;

/// Settings of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Rings; one per worker thread keeps their locks uncontended.
    pub shards: u8,
    /// Bytes of each ring. About 250 bytes per request; it must hold what comes in during one `seal_age`.
    pub ring_bytes: usize,
    /// Slots for exact counts when a ring is full.
    pub overflow_slots: usize,
    /// A segment is cut at this many rows.
    pub seal_rows: usize,
    /// A segment is cut at this many bytes of ring entries.
    pub seal_bytes: u64,
    /// A segment is cut when its oldest record is this old.
    pub seal_age: Duration,
    /// Bytes that sealed segments may take. From 80 % of it on, new segments keep counts without detail.
    pub budget_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 2,
            ring_bytes: 16 << 20,
            overflow_slots: 8192,
            seal_rows: 65_536,
            seal_bytes: 8 << 20,
            seal_age: Duration::from_secs(1),
            budget_bytes: 4 << 30,
        }
    }
}

impl Options {
    /// The settings, or what is wrong with them.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.shards == 0 {
            return Err("shards is 0: set it to the number of worker threads".to_owned());
        }
        if !(4096..=1 << 30).contains(&self.ring_bytes) {
            return Err(format!("ring_bytes is {}: choose 4 KiB to 1 GiB", self.ring_bytes));
        }
        if !(1..=1 << 20).contains(&self.overflow_slots) {
            return Err(format!("overflow_slots is {}: choose 1 to 1048576", self.overflow_slots));
        }
        if !(1..=analytics_record::segment::MAX_ROWS).contains(&self.seal_rows) {
            return Err(format!("seal_rows is {}: choose 1 to 1000000", self.seal_rows));
        }
        Ok(self)
    }

    /// Bytes of segments above which detail is given up.
    pub(crate) fn soft_budget_bytes(&self) -> u64 {
        self.budget_bytes / 5 * 4
    }
}
