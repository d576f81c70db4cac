//! Single records: the one of a request id, or the latest that pass a filter.
//!
//! In: an id, or a window with filters. Out: statements whose rows hold every column by its name, with times as
//! RFC 3339 and ids as hexadecimal text.

use std::str::FromStr;

use analytics_record::table::{COLUMNS, ColumnType};

use crate::{Filters, Statement, TABLE, Value, Window, filter};

/// Most records in one answer.
pub const MAX_RECORDS: u64 = 1_000;

/// Not a request id or not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// Not a UUID.
    #[error("request id `{0}` is not a UUID; copy it from the X-Request-Id field of the answer")]
    RequestId(String),
    /// Unknown order.
    #[error("order `{0}` is unknown; use newest or slowest")]
    Order(String),
}

/// Which records come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordOrder {
    /// That ended last.
    #[default]
    Newest,
    /// That took longest.
    Slowest,
}

impl FromStr for RecordOrder {
    type Err = RecordsError;

    fn from_str(name: &str) -> Result<Self, RecordsError> {
        match name {
            "newest" => Ok(Self::Newest),
            "slowest" => Ok(Self::Slowest),
            other => Err(RecordsError::Order(other.chars().take(40).collect())),
        }
    }
}

/// Records that pass a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsQuestion {
    /// Of which time.
    pub window: Window,
    /// Of which records.
    pub filters: Filters,
    /// Which first.
    pub order: RecordOrder,
    /// Most rows; one more is asked for, so that a cut is seen.
    pub limit: u64,
}

impl RecordsQuestion {
    /// The statement.
    pub fn statement(&self) -> Statement {
        let mut statement = Statement::new();
        statement.push(&format!("SELECT\n{}\nFROM {TABLE} AS r\n", columns()));
        filter::write_where(&mut statement, self.window, &self.filters);
        statement.push(match self.order {
            RecordOrder::Newest => {
                "\nORDER BY r.ts DESC, segment_gateway, segment_seq DESC, segment_row DESC"
            }
            RecordOrder::Slowest => "\nORDER BY r.duration_us DESC, r.ts DESC",
        });
        statement.push("\nLIMIT ").value(Value::Number(self.limit.min(MAX_RECORDS).saturating_add(1)));
        statement
    }
}

/// The records of one request: one, unless something is badly wrong.
///
/// A UUIDv7 holds its time of birth. Requests end after they began, and rarely a day later, so only partitions
/// around that time are read; ids of other versions are looked for everywhere.
pub fn request_statement(request_id: &str) -> Result<Statement, RecordsError> {
    let hex: String = request_id.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || request_id.len() > 36 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(RecordsError::RequestId(request_id.chars().take(64).collect()));
    }
    let mut statement = Statement::new();
    statement.push(&format!("SELECT\n{}\nFROM {TABLE} AS r\nWHERE r.request_id = toUUID(", columns()));
    statement.value(Value::Text(hyphenated(&hex))).push(")");
    if hex.as_bytes()[12] == b'7' {
        let born_ms = i64::from_str_radix(&hex[..12], 16).expect("twelve hexadecimal digits fit");
        let micros = |ms: i64| Value::Micros(ms.saturating_mul(1_000));
        statement.push("\n  AND r.ts >= fromUnixTimestamp64Micro(").value(micros(born_ms - 3_600_000));
        statement
            .push(") AND r.ts < fromUnixTimestamp64Micro(")
            .value(micros(born_ms + 2 * 86_400_000))
            .push(")");
    }
    statement.push(&format!("\nORDER BY r.ts\nLIMIT {MAX_RECORDS}"));
    Ok(statement)
}

fn hyphenated(hex: &str) -> String {
    let hex = hex.to_ascii_lowercase();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn columns() -> String {
    let column = |name: &str, ty: ColumnType| match ty {
        ColumnType::TimeUs => format!("  formatDateTime(r.{name}, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC') AS {name}"),
        ColumnType::Bytes16 => format!("  lower(hex(r.{name})) AS {name}"),
        _ => format!("  r.{name} AS {name}"),
    };
    COLUMNS.iter().map(|def| column(def.name, def.ty)).collect::<Vec<_>>().join(",\n")
}
