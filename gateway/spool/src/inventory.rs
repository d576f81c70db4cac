//! What the spool holds: sealed segments, how far each stream is, what was lost.
//!
//! In: segments as they are sealed, deleted or found damaged. Out: the facts that the shipper tells the analytics
//! service. In memory only: it is built anew from the directory at every start.

use std::collections::BTreeMap;

use analytics_record::segment::Header;
use analytics_record::wire::{LostSegment, StreamFacts};
use analytics_record::{SegmentName, Stream};

/// A sealed segment in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedInfo {
    /// Its name.
    pub name: SegmentName,
    /// Bytes on disk.
    pub bytes: u64,
    /// The earliest record.
    pub min_ts_us: u64,
    /// The latest record.
    pub max_ts_us: u64,
    /// Rows.
    pub rows: u64,
    /// Requests.
    pub n: u64,
}

impl SealedInfo {
    pub(crate) fn new(header: &Header, bytes: u64) -> Self {
        Self {
            name: header.name,
            bytes,
            min_ts_us: header.min_ts_us,
            max_ts_us: header.max_ts_us,
            rows: header.totals.rows,
            n: header.totals.n,
        }
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub next_seq: u32,
    pub complete_through_us: u64,
    pub closed: bool,
}

/// Everything the spool holds.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    segments: BTreeMap<SegmentName, SealedInfo>,
    streams: BTreeMap<Stream, Progress>,
    bytes: u64,
    lost: Vec<LostSegment>,
    /// Damaged files set aside, of any kind.
    pub quarantined: u64,
    /// What a person should know of recovery and damage.
    pub notes: Vec<String>,
}

impl Inventory {
    pub(crate) fn add(&mut self, info: SealedInfo) {
        self.bytes += info.bytes;
        if let Some(old) = self.segments.insert(info.name, info) {
            self.bytes -= old.bytes;
        }
    }

    pub(crate) fn remove(&mut self, name: SegmentName) -> Option<SealedInfo> {
        let info = self.segments.remove(&name)?;
        self.bytes -= info.bytes;
        Some(info)
    }

    pub(crate) fn lose(&mut self, segment: LostSegment) {
        if !self.lost.iter().any(|known| known.name == segment.name) {
            self.lost.push(segment);
        }
    }

    pub(crate) fn set_progress(&mut self, stream: Stream, progress: Progress) {
        self.streams.insert(stream, progress);
    }

    pub(crate) fn progress(&self, stream: Stream) -> Option<Progress> {
        self.streams.get(&stream).copied()
    }

    pub(crate) fn forget(&mut self, stream: Stream) {
        self.streams.remove(&stream);
        self.lost.retain(|segment| segment.name.stream != stream);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn lost(&self) -> &[LostSegment] {
        &self.lost
    }

    /// All segments, streams in order, each stream's segments in order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &SealedInfo> {
        self.segments.values()
    }

    /// The segments of a stream, in order.
    pub(crate) fn of_stream(&self, stream: Stream) -> impl DoubleEndedIterator<Item = &SealedInfo> {
        self.segments.range(stream.segment(0)..=stream.segment(u32::MAX)).map(|(_, info)| info)
    }

    pub(crate) fn facts(&self) -> Vec<StreamFacts> {
        let facts = |(stream, progress): (&Stream, &Progress)| StreamFacts {
            stream: *stream,
            first_held: self.of_stream(*stream).next().map_or(progress.next_seq, |info| info.name.seq),
            next_seq: progress.next_seq,
            closed: progress.closed,
            complete_through_us: progress.complete_through_us,
        };
        self.streams.iter().map(facts).collect()
    }
}
