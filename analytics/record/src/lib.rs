//! The contract of the usage record: one record per request, and the sealed segment that carries many.
//!
//! In: what the gateway knows when a request ends. Out: ring entries (crash-safe bytes), sealed segments
//! (one ClickHouse Native block each, self-describing), the table they load into, and the few messages
//! with which a gateway hands segments to the analytics service.
//! Pure: no I/O, no clock. Bytes from outside are hostile: every decoder is total and bounded.

pub mod aggregate;
pub mod entry;
pub mod native;
pub mod segment;
pub mod table;
pub mod wire;

mod codes;
mod ids;
mod reason;
mod record;
mod text;

pub use codes::{Method, Protocol, UnknownWord};
pub use ids::{GatewayId, IdError, SegmentName, Stream};
pub use reason::Reason;
pub use record::{Charge, Charges, Flags, NameId, Record, day_of, day_start_us};
pub use text::Text;

/// Longest host kept in a record, in bytes.
pub const MAX_HOST_BYTES: usize = 64;
/// Longest path (without query) kept in a record, in bytes.
pub const MAX_PATH_BYTES: usize = 128;
/// Most quota charges that one request can carry.
pub const MAX_CHARGES: usize = 4;
/// Version of the columns, carried by every segment. Raised when a column is added or changes its meaning.
pub const SCHEMA: u16 = 1;
