//! The process's clocks, read once where both are needed.

use std::time::{Duration, Instant, SystemTime};

use gateway_pipeline::Now;
use gateway_quota::Mono;
use gateway_spool::Spool;

/// Monotonic time since the start, and wall time that never goes back within an epoch of the spool.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    /// Where the spool's monotonic clock stood then, microseconds.
    start_us: u64,
    spool: Spool,
}

impl Clock {
    pub(crate) fn new(spool: Spool) -> Self {
        let clock = spool.clock();
        let start_us = clock.now_us().wrapping_sub(clock.anchor_us());
        Self { start: Instant::now(), start_us, spool }
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// Both clocks as they stood at an instant.
    pub(crate) fn at(&self, at: Instant) -> Now {
        let mono_ns = self.mono_ns_of(at);
        let since_us = self.start_us.wrapping_add(mono_ns / 1_000);
        Now { mono_ns, unix_us: self.spool.clock().anchor_us().wrapping_add(since_us) as i64 }
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
        self.mono_ms_of(Instant::now())
    }

    /// Monotonic milliseconds of an instant.
    pub(crate) fn mono_ms_of(&self, at: Instant) -> u64 {
        self.mono_ns_of(at) / 1_000_000
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
