//! The table of usage records, said once: columns with type, codec and meaning.
//!
//! In: where the table lives and how long rows are kept. Out: DDL text, the insert statement, the count that
//! verifies segments. Values put into SQL here are numbers and UUIDs; identifiers are quoted.

mod sql;

pub use sql::{Placement, create_table, insert_statement, verify_statement};

/// The table's name.
pub const TABLE: &str = "usage_records";

/// The ClickHouse types that the table uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `UInt8`
    U8,
    /// `UInt16`
    U16,
    /// `Int16`
    I16,
    /// `UInt32`
    U32,
    /// `UInt64`
    U64,
    /// `DateTime64(6, 'UTC')`
    TimeUs,
    /// `UUID`
    Uuid,
    /// `FixedString(16)`
    Bytes16,
    /// `String`
    Text,
    /// `LowCardinality(String)`
    LowText,
    /// `Array(UInt64)`
    ArrayU64,
}

impl ColumnType {
    const ALL: [Self; 11] = [
        Self::U8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::U64,
        Self::TimeUs,
        Self::Uuid,
        Self::Bytes16,
        Self::Text,
        Self::LowText,
        Self::ArrayU64,
    ];

    /// The type as ClickHouse spells it.
    pub const fn clickhouse(self) -> &'static str {
        match self {
            Self::U8 => "UInt8",
            Self::U16 => "UInt16",
            Self::I16 => "Int16",
            Self::U32 => "UInt32",
            Self::U64 => "UInt64",
            Self::TimeUs => "DateTime64(6, 'UTC')",
            Self::Uuid => "UUID",
            Self::Bytes16 => "FixedString(16)",
            Self::Text => "String",
            Self::LowText => "LowCardinality(String)",
            Self::ArrayU64 => "Array(UInt64)",
        }
    }

    /// The type that ClickHouse spells so, if the table uses it.
    pub fn from_clickhouse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.clickhouse() == text)
    }
}

/// One column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: ColumnType,
    /// Its compression codec.
    pub codec: &'static str,
    /// What it means, with its unit.
    pub doc: &'static str,
}

const fn column(name: &'static str, ty: ColumnType, codec: &'static str, doc: &'static str) -> ColumnDef {
    ColumnDef { name, ty, codec, doc }
}

/// Every column, in the order of the block.
pub const COLUMNS: &[ColumnDef] = &[
    column("ts", ColumnType::TimeUs, "Delta, ZSTD(1)", "when the request ended, UTC, microseconds"),
    column("request_id", ColumnType::Uuid, "ZSTD(1)", "id of the request; zero when aggregated"),
    column("trace_id", ColumnType::Bytes16, "ZSTD(1)", "W3C trace id, raw bytes; zero when not sampled"),
    column("gateway", ColumnType::LowText, "ZSTD(1)", "Gateway, namespace/name"),
    column("listener", ColumnType::LowText, "ZSTD(1)", "listener of the Gateway"),
    column("route", ColumnType::LowText, "ZSTD(1)", "route, namespace/name; empty when none matched"),
    column("rule", ColumnType::LowText, "ZSTD(1)", "rule of the route: its name or index"),
    column("product", ColumnType::LowText, "ZSTD(1)", "API product"),
    column("plan", ColumnType::LowText, "ZSTD(1)", "plan of the subscription"),
    column("consumer", ColumnType::LowText, "ZSTD(1)", "consumer; empty when anonymous"),
    column("subscription", ColumnType::LowText, "ZSTD(1)", "subscription"),
    column("backend", ColumnType::LowText, "ZSTD(1)", "backend chosen last"),
    column("endpoint", ColumnType::LowText, "ZSTD(1)", "address:port chosen last"),
    column("method", ColumnType::LowText, "ZSTD(1)", "request method; _OTHER when unknown"),
    column("protocol", ColumnType::LowText, "ZSTD(1)", "h1, h2, h2c, grpc or websocket"),
    column(
        "status",
        ColumnType::U16,
        "ZSTD(1)",
        "HTTP status; 499 when the client left before one was chosen",
    ),
    column("grpc_status", ColumnType::I16, "ZSTD(1)", "gRPC status; -1 when there was none"),
    column("reason", ColumnType::LowText, "ZSTD(1)", "why the request ended so; closed vocabulary"),
    column("flags", ColumnType::U16, "ZSTD(1)", "one-bit facts; bit 15: the row stands for n requests"),
    column("attempts", ColumnType::U8, "ZSTD(1)", "attempts at upstreams"),
    column(
        "duration_us",
        ColumnType::U32,
        "T64, ZSTD(1)",
        "first byte in to last byte out, microseconds; mean over n",
    ),
    column(
        "upstream_us",
        ColumnType::U32,
        "T64, ZSTD(1)",
        "to the upstream's first byte, microseconds; mean over n",
    ),
    column("request_bytes", ColumnType::U64, "T64, ZSTD(1)", "request body bytes, total over n"),
    column("response_bytes", ColumnType::U64, "T64, ZSTD(1)", "response body bytes, total over n"),
    column("charge_lease", ColumnType::ArrayU64, "ZSTD(1)", "leases charged"),
    column("charge_units", ColumnType::ArrayU64, "ZSTD(1)", "units charged to each lease, total over n"),
    column("n", ColumnType::U32, "ZSTD(1)", "requests this row stands for: always sum(n), never count()"),
    column("host", ColumnType::Text, "ZSTD(1)", "requested host, at most 64 bytes"),
    column("path", ColumnType::Text, "ZSTD(1)", "path without query, at most 128 bytes"),
    column("segment_gateway", ColumnType::Uuid, "ZSTD(1)", "spool that sealed the row's segment"),
    column("segment_epoch", ColumnType::U32, "ZSTD(1)", "life of that gateway"),
    column("segment_shard", ColumnType::U8, "ZSTD(1)", "ring within that life"),
    column("segment_seq", ColumnType::U32, "ZSTD(1)", "number of the segment in its stream"),
    column("segment_row", ColumnType::U32, "Delta, ZSTD(1)", "number of the row in its segment"),
];

/// The names of the ten columns that hold names, in the order of [`crate::Record::names`].
pub const NAME_COLUMNS: [&str; 10] = [
    "gateway",
    "listener",
    "route",
    "rule",
    "product",
    "plan",
    "consumer",
    "subscription",
    "backend",
    "endpoint",
];
