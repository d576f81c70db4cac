//! Calendar windows: which half-open span of time, in UTC instants, a moment belongs to.
//!
//! In: a period, an IANA time zone and an anchor. Out: windows that tile time without gap or overlap (Q11), also
//! where days have 23, 24.5 or 48 hours, months have 28 days, or a zone skips a whole day. Only the authority asks
//! this module which window it is; gateways get durations. It never reads a clock and uses only the zone data that
//! is built in.

use jiff::{
    Span, Timestamp,
    civil::{DateTime, date},
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Period {
    /// 60 seconds, always.
    Minute,
    /// 3600 seconds, always: a local hour that the clock repeats is two windows.
    Hour,
    /// From one local midnight (or anchor time) to the next.
    Day,
    /// Seven days.
    Week,
    /// A month; from an anchor on the 31st, months without one start on their last day.
    Month,
    /// A year.
    Year,
}

/// A half-open span `[start, end)` of UTC instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The first instant that belongs to it.
    pub start: Timestamp,
    /// The first instant that does not.
    pub end: Timestamp,
}

impl Window {
    /// Whether `instant` belongs to it.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// Why a window is refused; the text names the field and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The zone is not in the IANA database.
    #[error("zone: unknown time zone `{0}`; use an IANA name such as `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// The anchor is not a civil date and time of the years 1970 to 9000.
    #[error(
        "anchor: `{0}` must be a local date and time between 1970 and 9000 such as `2026-01-31T00:00:00`"
    )]
    Anchor(String),
}

/// How time is cut into windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct WindowSpec {
    period: Period,
    zone: TimeZone,
    anchor: Option<DateTime>,
}

/// A window as users and messages write it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    period: Period,
    #[serde(default = "utc")]
    zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl TryFrom<Written> for WindowSpec {
    type Error = WindowError;

    fn try_from(written: Written) -> Result<Self, WindowError> {
        let spec = Self::calendar(written.period, &written.zone)?;
        match written.anchor {
            Some(anchor) => spec.anchored(&anchor),
            None => Ok(spec),
        }
    }
}

impl From<WindowSpec> for Written {
    fn from(spec: WindowSpec) -> Self {
        Self {
            period: spec.period,
            zone: spec.zone_name().to_owned(),
            anchor: spec.anchor.map(|anchor| anchor.to_string()),
        }
    }
}

impl WindowSpec {
    /// Calendar windows in `zone`: days from midnight, weeks from Monday, months from the 1st, years from 1 January.
    ///
    /// # Errors
    /// [`WindowError::Zone`] if the zone is unknown.
    pub fn calendar(period: Period, zone: &str) -> Result<Self, WindowError> {
        // `get` is generous with case; what comes out is the canonical name.
        let zone = zones().get(zone).map_err(|_| WindowError::Zone(zone.chars().take(64).collect()))?;
        if zone.iana_name().is_none() {
            return Err(WindowError::Zone("unnamed".to_owned()));
        }
        Ok(Self { period, zone, anchor: None })
    }

    /// The same period counted from `anchor` (local date and time, RFC 3339 without offset): the anniversary of a
    /// subscription, or weeks from another day than Monday.
    ///
    /// # Errors
    /// [`WindowError::Anchor`] if it does not parse or is out of range.
    pub fn anchored(self, anchor: &str) -> Result<Self, WindowError> {
        let bad = || WindowError::Anchor(anchor.chars().take(64).collect());
        let parsed: DateTime = anchor.parse().map_err(|_| bad())?;
        if !(1970..=9000).contains(&parsed.year()) {
            return Err(bad());
        }
        Ok(Self { anchor: Some(parsed), ..self })
    }

    /// The length of a window.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The IANA name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The window that `instant` belongs to.
    pub fn at(&self, instant: Timestamp) -> Window {
        let mut index = self.guess(instant);
        // The guess is off by one at most where a zone's offset changes; the bound only guards the loop.
        while self.boundary(index) > instant && index > i64::from(i32::MIN) {
            index -= 1;
        }
        let mut start = self.boundary(index);
        loop {
            let end = self.boundary(index + 1);
            if end > instant || end == Timestamp::MAX {
                return Window { start, end };
            }
            (start, index) = (end, index + 1);
        }
    }

    /// The window after `window`.
    pub fn next(&self, window: Window) -> Window {
        self.at(window.end)
    }

    /// The length of a typical window in seconds, as the `w` parameter of `RateLimit-Policy` says it.
    pub fn nominal_seconds(&self) -> u64 {
        match self.period {
            Period::Minute => 60,
            Period::Hour => 3_600,
            Period::Day => 86_400,
            Period::Week => 7 * 86_400,
            Period::Month => 30 * 86_400,
            Period::Year => 365 * 86_400,
        }
    }

    fn anchor(&self) -> DateTime {
        // A Monday that is also the first of a month and of a year, so one default serves every period.
        self.anchor.unwrap_or_else(|| date(2001, 1, 1).at(0, 0, 0, 0))
    }

    /// The start of window number `index`, counted from the anchor; saturates at the ends of representable time.
    fn boundary(&self, index: i64) -> Timestamp {
        let edge = if index < 0 { Timestamp::MIN } else { Timestamp::MAX };
        self.try_boundary(index).unwrap_or(edge)
    }

    fn try_boundary(&self, index: i64) -> Option<Timestamp> {
        let span = match self.period {
            Period::Minute | Period::Hour => {
                let seconds = index.checked_mul(self.nominal_seconds() as i64)?;
                let anchor = self.zone.to_timestamp(self.anchor()).ok()?;
                return anchor.checked_add(Span::new().try_seconds(seconds).ok()?).ok();
            }
            Period::Day => Span::new().try_days(index),
            Period::Week => Span::new().try_weeks(index),
            Period::Month => Span::new().try_months(index),
            Period::Year => Span::new().try_years(index),
        };
        // Always from the anchor, never from the window before: 31 January, 28 February, 31 March. A local time that
        // does not exist is moved forward, one that exists twice is the earlier: both keep the boundaries in order.
        let civil = self.anchor().checked_add(span.ok()?).ok()?;
        self.zone.to_timestamp(civil).ok()
    }

    /// The number of the window of `instant`, give or take one.
    fn guess(&self, instant: Timestamp) -> i64 {
        let anchor = self.anchor();
        let civil = self.zone.to_datetime(instant);
        let months = || {
            i64::from(civil.year() - anchor.year()) * 12 + i64::from(civil.month())
                - i64::from(anchor.month())
        };
        let seconds = || match self.zone.to_timestamp(anchor) {
            Ok(start) => instant.as_second() - start.as_second(),
            Err(_) => 0,
        };
        match self.period {
            Period::Month => months(),
            Period::Year => months().div_euclid(12),
            _ => seconds().div_euclid(self.nominal_seconds() as i64),
        }
    }
}

/// The zones that are built into the program, so that a machine's own, older zone files cannot move a window.
fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}
