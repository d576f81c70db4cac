//! Token buckets, as plans and RateLimitPolicies write them.

use std::time::Duration;

use gateway_quota::rate::Rate;

use crate::check::shown;
use crate::field::Field;
use crate::problem::Problem;

/// Longest period of a bucket, milliseconds; what is longer is a quota.
const MAX_PERIOD: u64 = 24 * 3_600_000;

/// Length of `period` in milliseconds, never 0.
pub(crate) fn period_ms(period: &crds::Duration, field: &Field<'_>) -> Result<u64, Problem> {
    match period.millis() {
        Some(ms @ 1..=MAX_PERIOD) => Ok(ms),
        Some(ms) => {
            let message = format!("{ms} ms is not between 1ms and 24h; use a quota for longer times");
            Err(Problem::invalid(&field.key("period"), message))
        }
        None => {
            let message = format!("{} is not a duration such as `1s` or `1m`", shown(&period.0));
            Err(Problem::invalid(&field.key("period"), message))
        }
    }
}

/// Units and burst of a bucket that can be kept; the burst is `units` when absent.
pub(crate) fn rate(
    units: u64,
    period_ms: u64,
    burst: Option<u64>,
    field: &Field<'_>,
) -> Result<(u64, u64), Problem> {
    let burst = burst.unwrap_or(units);
    Rate::new(units, Duration::from_millis(period_ms), burst)
        .map(|_| (units, burst))
        .map_err(|error| Problem::invalid(field, error))
}
