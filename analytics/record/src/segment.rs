//! A sealed segment: up to a million records as one compressed ClickHouse block under one immutable name.
//!
//! In: records of one stream and one UTC day, in any order, with the names they refer to. Out: bytes that need no
//! look-up elsewhere; and from bytes of unknown origin a verified header and block.
//! The same name never gets two contents; nothing that is not sealed leaves a gateway.

mod build;
mod header;

pub use build::{Seal, Sealed, seal};
pub use header::{Flavour, HEADER_BYTES, Hash, Header, Source, Totals};

use sha2::{Digest as _, Sha256};

use crate::native::{self, Block, NativeError};

/// Most rows of a segment; below the size at which a server would split a block.
pub const MAX_ROWS: usize = 1_000_000;
/// Most bytes of a segment, header included.
pub const MAX_SEGMENT_BYTES: usize = 64 << 20;
/// Most bytes of a segment's block after decompression.
pub const MAX_BLOCK_BYTES: usize = 256 << 20;

/// Settings to send with a segment's insert: one statement, one block, one part, nothing deferred.
/// A deadline (`max_execution_time`) and `insert_deduplication_token` go beside them.
pub const INSERT_SETTINGS: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("max_insert_threads", "1"),
    ("max_insert_block_size", "1048449"),
    ("input_format_parallel_parsing", "0"),
    ("wait_end_of_query", "1"),
];

/// Why records cannot be sealed, or bytes are not a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// There is nothing to seal.
    #[error("a segment needs at least one record")]
    Empty,
    /// More rows than a segment takes.
    #[error("{0} records are more than a segment takes ({MAX_ROWS})")]
    TooManyRows(usize),
    /// Rows of two days would land in two partitions.
    #[error("records of more than one UTC day cannot share a segment")]
    SpansDays,
    /// Larger than a segment may be.
    #[error("segment of {0} bytes is larger than allowed")]
    TooLarge(usize),
    /// Fewer bytes than the header says.
    #[error("segment is cut short: {have} bytes of {want}")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// Not a segment, or of another version.
    #[error("bytes are not a segment of version {}", header::VERSION)]
    Magic,
    /// A header field is impossible.
    #[error("segment header holds an impossible {0}")]
    Header(&'static str),
    /// The content hash differs.
    #[error("segment {0} does not match its content hash")]
    Hash(crate::SegmentName),
    /// The body cannot be compressed or decompressed.
    #[error("segment body cannot be (de)compressed: {0}")]
    Compression(String),
    /// The block inside does not say what the header says.
    #[error("segment block does not match its header: {0}")]
    Block(&'static str),
    /// The block inside is not a Native block.
    #[error(transparent)]
    Native(#[from] NativeError),
}

/// A segment whose header and content hash were checked.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    header: Header,
    body: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Checks bytes of unknown origin: lengths, fields, content hash. Does not decompress.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SegmentError> {
        let header = Header::parse(bytes)?;
        let want = HEADER_BYTES + header.body_bytes as usize;
        if bytes.len() != want {
            return Err(SegmentError::Short { have: bytes.len(), want });
        }
        let body = &bytes[HEADER_BYTES..];
        if content_hash(&header, body) != header.content {
            return Err(SegmentError::Hash(header.name));
        }
        Ok(Self { header, body })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The Native block, decompressed: the body of an insert.
    pub fn block_bytes(&self) -> Result<Vec<u8>, SegmentError> {
        let want = self.header.block_bytes as usize;
        let bytes = zstd::bulk::decompress(self.body, want)
            .map_err(|error| SegmentError::Compression(error.to_string()))?;
        if bytes.len() == want { Ok(bytes) } else { Err(SegmentError::Block("length")) }
    }

    /// The block as columns, checked against the header's totals: for tests, audits and tools.
    pub fn block(&self) -> Result<Block, SegmentError> {
        let block = native::read_block(&self.block_bytes()?)?;
        if Totals::of_block(&block) == Some(self.header.totals) {
            Ok(block)
        } else {
            Err(SegmentError::Block("totals"))
        }
    }
}

/// SHA-256 over the header without its own hash, and the body.
fn content_hash(header: &Header, body: &[u8]) -> Hash {
    let mut blank = *header;
    blank.content = Hash::ZERO;
    let mut sha = Sha256::new();
    sha.update(blank.encode());
    sha.update(body);
    Hash(sha.finalize().into())
}

#[cfg(test)]
mod tests;
