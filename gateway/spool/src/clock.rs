//! Wall time for records: the wall clock at start plus a monotonic clock, steered gently towards the wall clock.
//!
//! In: the monotonic clock, and the wall clock as observed about ten times a second. Out: microseconds since
//! 1970-01-01 UTC that do not jump back when somebody sets the clock. A step forward (resume from sleep, a corrected
//! clock) is followed at once; when the wall clock falls behind, this clock runs at half speed until they meet.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A wall clock ahead by more than this was set or slept, not steered.
const STEP_US: u64 = 1_000_000;

/// The clock of a spool's epoch.
pub struct Clock {
    monotonic: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The wall time at monotonic zero.
    anchor_us: AtomicU64,
    /// When the wall clock was last observed.
    observed_us: AtomicU64,
}

impl Clock {
    pub(crate) fn new(monotonic: Arc<dyn Fn() -> u64 + Send + Sync>, wall_us: u64) -> Self {
        let mono = monotonic();
        let anchor_us = AtomicU64::new(wall_us.saturating_sub(mono));
        Self { monotonic, anchor_us, observed_us: AtomicU64::new(mono) }
    }

    /// The time to put into a record, in microseconds since 1970-01-01 UTC. No system call on Linux.
    pub fn now_us(&self) -> u64 {
        self.anchor_us.load(Ordering::Relaxed).wrapping_add((self.monotonic)())
    }

    /// The wall time that stands for monotonic zero now.
    pub fn anchor_us(&self) -> u64 {
        self.anchor_us.load(Ordering::Relaxed)
    }

    /// Takes note of the wall clock; called by one thread only. Gives the steered time.
    pub(crate) fn observe(&self, wall_us: u64) -> u64 {
        let mono = (self.monotonic)();
        let elapsed = mono.saturating_sub(self.observed_us.swap(mono, Ordering::Relaxed));
        let now = self.anchor_us().wrapping_add(mono);
        let steered = steer(now, wall_us, elapsed);
        self.anchor_us.store(steered.wrapping_sub(mono), Ordering::Relaxed);
        steered
    }
}

/// Where the clock stands after it showed `now_us` while the wall clock showed `wall_us`, `elapsed_us` after the
/// last correction.
fn steer(now_us: u64, wall_us: u64, elapsed_us: u64) -> u64 {
    if wall_us >= now_us {
        let ahead = wall_us - now_us;
        if ahead > STEP_US { wall_us } else { now_us + ahead.min(elapsed_us / 2) }
    } else {
        now_us - (now_us - wall_us).min(elapsed_us / 2)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("anchor_us", &self.anchor_us()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_steps_forward_and_never_runs_back() {
        assert_eq!(steer(1_000, 10_000_000, 100), 10_000_000, "a step forward is followed");
        assert_eq!(steer(1_000_000, 1_000_400, 100), 1_000_050, "drift is steered");
        let (mut now, mut wall) = (90_000_000, 30_000_000u64);
        let mut ticks = 0;
        while now > wall {
            let before = now;
            now = steer(now + 100_000, wall + 100_000, 100_000);
            wall += 100_000;
            assert!(now >= before, "never back");
            ticks += 1;
        }
        assert_eq!((now, ticks), (wall, 1_200), "a minute ahead is gone after two minutes");
    }
}
