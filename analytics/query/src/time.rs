//! Windows of time as people write them.
//!
//! In: texts such as `2026-11`, `now-15m` or an RFC 3339 instant, a zone, and the present instant from the caller.
//! Out: half-open windows of UTC instants and calendar buckets of a zone.
//! It never reads a clock, and never lets a zone name into SQL that is not a plain IANA name.

use jiff::{SignedDuration, Timestamp, Unit, ZonedDateTime, civil, tz::TimeZone};

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The zone is unknown.
    #[error("zone `{0}` is unknown; use an IANA name such as `UTC` or `Europe/Berlin`")]
    Zone(String),
    /// The text is none of the known forms.
    #[error(
        "time `{0}` is not understood; use an RFC 3339 instant, `2026-11`, `2026-11-23`, `2026-11-23T10:00`, `now`, \
         `now-15m`, or `hour`, `day`, `week`, `month`"
    )]
    Instant(String),
    /// The civil time is outside of what can be represented.
    #[error("time `{0}` is out of range")]
    Range(String),
    /// The window is empty or runs backwards.
    #[error("window from {from} to {to} is empty; `from` must be earlier than `to`")]
    Empty {
        /// Start as understood.
        from: Timestamp,
        /// End as understood.
        to: Timestamp,
    },
    /// The bucket is unknown.
    #[error("bucket `{0}` is unknown; use none, minute, hour, day, week or month")]
    Bucket(String),
}

/// A time zone whose name is safe to write into SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The zone of an IANA name.
    pub fn parse(name: &str) -> Result<Self, TimeError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'/');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(TimeError::Zone(name.chars().take(64).collect()));
        }
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::utc());
        }
        let rules = TimeZone::get(name).map_err(|_| TimeError::Zone(name.into()))?;
        // The database finds names in any case; the store does not.
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, rules })
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An instant as this zone's clocks show it.
    pub fn at(&self, instant: Timestamp) -> ZonedDateTime {
        instant.to_zoned_datetime(self.rules.clone())
    }

    fn instant(&self, text: &str, civil: civil::DateTime) -> Result<Timestamp, TimeError> {
        self.rules.to_timestamp(civil).map_err(|_| TimeError::Range(text.into()))
    }
}

/// A half-open window `[from, to)`, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant outside.
    pub to: Timestamp,
}

impl Window {
    /// The window between two texts, read in `zone` at the instant `now`.
    pub fn parse(from: &str, to: &str, zone: &Zone, now: Timestamp) -> Result<Self, TimeError> {
        let (from, to) = (instant(from, zone, now)?, instant(to, zone, now)?);
        if from < to { Ok(Self { from, to }) } else { Err(TimeError::Empty { from, to }) }
    }

    /// Length in milliseconds, at least 1.
    pub fn millis(&self) -> u64 {
        self.to.duration_since(self.from).as_millis().max(1) as u64
    }
}

/// A calendar bucket of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bucket {
    /// One row for the whole window.
    #[default]
    None,
    /// Minutes.
    Minute,
    /// Hours; a zone's repeated hour is two buckets.
    Hour,
    /// Civil days, 23 to 25 hours long.
    Day,
    /// Weeks from Monday.
    Week,
    /// Calendar months.
    Month,
}

impl Bucket {
    /// The bucket of this name.
    pub fn parse(name: &str) -> Result<Self, TimeError> {
        Ok(match name {
            "" | "none" => Self::None,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            other => return Err(TimeError::Bucket(other.chars().take(32).collect())),
        })
    }

    /// The name, as in parameters and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// SQL for the start of the bucket that holds column `ts`, as `DateTime` of `zone`.
    pub(crate) fn sql(self, ts: &str, zone: &Zone) -> Option<String> {
        let zone = zone.name();
        let start = match self {
            Self::None => return None,
            Self::Minute => format!("toStartOfMinute({ts}, '{zone}')"),
            Self::Hour => format!("toStartOfHour({ts}, '{zone}')"),
            Self::Day => format!("toStartOfDay({ts}, '{zone}')"),
            Self::Week => format!("toDateTime(toMonday({ts}, '{zone}'), '{zone}')"),
            Self::Month => format!("toDateTime(toStartOfMonth({ts}, '{zone}'), '{zone}')"),
        };
        Some(start)
    }
}

/// SQL that writes a `DateTime` as RFC 3339 with the offset of `zone`.
pub(crate) fn sql_rfc3339(moment: &str, zone: &Zone) -> String {
    let zone = zone.name();
    format!(
        "concat(formatDateTime({moment}, '%Y-%m-%dT%H:%i:%S', '{zone}'), \
         replaceRegexpOne(formatDateTime({moment}, '%z', '{zone}'), '^(...)(..)$', '\\\\1:\\\\2'))"
    )
}

/// The instant that a text means, in whole milliseconds.
pub fn instant(text: &str, zone: &Zone, now: Timestamp) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    let unknown = || TimeError::Instant(text.chars().take(64).collect());
    let found = if let Some(rest) = text.strip_prefix("now") {
        relative(rest, now).ok_or_else(unknown)?
    } else if let Some(start) = start_of(text, &zone.at(now)) {
        start.map_err(|_| TimeError::Range(text.into()))?
    } else if let Ok(instant) = text.parse::<Timestamp>() {
        instant
    } else {
        zone.instant(text, civil_time(text).ok_or_else(unknown)?)?
    };
    Timestamp::from_millisecond(found.as_millisecond()).map_err(|_| TimeError::Range(text.into()))
}

/// The start of the current hour, day, week or month; nothing when `text` names none of them.
fn start_of(text: &str, now: &ZonedDateTime) -> Option<Result<Timestamp, jiff::Error>> {
    let start = match text {
        "hour" => {
            now.round(jiff::ZonedDateTimeRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc))
        }
        "day" | "today" => now.start_of_day(),
        "week" => {
            let back = i64::from(now.weekday().to_monday_zero_offset());
            now.checked_sub(jiff::Span::new().days(back)).and_then(|day| day.start_of_day())
        }
        "month" => now.first_of_month().and_then(|day| day.start_of_day()),
        _ => return None,
    };
    Some(start.map(|start| start.timestamp()))
}

/// `""`, `-15m`, `+2h`: an offset from now in s, m, h, d (24 hours) or w.
fn relative(offset: &str, now: Timestamp) -> Option<Timestamp> {
    if offset.is_empty() {
        return Some(now);
    }
    let (sign, rest) = match offset.as_bytes()[0] {
        b'-' => (-1, &offset[1..]),
        b'+' => (1, &offset[1..]),
        _ => return None,
    };
    let unit = match rest.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 7 * 86_400,
        _ => return None,
    };
    let count: u32 = rest[..rest.len() - 1].parse().ok()?;
    now.checked_add(SignedDuration::from_secs(sign * unit * i64::from(count))).ok()
}

/// `2026-11`, `2026-11-23`, `2026-11-23T10:00`.
fn civil_time(text: &str) -> Option<civil::DateTime> {
    if let Some((year, month)) = text.split_once('-')
        && year.len() == 4
        && month.len() == 2
    {
        let date = civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        return Some(date.to_datetime(civil::Time::midnight()));
    }
    text.parse::<civil::DateTime>().ok()
}

#[cfg(test)]
mod tests;
