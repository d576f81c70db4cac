//! The usage report: exact counts by dimensions and calendar buckets.
//!
//! In: a [`UsageQuestion`]. Out: one statement whose rows come in a fixed order, so that equal records give
//! equal bytes. Every count is `sum(n)` over records: nothing is sampled, nothing is estimated.

use crate::{Bucket, Dimension, Filters, Statement, TABLE, Value, Window, Zone, dimension, filter, time};

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
}

impl UsageQuestion {
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
        statement.push(&measures()).push(&format!("\nFROM {TABLE} AS r\n"));
        filter::write_where(&mut statement, self.window, &self.filters);
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

fn measures() -> String {
    let refused = dimension::sql_refused();
    [
        "  sum(n) AS requests".to_owned(),
        "  sumIf(n, status >= 500) AS errors".to_owned(),
        format!("  sumIf(n, {refused}) AS refused"),
        format!("  sumIf(n, NOT ({refused})) AS admitted"),
        "  sum(request_bytes) AS request_bytes".to_owned(),
        "  sum(response_bytes) AS response_bytes".to_owned(),
        "  sum(toUInt64(duration_us) * n) AS duration_us_sum".to_owned(),
    ]
    .join(",\n")
}
