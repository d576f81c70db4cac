//! The two clocks of the process, read in one place.
//!
//! Out: monotonic time since start (for deadlines and leases) and wall time (for windows and people).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Both clocks; copies share the same start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since this process started its clock.
    pub(crate) fn mono_ns(self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Wall time.
    #[expect(clippy::unused_self, reason = "callers hold one clock, not two")]
    pub(crate) fn wall(self) -> Timestamp {
        Timestamp::now()
    }

    /// Wall time in microseconds since 1970.
    #[expect(clippy::unused_self, reason = "callers hold one clock, not two")]
    pub(crate) fn wall_us(self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}
