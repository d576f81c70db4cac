//! Time as the protocol uses it: monotonic instants, and the bound on how far two clocks may drift apart.
//!
//! Invariant Q3 rests on this module alone: a holder stops using a lease before the authority may reclaim it,
//! although the two never agree on the time of day. Only the *rate* of both clocks is bounded. The module never
//! reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on one process's monotonic clock, in nanoseconds since a start that only that process knows.
///
/// Instants of two processes (or of two lives of one process) must never be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(u64);

impl Mono {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than every instant that a process lives to see (584 years).
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `by` later, or [`Mono::NEVER`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to `self`, zero if `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// How far the rate of any clock in the fleet may be from true time, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateBound {
    ppm: u32,
}

impl Default for RateBound {
    /// 1000 ppm: ten times what an undisciplined quartz does.
    fn default() -> Self {
        Self::from_ppm(1_000)
    }
}

impl RateBound {
    /// A bound of `ppm`, at most 100,000 (10 %).
    pub const fn from_ppm(ppm: u32) -> Self {
        Self { ppm: if ppm > 100_000 { 100_000 } else { ppm } }
    }

    /// When a holder must stop: counted from the moment it *sent* the request which the authority answered with
    /// `ttl`. Counting from the receipt of the answer would break Q3, as the answer may have been under way for long.
    pub fn holder_deadline(self, sent: Mono, ttl: Duration) -> Mono {
        sent.plus(ttl.saturating_sub(self.drift(ttl)))
    }

    /// When the authority may take the holder for stopped: counted from the moment it handled the request.
    /// Both clocks may err in opposite directions, hence twice the drift and a millisecond for rounding.
    pub fn authority_deadline(self, handled: Mono, ttl: Duration) -> Mono {
        handled.plus(ttl).plus(self.drift(ttl) * 2).plus(Duration::from_millis(1))
    }

    fn drift(self, of: Duration) -> Duration {
        of.mul_f64(f64::from(self.ppm) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For any pair of clock rates within the bound, the holder's deadline passes in true time before the
        /// authority's, even if the request took no time at all to arrive.
        #[test]
        fn holder_stops_first(ttl_ms in 0_u64..100_000, ppm in 0_u32..20_000, slow in 0.0_f64..1.0, fast in 0.0_f64..1.0) {
            let bound = RateBound::from_ppm(ppm);
            let error = f64::from(ppm) / 1e6;
            let ttl = Duration::from_millis(ttl_ms);
            let holder_rate = 1.0 - error * slow;
            let authority_rate = 1.0 + error * fast;
            let holder_true = bound.holder_deadline(Mono::ZERO, ttl).as_nanos() as f64 / holder_rate;
            let authority_true = bound.authority_deadline(Mono::ZERO, ttl).as_nanos() as f64 / authority_rate;
            prop_assert!(holder_true < authority_true);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Mono::NEVER.plus(Duration::from_secs(1)), Mono::NEVER);
        assert_eq!(Mono::ZERO.since(Mono::from_nanos(5)), Duration::ZERO);
    }
}
