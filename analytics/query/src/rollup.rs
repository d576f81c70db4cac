//! Hourly totals, recomputed from records and never patched.
//!
//! In: days. Out: statements that rebuild a day in a staging table and swap it in whole, and that compare totals of
//! rollup and records. Recomputing is deterministic: running it twice, or after a crash in between, gives the same
//! rows. Late records make their day dirty; the day is then rebuilt.

use jiff::civil::Date;
use serde::Deserialize;

use crate::{Dimension, Statement, TABLE, Value};

/// The table of hourly totals.
pub const ROLLUP: &str = "usage_1h";
/// Where a day is rebuilt before it replaces the old one.
pub const STAGING: &str = "usage_1h_staging";

/// What hourly totals can be told apart by.
pub const DIMENSIONS: [Dimension; 12] = [
    Dimension::Consumer,
    Dimension::Plan,
    Dimension::Product,
    Dimension::Subscription,
    Dimension::Route,
    Dimension::Rule,
    Dimension::Gateway,
    Dimension::Listener,
    Dimension::Status,
    Dimension::Reason,
    Dimension::Method,
    Dimension::Protocol,
];

/// The statement that creates `table` ([`ROLLUP`] or [`STAGING`]) if it is missing.
pub fn create_table(table: &str) -> String {
    let columns: Vec<_> = DIMENSIONS.iter().map(|dimension| column(*dimension)).collect();
    let order: Vec<_> = DIMENSIONS.iter().map(|dimension| dimension.name()).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n  hour DateTime('UTC') CODEC(Delta, ZSTD(1)),\n{},\n  \
         n UInt64 CODEC(ZSTD(1)),\n  request_bytes UInt64 CODEC(ZSTD(1)),\n  response_bytes UInt64 CODEC(ZSTD(1)),\n  \
         duration_us_sum UInt64 CODEC(ZSTD(1))\n)\nENGINE = MergeTree\nPARTITION BY toDate(hour)\n\
         ORDER BY (hour, {})\nSETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
        columns.join(",\n"),
        order.join(", ")
    )
}

fn column(dimension: Dimension) -> String {
    let ty = if dimension == Dimension::Status { "UInt16" } else { "LowCardinality(String)" };
    format!("  {} {ty} CODEC(ZSTD(1))", dimension.name())
}

/// The statements that rebuild one UTC day, to be run in this order.
pub fn rebuild(day: Date) -> [Statement; 3] {
    let day = day.to_string();
    let keys = DIMENSIONS.map(Dimension::name).join(", ");
    let mut fill = Statement::new();
    fill.push(&format!(
        "INSERT INTO {STAGING}\nSELECT toStartOfHour(toDateTime(ts, 'UTC'), 'UTC') AS hour, {keys},\n  \
         sum(r.n) AS n, sum(r.request_bytes) AS request_bytes, sum(r.response_bytes) AS response_bytes,\n  \
         sum(toUInt64(r.duration_us) * r.n) AS duration_us_sum\nFROM {TABLE} AS r\nWHERE toDate(ts) = toDate("
    ));
    fill.value(Value::Text(day.clone())).push(&format!(")\nGROUP BY hour, {keys}\nORDER BY hour, {keys}"));
    // A date from jiff prints digits and hyphens only; partition expressions take no parameters.
    let drop = format!("ALTER TABLE {STAGING} DROP PARTITION '{day}'");
    let swap = format!("ALTER TABLE {ROLLUP} REPLACE PARTITION '{day}' FROM {STAGING}");
    [Statement::plain(drop), fill, Statement::plain(swap)]
}

/// Totals of one day on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct DayTotals {
    /// Days since 1970.
    pub day: u16,
    /// Requests in records.
    pub records: u64,
    /// Requests in the rollup.
    pub rollup: u64,
    /// Whether requests, bytes and durations all agree.
    pub equal: bool,
}

/// The statement that compares rollup and records by day, over days that still have records; its rows are
/// [`DayTotals`].
pub fn check(from: Date, to: Date) -> Statement {
    let mut statement = Statement::new();
    statement.push(
        "SELECT toUInt16(day) AS day, sum(a_n) AS records, sum(b_n) AS rollup,\n  \
         toBool((sum(a_n), sum(a_i), sum(a_o), sum(a_d)) = (sum(b_n), sum(b_i), sum(b_o), sum(b_d))) AS equal\nFROM (\n  \
         SELECT toDate(ts) AS day, sum(r.n) AS a_n, sum(r.request_bytes) AS a_i, sum(r.response_bytes) AS a_o,\n    \
         sum(toUInt64(r.duration_us) * r.n) AS a_d, ",
    );
    let zero = "toUInt64(0)";
    statement.push(&format!(
        "{zero} AS b_n, {zero} AS b_i, {zero} AS b_o, {zero} AS b_d\n  FROM {TABLE} AS r\n  "
    ));
    between(&mut statement, "toDate(ts)", from, to);
    statement.push("\n  GROUP BY day\n  UNION ALL\n  SELECT toDate(hour) AS day, ");
    statement.push(&format!("{zero} AS a_n, {zero} AS a_i, {zero} AS a_o, {zero} AS a_d,\n    "));
    statement.push(&format!(
        "sum(u.n) AS b_n, sum(u.request_bytes) AS b_i, sum(u.response_bytes) AS b_o, sum(u.duration_us_sum) AS b_d\n  \
         FROM {ROLLUP} AS u\n  "
    ));
    between(&mut statement, "toDate(hour)", from, to);
    statement.push("\n  GROUP BY day\n)\nGROUP BY day\nORDER BY day");
    statement
}

fn between(statement: &mut Statement, day: &str, from: Date, to: Date) {
    statement.push(&format!("WHERE {day} >= toDate(")).value(Value::Text(from.to_string()));
    statement.push(&format!(") AND {day} <= toDate(")).value(Value::Text(to.to_string())).push(")");
}
