//! The process's clocks, read once where both are needed.

use std::time::{Duration, Instant, SystemTime};

use gateway_pipeline::Now;
use gateway_quota::Mono;
use gateway_spool::Spool;

/// Monotonic time since the start, and wall time that never goes back within an epoch of the spool.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    spool: Spool,
}

impl Clock {
    pub(crate) fn new(spool: Spool) -> Self {
        Self { start: Instant::now(), spool }
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        Now { mono_ns: self.mono_ns_of(Instant::now()), unix_us: self.spool.clock().now_us() as i64 }
    }

    /// Monotonic nanoseconds of an instant.
    pub(crate) fn mono_ns_of(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_nanos() as u64
    }

    /// Monotonic time for leases.
    pub(crate) fn mono(&self) -> Mono {
        Mono::from_nanos(self.mono_ns_of(Instant::now()))
    }

    /// Monotonic milliseconds.
    pub(crate) fn mono_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// The instant of a monotonic time.
    pub(crate) fn instant(&self, mono: Mono) -> Instant {
        self.start + Duration::from_nanos(mono.as_nanos())
    }
}

/// The system's wall clock, microseconds since 1970.
pub(crate) fn wall_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
