//! When a limit will be reached at the present rate.
//!
//! In: use so far, the rate, the window. Out: use at the end of the window and the moment of exhaustion.
//! A forecast warns people; it never refuses a request.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What the present rate leads to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forecast {
    /// Units at the end of the window.
    pub at_end: u64,
    /// When the limit is reached; nothing when the window ends first.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub exhausted_at: Option<Timestamp>,
    /// Units per second that the forecast goes by.
    pub rate_per_second: f64,
}

/// Where a limit stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Units used.
    pub used: u64,
    /// Units allowed.
    pub max: u64,
    /// When the window began.
    pub window_start: Timestamp,
    /// When the window ends.
    pub window_end: Timestamp,
    /// Units used lately, and in how many seconds; no seconds: the whole window is the only witness.
    pub recent: (u64, f64),
}

impl Standing {
    /// Extends the rate of late, or of the window as a whole where that is higher, to the end of the window.
    ///
    /// The higher of both warns early when traffic rises, and keeps warning through a quiet minute.
    pub fn forecast(&self, now: Timestamp) -> Forecast {
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        let elapsed = seconds(self.window_start, now).max(1.0);
        let overall = self.used as f64 / elapsed;
        let recent = if self.recent.1 > 0.0 { self.recent.0 as f64 / self.recent.1 } else { 0.0 };
        let rate = overall.max(recent);
        let left = seconds(now, self.window_end).max(0.0);
        let at_end = (self.used as f64 + rate * left).min(u64::MAX as f64) as u64;
        Forecast { at_end, exhausted_at: self.exhausted_at(now, rate, left), rate_per_second: rate }
    }

    fn exhausted_at(&self, now: Timestamp, rate: f64, left: f64) -> Option<Timestamp> {
        if self.used >= self.max {
            return Some(now);
        }
        let wait = (self.max - self.used) as f64 / rate;
        // Also false when the rate is zero and the wait is infinite.
        (wait < left)
            .then(|| now.checked_add(SignedDuration::from_millis((wait * 1000.0) as i64)).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(used: u64, recent: (u64, f64)) -> Standing {
        Standing {
            used,
            max: 1_000,
            window_start: "2026-11-23T00:00:00Z".parse().unwrap(),
            window_end: "2026-11-24T00:00:00Z".parse().unwrap(),
            recent,
        }
    }

    fn noon() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_steady_rate_doubles_from_noon_to_midnight() {
        let found = standing(400, (0, 0.0)).forecast(noon());
        assert_eq!((found.at_end, found.exhausted_at), (800, None));
    }

    #[test]
    fn a_rising_rate_names_the_moment() {
        let found = standing(400, (60, 60.0)).forecast(noon());
        assert_eq!(found.exhausted_at.unwrap().to_string(), "2026-11-23T12:10:00Z");
        assert_eq!(found.at_end, 400 + 43_200);
    }

    #[test]
    fn nothing_used_is_nothing_forecast_and_a_full_limit_is_exhausted_now() {
        let quiet = standing(0, (0, 60.0)).forecast(noon());
        assert_eq!((quiet.at_end, quiet.exhausted_at), (0, None));
        assert_eq!(standing(1_000, (0, 0.0)).forecast(noon()).exhausted_at, Some(noon()));
    }

    #[test]
    fn extremes_stay_finite() {
        let mut wild = standing(u64::MAX, (u64::MAX, 1e-9));
        wild.window_end = Timestamp::MAX;
        assert!(wild.forecast(Timestamp::MIN).rate_per_second.is_finite());
        wild.used = 0;
        assert!(wild.forecast(noon()).at_end > 0);
    }
}
