//! SQL text for the table: create, insert, verify.
//!
//! In: placement and segment headers. Out: statements in ClickHouse's dialect, the same for a server, a cluster and
//! the embedded engine. Never takes free text into a statement without quoting it as an identifier.

use std::fmt::Write as _;

use super::{COLUMNS, TABLE};
use crate::segment::Header;

/// Where the table lives and how long it keeps rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The database.
    pub database: String,
    /// Replicate the table over this cluster; `None` for one server or the embedded engine.
    pub cluster: Option<String>,
    /// Days that raw rows are kept.
    pub retention_days: u16,
}

/// The statement that creates the table if it is missing.
///
/// Both families of de-duplication windows are set, because the engine decides which is read; parts are synced on
/// insert, because an answered insert must survive power loss.
pub fn create_table(placement: &Placement) -> String {
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {}.{}", quoted(&placement.database), quoted(TABLE));
    if let Some(cluster) = &placement.cluster {
        let _ = write!(sql, " ON CLUSTER {}", quoted(cluster));
    }
    sql.push_str(" (\n");
    for (index, column) in COLUMNS.iter().enumerate() {
        let comma = if index + 1 < COLUMNS.len() { "," } else { "" };
        let (name, ty, codec) = (quoted(column.name), column.ty.clickhouse(), column.codec);
        let comment = column.doc.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(sql, "  {name} {ty} COMMENT '{comment}' CODEC({codec}){comma}");
    }
    let engine = match placement.cluster {
        Some(_) => "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
        None => "MergeTree",
    };
    let days = placement.retention_days;
    let _ = write!(
        sql,
        ")\nENGINE = {engine}\nPARTITION BY toDate(ts)\n\
         ORDER BY (toStartOfHour(ts), consumer, route, ts)\n\
         TTL toDate(ts) + INTERVAL {days} DAY DELETE\n\
         SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, \
         non_replicated_deduplication_window = 100000, replicated_deduplication_window = 20000, \
         replicated_deduplication_window_seconds = 86400"
    );
    sql
}

/// The statement that precedes a segment's Native block. Send it with [`crate::segment::INSERT_SETTINGS`] and the
/// token of the attempt.
pub fn insert_statement(database: &str) -> String {
    let names: Vec<String> = COLUMNS.iter().map(|c| quoted(c.name)).collect();
    format!("INSERT INTO {}.{} ({}) FORMAT Native", quoted(database), quoted(TABLE), names.join(", "))
}

/// The statement that counts what the store holds of each of `segments`: columns `gateway` (UUID), `epoch`, `shard`,
/// `seq`, `rows`, `n`, `units`, `bytes`, `row_sum`, all `UInt64` but the first. A segment without a row is absent.
pub fn verify_statement(database: &str, segments: &[Header]) -> String {
    let mut keys = String::new();
    for header in segments {
        let comma = if keys.is_empty() { "" } else { ", " };
        let stream = header.name.stream;
        let _ = write!(
            keys,
            "{comma}(toUUID('{}'), {}, {}, {})",
            stream.gateway, stream.epoch, stream.shard, header.name.seq
        );
    }
    let from = segments.iter().map(|h| h.min_ts_us).min().unwrap_or(0);
    let to = segments.iter().map(|h| h.max_ts_us).max().unwrap_or(0);
    format!(
        "SELECT segment_gateway AS gateway, toUInt64(segment_epoch) AS epoch, toUInt64(segment_shard) AS shard, \
         toUInt64(segment_seq) AS seq, count() AS rows, sum(toUInt64(n)) AS n, \
         sum(arraySum(charge_units)) AS units, sum(request_bytes + response_bytes) AS bytes, \
         sum(toUInt64(segment_row)) AS row_sum \
         FROM {}.{} \
         WHERE ts >= fromUnixTimestamp64Micro(toInt64({from}), 'UTC') AND ts <= fromUnixTimestamp64Micro(toInt64({to}), 'UTC') \
         AND (segment_gateway, segment_epoch, segment_shard, segment_seq) IN ({keys}) \
         GROUP BY segment_gateway, segment_epoch, segment_shard, segment_seq",
        quoted(database),
        quoted(TABLE),
    )
}

/// An identifier in backticks.
fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests;
