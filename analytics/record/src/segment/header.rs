//! The header of a segment: fixed length, little endian, no compression, a CRC32C at its end.
//!
//! In: what the sealer knows. Out: bytes, and back from bytes of unknown origin, with every field checked.

use std::fmt;

use super::{MAX_BLOCK_BYTES, MAX_ROWS, MAX_SEGMENT_BYTES, SegmentError};
use crate::native::Block;
use crate::{GatewayId, Record, SegmentName, Stream, day_of};

/// The first bytes of every segment.
const MAGIC: [u8; 6] = *b"TPSEG\0";
/// The version of this layout.
pub(super) const VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 208;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Stands for "no previous segment".
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How much detail a segment keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// One row per request.
    Detail,
    /// One row per key and minute (`n` requests each): disk or ring was full.
    Aggregate,
}

/// Which bytes of the spool a segment was made from, so that a restart after a crash never seals them twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Absolute positions `from..to` of the stream's ring.
    Ring {
        /// First position.
        from: u64,
        /// Position after the last.
        to: u64,
    },
    /// The counters of one generation, rows of one UTC day.
    Overflow {
        /// The generation.
        generation: u64,
        /// Days since 1970-01-01.
        day: u64,
    },
}

/// Control totals, all modulo 2^64 as ClickHouse sums `UInt64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Requests.
    pub n: u64,
    /// Units over all charges.
    pub units: u64,
    /// Request and response body bytes.
    pub bytes: u64,
    /// Sum of the row numbers: tells a repeated row from a missing one.
    pub row_sum: u64,
}

impl Totals {
    /// The totals of records numbered from 0.
    pub fn of_records(records: &[Record]) -> Self {
        let mut totals = Self::default();
        for record in records {
            totals.row_sum = totals.row_sum.wrapping_add(totals.rows);
            totals.rows += 1;
            totals.n = totals.n.wrapping_add(u64::from(record.n));
            totals.units = totals.units.wrapping_add(record.charges.units());
            totals.bytes =
                totals.bytes.wrapping_add(record.request_bytes).wrapping_add(record.response_bytes);
        }
        totals
    }

