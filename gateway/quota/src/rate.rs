//! Token buckets for short windows, by the generic cell rate algorithm (GCRA).
//!
//! In: a rate, a number of units and the time. Out: allowed or not, what remains, when more comes. A bucket is one
//! atomic word; buckets of several gateways with split rates never admit more together than one bucket would
//! (arrival curves add). The module never reads a clock and never sends a message.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::clock::Mono;

#[cfg(test)]
mod tests;

/// Time inside a bucket is counted in sixteenths of a nanosecond, so that a billion units per second keep their rate.
const TICKS_PER_NANO: u128 = 16;

/// The longest time that a full bucket may stand for: a year. Keeps all sums far from overflow.
const MAX_FILL: u128 = 366 * 86_400 * 1_000_000_000 * TICKS_PER_NANO;

/// So many units per period, and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    units: u64,
    period: Duration,
    burst: u64,
    /// Ticks between two units, rounded up: the bucket is never faster than the rate.
    interval: u64,
    /// Ticks that a full bucket stands for.
    fill: u64,
}

/// Why a rate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No units, no burst, or no time.
    #[error("a rate needs at least 1 unit, a burst of at least 1 and a period of at least 1 ns")]
    Zero,
    /// A full bucket would take more than a year to fill.
    #[error("burst: {burst} units would take more than a year to come back; lower it or raise the rate")]
    Slow {
        /// The burst.
        burst: u64,
    },
}

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The units are taken.
    Allowed {
        /// Units that could be taken at once now.
        remaining: u64,
        /// Until the bucket is full again.
        reset: Duration,
    },
    /// Nothing is taken.
    Limited {
        /// Units that could be taken at once now.
        remaining: u64,
        /// Until these units could be taken; [`Duration::MAX`] if they are more than the burst.
        retry_after: Duration,
    },
}

impl Rate {
    /// `units` per `period`, at most `burst` at once.
    ///
    /// # Errors
    /// [`RateError`] if nothing could ever pass, or the bucket would take more than a year to fill.
    pub fn new(units: u64, period: Duration, burst: u64) -> Result<Self, RateError> {
        if units == 0 || burst == 0 || period.is_zero() {
            return Err(RateError::Zero);
        }
        let ticks = period.as_nanos().checked_mul(TICKS_PER_NANO).ok_or(RateError::Slow { burst })?;
        let interval = ticks.div_ceil(u128::from(units));
        let fill = interval.checked_mul(u128::from(burst)).filter(|fill| *fill <= MAX_FILL);
        let fill = fill.ok_or(RateError::Slow { burst })?;
        Ok(Self { units, period, burst, interval: interval as u64, fill: fill as u64 })
    }

    /// Units per period.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Units at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Shares for gateways of the given weights: their units and bursts add up to at most this rate's. `None` where
    /// a share comes to nothing. Before a gateway gets a larger share, the others must have confirmed their smaller one.
    pub fn split(&self, weights: &[u32]) -> Vec<Option<Self>> {
        let units = shares(self.units, weights);
        let bursts = shares(self.burst, weights);
        units
            .into_iter()
            .zip(bursts)
            .map(|(units, burst)| Self::new(units, self.period, burst).ok())
            .collect()
    }
}

/// Parts of `whole` in proportion to `weights`, which add up to `whole` (or to 0 without weights).
fn shares(whole: u64, weights: &[u32]) -> Vec<u64> {
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    let mut seen = 0_u128;
    let mut given = 0_u64;
    let part = |weight: &u32| {
        seen += u128::from(*weight);
        let up_to = (u128::from(whole) * seen).checked_div(total).unwrap_or(0) as u64;
        let share = up_to - given;
        given = up_to;
        share
    };
    weights.iter().map(part).collect()
}

/// One bucket. The rate comes with every call, so a new configuration takes effect at once and clips what is saved up.
#[derive(Debug, Default)]
pub struct Bucket {
    /// The theoretical arrival time: when the bucket is full again, in ticks.
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub const fn new() -> Self {
        Self { full_at: AtomicU64::new(0) }
    }

    /// Takes `units`, all or none. There is no giving back: a unit returned late would let a burst pass twice.
    pub fn take(&self, rate: &Rate, units: u64, now: Mono) -> Verdict {
        let now = ticks(now);
        let cost = rate.interval.saturating_mul(units);
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let debt = full_at.saturating_sub(now);
            let new_debt = debt.saturating_add(cost);
            if new_debt > rate.fill {
                let wait = if units > rate.burst { Duration::MAX } else { duration(new_debt - rate.fill) };
                return Verdict::Limited { remaining: rate.remaining(debt), retry_after: wait };
            }
            // Relaxed is enough: the word orders nothing but itself.
            match self.full_at.compare_exchange_weak(full_at, now + new_debt, Relaxed, Relaxed) {
                Ok(_) => {
                    return Verdict::Allowed {
                        remaining: rate.remaining(new_debt),
                        reset: duration(new_debt),
                    };
                }
                Err(current) => full_at = current,
            }
        }
    }
}

impl Rate {
    fn remaining(&self, debt: u64) -> u64 {
        self.fill.saturating_sub(debt) / self.interval
    }
}

/// Saturates after 36 years of one process.
fn ticks(now: Mono) -> u64 {
    now.as_nanos().saturating_mul(TICKS_PER_NANO as u64).min(u64::MAX / 4)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_NANO as u64))
}
