//! What a report says about itself: complete through when, and under which name.
//!
//! In: the watermark and what is known to be lost. Out: the completeness statement and the report's id.
//! A closed window has one statement for ever: nothing in it depends on when one asks.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Statement, TABLE, Value, Window};

/// What records are in the store for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Coverage {
    /// Streams with records in it.
    pub streams: u64,
    /// Segments with records in it.
    pub segments: u64,
}

/// How far a report can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// Whether every record of the window is in the store.
    pub complete: bool,
    /// Every record that ended before this is in the store; at most the window's end.
    pub complete_through: Option<Timestamp>,
    /// The same in words.
    pub statement: String,
}

impl Completeness {
    /// Of a window, given that every record before `watermark` is in the store. Without a watermark nothing is
    /// promised. `lost` requests have no record and never will.
    pub fn of(window: Window, watermark: Option<Timestamp>, coverage: Coverage, lost: u64) -> Self {
        let through = watermark.map(|mark| mark.min(window.to));
        let complete = through == Some(window.to);
        let said = through
            .map_or_else(|| "not known to be complete".into(), |t| format!("complete through {}", utc(t)));
        let Coverage { streams, segments } = coverage;
        let statement = format!("{said}; streams {streams}; segments {segments}; declared lost {lost}");
        Self { complete, complete_through: through, statement }
    }
}

/// The statement that counts streams and segments of a window; its row is a [`Coverage`].
pub fn coverage_statement(window: Window) -> Statement {
    let mut statement = Statement::new();
    statement.push(&format!(
        "SELECT uniqExact(segment_gateway, segment_epoch, segment_shard) AS streams,\n  \
         uniqExact(segment_gateway, segment_epoch, segment_shard, segment_seq) AS segments\nFROM {TABLE}\n\
         WHERE ts >= fromUnixTimestamp64Micro("
    ));
    statement.value(Value::Micros(window.from.as_microsecond())).push(") AND ts < fromUnixTimestamp64Micro(");
    statement.value(Value::Micros(window.to.as_microsecond())).push(")");
    statement
}

/// The name of a report: the same question over the same contents has the same name.
pub fn report_id(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 3339 in UTC with exactly three digits after the point: texts of equal length that sort as their instants.
pub fn utc(instant: Timestamp) -> String {
    let millis = instant.as_millisecond().rem_euclid(1_000);
    let whole = instant.checked_sub(SignedDuration::from_millis(millis)).unwrap_or(instant);
    whole.strftime(&format!("%Y-%m-%dT%H:%M:%S.{millis:03}Z")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_closed_window_says_the_same_for_ever() {
        let window = Window { from: at("2026-11-01T00:00:00Z"), to: at("2026-12-01T00:00:00Z") };
        let coverage = Coverage { streams: 2, segments: 57 };
        let first = Completeness::of(window, Some(window.to), coverage, 0);
        let later = Completeness::of(window, Some(at("2027-05-01T00:00:00Z")), coverage, 0);
        assert_eq!(first, later);
        assert!(first.complete);
        insta::assert_snapshot!(first.statement, @"complete through 2026-12-01T00:00:00.000Z; streams 2; segments 57; declared lost 0");
    }

    #[test]
    fn an_open_window_promises_less() {
        let window = Window { from: at("2026-11-01T00:00:00Z"), to: at("2026-12-01T00:00:00Z") };
        let open = Completeness::of(window, Some(at("2026-11-05T00:00:00.5Z")), Coverage::default(), 3);
        assert!(!open.complete);
        assert!(
            open.statement.starts_with("complete through 2026-11-05T00:00:00.500Z"),
            "{}",
            open.statement
        );
        let unknown = Completeness::of(window, None, Coverage::default(), 0);
        assert_eq!((unknown.complete, unknown.complete_through), (false, None));
    }

    #[test]
    fn parts_of_a_name_cannot_be_shifted() {
        assert_ne!(report_id(&[b"ab", b"c"]), report_id(&[b"a", b"bc"]));
        assert_eq!(report_id(&[b"x"]).len(), 32);
    }
}