    /// The totals of a block, if it has the columns.
    pub fn of_block(block: &Block) -> Option<Self> {
        let mut totals = Self { rows: block.rows as u64, ..Self::default() };
        let columns = ["n", "request_bytes", "response_bytes", "segment_row", "charge_units"];
        let [n, request, response, row_number, units] = columns.map(|name| block.column(name));
        for row in 0..block.rows {
            totals.n = totals.n.wrapping_add(n?.number(row)?);
            let bytes = request?.number(row)?.wrapping_add(response?.number(row)?);
            totals.bytes = totals.bytes.wrapping_add(bytes);
            totals.row_sum = totals.row_sum.wrapping_add(row_number?.number(row)?);
            totals.units = units?.numbers(row)?.iter().fold(totals.units, |sum, u| sum.wrapping_add(*u));
        }
        Some(totals)
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: SegmentName,
    /// Version of the columns, see [`crate::SCHEMA`].
    pub schema: u16,
    /// How much detail it keeps.
    pub flavour: Flavour,
    /// What it was made from.
    pub source: Source,
    /// Its control totals.
    pub totals: Totals,
    /// The earliest `ts_us` inside.
    pub min_ts_us: u64,
    /// The latest `ts_us` inside; the same UTC day.
    pub max_ts_us: u64,
    /// Every record of the stream with `ts_us` up to and including this lies in this or an earlier segment.
    pub complete_through_us: u64,
    /// The wall clock at which the epoch's clock was anchored.
    pub wall_anchor_us: u64,
    /// Bytes of the block before compression.
    pub block_bytes: u64,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// The content hash of the previous segment of the stream.
    pub previous: Hash,
    /// SHA-256 over this header with this field zero, and the body.
    pub content: Hash,
}

impl Header {
    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.schema.to_le_bytes());
        let (source, first, second) = match self.source {
            Source::Ring { from, to } => (0, from, to),
            Source::Overflow { generation, day } => (1, generation, day),
        };
        let flavour = u8::from(self.flavour == Flavour::Aggregate);
        out.extend_from_slice(&[flavour, source, self.name.stream.shard, 0, 0, 0]);
        out.extend_from_slice(&self.name.stream.gateway.0);
        out.extend_from_slice(&self.name.stream.epoch.to_le_bytes());
        out.extend_from_slice(&self.name.seq.to_le_bytes());
        let totals = self.totals;
        for number in [
            first,
            second,
            totals.rows,
            totals.n,
            totals.units,
            totals.bytes,
            self.min_ts_us,
            self.max_ts_us,
            self.complete_through_us,
            self.wall_anchor_us,
            self.block_bytes,
            u64::from(self.body_bytes),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.previous.0);
        out.extend_from_slice(&self.content.0);
        out.extend_from_slice(&u64::from(crc32c::crc32c(&out)).to_le_bytes());
        out.try_into().expect("the fields add up to the header's length")
    }

    /// Reads and checks the header at the start of `bytes`; does not look at the body.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let short = SegmentError::Short { have: bytes.len(), want: HEADER_BYTES };
        let mut r = Fields(bytes.get(..HEADER_BYTES).ok_or(short)?);
        if r.array::<6>() != MAGIC || u16::from_le_bytes(r.array()) != VERSION {
            return Err(SegmentError::Magic);
        }
        let (fields, crc) = bytes[..HEADER_BYTES].split_at(HEADER_BYTES - 8);
        if u64::from(crc32c::crc32c(fields)).to_le_bytes() != crc {
            return Err(SegmentError::Header("checksum"));
        }
        let schema = u16::from_le_bytes(r.array());
        let [flavour, source, shard, zeros @ ..] = r.array::<6>();
        if zeros != [0; 3] {
            return Err(SegmentError::Header("reserved field"));
        }
        let gateway = GatewayId(r.array());
        let epoch = u32::from_le_bytes(r.array());
        let seq = u32::from_le_bytes(r.array());
        let (first, second) = (r.u64(), r.u64());
        let (rows, n, units, bytes) = (r.u64(), r.u64(), r.u64(), r.u64());
        let header = Self {
            name: SegmentName { stream: Stream { gateway, epoch, shard }, seq },
            schema,
            flavour: match flavour {
                0 => Flavour::Detail,
                1 => Flavour::Aggregate,
                _ => return Err(SegmentError::Header("flavour")),
            },
            source: match source {
                0 => Source::Ring { from: first, to: second },
                1 => Source::Overflow { generation: first, day: second },
                _ => return Err(SegmentError::Header("source")),
            },
            totals: Totals { rows, n, units, bytes, row_sum: row_sum(rows) },
            min_ts_us: r.u64(),
            max_ts_us: r.u64(),
            complete_through_us: r.u64(),
            wall_anchor_us: r.u64(),
            block_bytes: r.u64(),
            body_bytes: u32::try_from(r.u64()).map_err(|_| SegmentError::Header("body length"))?,
            previous: Hash(r.array()),
            content: Hash(r.array()),
        };
        header.check()
    }

    fn check(self) -> Result<Self, SegmentError> {
        if self.totals.rows == 0 || self.totals.rows > MAX_ROWS as u64 {
            return Err(SegmentError::Header("row count"));
        }
        if self.min_ts_us > self.max_ts_us || day_of(self.min_ts_us) != day_of(self.max_ts_us) {
            return Err(SegmentError::Header("time range"));
        }
        if i64::try_from(self.max_ts_us).is_err() {
            return Err(SegmentError::Header("time"));
        }
        if self.block_bytes > MAX_BLOCK_BYTES as u64 {
            return Err(SegmentError::Header("block length"));
        }
        if self.body_bytes as usize > MAX_SEGMENT_BYTES - HEADER_BYTES {
            return Err(SegmentError::Header("body length"));
        }
        if matches!(self.source, Source::Ring { from, to } if from >= to) {
            return Err(SegmentError::Header("ring range"));
        }
        Ok(self)
    }
}

/// The sum of the numbers from 0 to `rows - 1`, modulo 2^64.
fn row_sum(rows: u64) -> u64 {
    let sum = u128::from(rows) * u128::from(rows.saturating_sub(1)) / 2;
    sum as u64
}

/// Takes fields off a slice that is known to be long enough.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().expect("the slice has the header's length");
        self.0 = rest;
        *head
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
