//! The usage report: exact counts by dimensions and calendar buckets.
//!
//! In: a [`UsageQuestion`]. Out: one statement whose rows come in a fixed order, so that equal records give
//! equal bytes. Every count is `sum(n)` over records: nothing is sampled, nothing is estimated.

use jiff::Timestamp;

use crate::{
    Bucket, Dimension, Filters, Statement, TABLE, Value, Window, Zone, dimension, filter, rollup, time,
};

/// Columns of a report row after time and dimensions, in their order.
///
/// `requests` ended, `errors` with status 500 and above, `refused` by the gateway's own decision, `admitted`
/// the rest of them; bytes are of bodies; `duration_us_sum` is microseconds.
pub const MEASURES: [&str; 7] =
    ["requests", "errors", "refused", "admitted", "request_bytes", "response_bytes", "duration_us_sum"];

/// Who used what, when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuestion {
    /// Of which time.
    pub window: Window,
    /// Whose calendar the buckets follow.
    pub zone: Zone,
    /// One row for each of these.
    pub bucket: Bucket,
    /// One row for each combination of these.
    pub by: Vec<Dimension>,
    /// Of which records.
    pub filters: Filters,
    /// Most rows; one more is asked for, so that a cut is seen.
    pub limit: u64,
    /// Before this start of a UTC day, hourly totals answer: records are not kept so long. Only for questions that
    /// [`UsageQuestion::fits_rollup`].
    pub rolled_before: Option<Timestamp>,
}

/// A question about a time of which only hourly totals are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollupMismatch {
    /// Totals are not told apart by this.
    #[error("hourly totals are not kept by {0}; leave it out or ask about a later time")]
    Dimension(&'static str),
    /// Part of an hour.
    #[error("only hourly totals are kept of that time; let the window begin and end at full hours of UTC")]
    Hours,
    /// A bucket that does not begin at full hours.
    #[error(
        "only hourly totals are kept of that time; use a bucket of an hour or more, in a zone with whole hours"
    )]
    Bucket,
}

impl UsageQuestion {
    /// Whether hourly totals can answer exactly.
    pub fn fits_rollup(&self) -> Result<(), RollupMismatch> {
        let asked = self.by.iter().copied().chain(self.filters.iter().map(|(dimension, _)| dimension));
        let kept = |by: &Dimension| *by == Dimension::StatusClass || rollup::DIMENSIONS.contains(by);
        if let Some(by) = asked.into_iter().find(|by| !kept(by)) {
            return Err(RollupMismatch::Dimension(by.name()));
        }
        let full = |instant: Timestamp| instant.as_microsecond().rem_euclid(3_600_000_000) == 0;
        if !full(self.window.from) || !full(self.window.to) {
            return Err(RollupMismatch::Hours);
        }
        let whole = |instant: Timestamp| self.zone.at(instant).offset().seconds() % 3_600 == 0;
        let aligned = self.bucket == Bucket::None || whole(self.window.from) && whole(self.window.to);
        if self.bucket == Bucket::Minute || !aligned {
            return Err(RollupMismatch::Bucket);
        }
        Ok(())
    }

    /// The statement: `time` (with a bucket), the dimensions, then [`MEASURES`].
    pub fn statement(&self) -> Statement {
        let mut statement = Statement::new();
        statement.push("SELECT\n");
        let start = self.bucket.sql("ts", &self.zone);
        if let Some(start) = &start {
            statement.push(&format!("  {} AS time,\n", time::sql_rfc3339(start, &self.zone)));
        }
        for dimension in &self.by {
            statement.push(&format!("  {} AS {},\n", dimension.sql(), dimension.name()));
        }
        statement.push(&measures(self.split().is_some())).push("\nFROM ");
        self.write_source(&mut statement);
        // Rows are ordered by the bucket's instant: texts with offsets do not sort through a repeated hour.
        let names = self.by.iter().map(|dimension| dimension.name().to_owned());
        let keys = start.into_iter().chain(names).collect::<Vec<_>>().join(", ");
        if !keys.is_empty() {
            statement.push(&format!("\nGROUP BY {keys}\nORDER BY {keys}"));
        }
        statement.push("\nLIMIT ").value(Value::Number(self.limit.saturating_add(1)));
        statement
    }
}

impl UsageQuestion {
    /// Where hourly totals end and records begin, if the window reaches back so far.
    fn split(&self) -> Option<Timestamp> {
        self.rolled_before.filter(|split| *split > self.window.from)
    }

    /// Records, or hourly totals of the time before and records of the time after.
    fn write_source(&self, statement: &mut Statement) {
        let raw = format!("{TABLE} AS r\n");
        let Some(split) = self.split() else {
            statement.push(&raw);
            return filter::write_where(statement, self.window, &self.filters);
        };
        let names: Vec<_> = rollup::DIMENSIONS.iter().map(|dimension| dimension.name()).collect();
        let names = names.join(", ");
        let early = Window { from: self.window.from, to: split.min(self.window.to) };
        let late = Window { from: split.min(self.window.to), to: self.window.to };
        statement.push(&format!(
            "(\n  SELECT toDateTime64(hour, 6, 'UTC') AS ts, {names}, n, request_bytes, response_bytes, \
             duration_us_sum AS duration\n  FROM (SELECT hour AS ts, * FROM {}) AS r\n  ",
            rollup::ROLLUP
        ));
        filter::write_where(statement, early, &self.filters);
        statement.push(&format!(
            "\n  UNION ALL\n  SELECT ts, {names}, toUInt64(n) AS n, request_bytes, response_bytes, \
             toUInt64(duration_us) * n AS duration\n  FROM {raw}  "
        ));
        filter::write_where(statement, late, &self.filters);
        statement.push("\n)");
    }
}

/// The measures; `split`: over totals and records, where durations were already multiplied.
fn measures(split: bool) -> String {
    let refused = dimension::sql_refused();
    let duration = if split { "duration" } else { "toUInt64(duration_us) * n" };
    [
        "  sum(n) AS requests".to_owned(),
        "  sumIf(n, status >= 500) AS errors".to_owned(),
        format!("  sumIf(n, {refused}) AS refused"),
        format!("  sumIf(n, NOT ({refused})) AS admitted"),
        "  sum(request_bytes) AS request_bytes".to_owned(),
        "  sum(response_bytes) AS response_bytes".to_owned(),
        format!("  sum({duration}) AS duration_us_sum"),
    ]
    .join(",\n")
}
