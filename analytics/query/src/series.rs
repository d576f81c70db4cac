//! Lines over time: traffic, errors and latency in equal steps.
//!
//! In: a window, a step, at most one dimension. Out: a statement, and the filling of steps without records.
//! Counts are exact; latencies are quantiles by t-digest, good for looking and never for money.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Dimension, Filters, Statement, TABLE, Value, Window, dimension, filter};

/// Lines shown of their own; all further values of the dimension make one line [`OTHER`].
pub const MAX_LINES: u64 = 10;
/// The key of the line of all other values.
pub const OTHER: &str = "__other__";
/// Most steps in one answer.
pub const MAX_STEPS: u64 = 2_000;

/// Steps to choose from, in milliseconds.
const STEPS_MS: [u64; 11] =
    [1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 10_800_000, 21_600_000, 86_400_000];

/// A step that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not a step.
    #[error("step `{0}` is unknown; use auto, or a number of s, m, h or d such as 10s")]
    Unknown(String),
    /// The answer would be too long.
    #[error("{0} steps are too many; use a longer step or a shorter window (at most {MAX_STEPS} steps)")]
    TooMany(u64),
}

/// Chooses or checks the length of a step for `window`, in milliseconds.
pub fn step_ms(text: &str, window: Window) -> Result<u64, StepError> {
    if matches!(text, "" | "auto") {
        let wanted = window.millis() / 120;
        return Ok(STEPS_MS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| {
            wanted.div_ceil(STEPS_MS[STEPS_MS.len() - 1]) * STEPS_MS[STEPS_MS.len() - 1]
        }));
    }
    let unknown = || StepError::Unknown(text.chars().take(32).collect());
    let (count, unit) = text.split_at_checked(text.len() - 1).ok_or_else(unknown)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(unknown()),
    };
    let count: u32 = count.parse().map_err(|_| unknown())?;
    let step = u64::from(count.max(1)) * unit;
    let steps = window.millis() / step;
    if steps > MAX_STEPS { Err(StepError::TooMany(steps)) } else { Ok(step) }
}

/// Traffic, errors and latency over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesQuestion {
    /// Of which time.
    pub window: Window,
    /// Length of a step in milliseconds; steps are multiples of it since 1970.
    pub step_ms: u64,
    /// One line for each value, if wanted.
    pub by: Option<Dimension>,
    /// Of which records.
    pub filters: Filters,
}

/// One step of one line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point {
    /// Start of the step, milliseconds since 1970.
    pub at_ms: i64,
    /// Requests that ended in it.
    pub requests: u64,
    /// With status 500 and above.
    pub errors: u64,
    /// Refused by the gateway.
    pub refused: u64,
    /// Of request bodies.
    pub request_bytes: u64,
    /// Of response bodies.
    pub response_bytes: u64,
    /// Median duration in milliseconds; nothing without requests.
    pub p50_ms: Option<f64>,
    /// 95th percentile of the duration.
    pub p95_ms: Option<f64>,
    /// 99th percentile of the duration.
    pub p99_ms: Option<f64>,
    /// Median of the time not spent waiting for the upstream.
    pub gateway_p50_ms: Option<f64>,
    /// 99th percentile of the time not spent waiting for the upstream.
    pub gateway_p99_ms: Option<f64>,
}

/// One row of the statement's answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SeriesRow {
    /// The line.
    pub key: String,
    /// The step.
    #[serde(flatten)]
    pub point: Point,
}

impl SeriesQuestion {
    /// The statement; its rows are [`SeriesRow`]s.
    pub fn statement(&self) -> Statement {
        let mut statement = Statement::new();
        statement.push("SELECT\n  intDiv(toUnixTimestamp64Milli(ts), ").value(Value::Number(self.step_ms));
        statement.push(") * ").value(Value::Number(self.step_ms)).push(" AS at_ms,\n  ");
        match self.by {
            None => {
                statement.push("''");
            }
            Some(by) => {
                statement.push(&format!(
                    "if({} IN (\n    SELECT {} FROM {TABLE} AS r\n    ",
                    by.sql_text(),
                    by.sql_text()
                ));
                filter::write_where(&mut statement, self.window, &self.filters);
                statement.push(&format!(
                    "\n    GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT {MAX_LINES}), {}, '{OTHER}')",
                    by.sql_text()
                ));
            }
        }
        statement.push(" AS key,\n").push(&measures()).push(&format!("\nFROM {TABLE} AS r\n"));
        filter::write_where(&mut statement, self.window, &self.filters);
        statement.push("\nGROUP BY key, at_ms\nORDER BY key, at_ms");
        statement
    }

    /// The steps of each line, those without requests included. Without any record there is one line `""`.
    pub fn fill(&self, rows: Vec<SeriesRow>) -> BTreeMap<String, Vec<Point>> {
        let step = self.step_ms.max(1) as i64;
        let first = self.window.from.as_millisecond().div_euclid(step) * step;
        let empty = || {
            let steps = (self.window.to.as_millisecond() - first).max(0) as u64;
            let count = steps.div_ceil(step as u64).min(MAX_STEPS + 1);
            (0..count).map(|index| Point { at_ms: first + index as i64 * step, ..Point::default() }).collect()
        };
        let mut lines: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        if rows.is_empty() || self.by.is_none() {
            lines.insert(String::new(), empty());
        }
        for row in rows {
            let line = lines.entry(row.key).or_insert_with(empty);
            let place = usize::try_from((row.point.at_ms - first) / step).unwrap_or(usize::MAX);
            if let Some(slot) = line.get_mut(place) {
                *slot = row.point;
            }
        }
        lines
    }
}

/// Counts and quantiles, shared with [`crate::TopQuestion`]. Durations leave as milliseconds.
pub(crate) fn measures() -> String {
    let ms = |at: usize| {
        format!("round(quantilesTDigestWeighted(0.5, 0.95, 0.99)(duration_us, n)[{at}] / 1000, 3)")
    };
    let own = |at: usize| {
        format!(
            "round(quantilesTDigestWeighted(0.5, 0.99)(duration_us - least(duration_us, upstream_us), n)[{at}] / 1000, 3)"
        )
    };
    [
        "  sum(n) AS requests".to_owned(),
        "  sumIf(n, status >= 500) AS errors".to_owned(),
        format!("  sumIf(n, {}) AS refused", dimension::sql_refused()),
        format!("  {} AS p50_ms", ms(1)),
        format!("  {} AS p95_ms", ms(2)),
        format!("  {} AS p99_ms", ms(3)),
        format!("  {} AS gateway_p50_ms", own(1)),
        format!("  {} AS gateway_p99_ms", own(2)),
        "  sum(request_bytes) AS request_bytes".to_owned(),
        "  sum(response_bytes) AS response_bytes".to_owned(),
    ]
    .join(",\n")
}
