//! The messages between a gateway's shipper and the analytics service (JSON over HTTP).
//!
//! `PUT /v1/segments/{gateway}/{epoch}/{shard}/{seq}` carries a segment's bytes as they lie in the spool and is
//! answered by [`PutAnswer`]; `POST /v1/spool/heartbeat` carries a [`Heartbeat`] and is answered by [`HeartbeatAnswer`].
//! Every message may be lost, repeated or reordered; none of that changes what is stored.

use serde::{Deserialize, Serialize};

use crate::{GatewayId, SegmentName, Stream};

/// What the service knows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentState {
    /// Not known: send it.
    Unknown,
    /// Taken in; being written. Do not send again before the service restarts (see [`PutAnswer::boot`]).
    Held,
    /// Its rows were counted in the store. Deletion follows the contiguous marks of [`HeartbeatAnswer`].
    Audited,
    /// Another content was seen under this name, or the store holds a part of it: kept, and an alarm was raised.
    Conflict,
    /// The service has no room now: send it again later.
    Busy,
}

/// The answer to a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// Which segment.
    pub name: SegmentName,
    /// What the service knows of it now.
    pub state: SegmentState,
    /// Changes when the service starts anew: everything held but not audited must be sent again.
    pub boot: String,
}

/// What a gateway says of one of its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// Which stream.
    pub stream: Stream,
    /// The oldest seq that the spool still holds, or `next_seq`; everything before was audited.
    pub first_held: u32,
    /// The seq that the next segment will get: segments `0..next_seq` exist.
    pub next_seq: u32,
    /// Whether no segment will follow `next_seq - 1`: the epoch ended and was recovered or drained.
    pub closed: bool,
    /// Every record with `ts_us` up to and including this lies in segments before `next_seq`.
    pub complete_through_us: u64,
}

/// Sent by every gateway about once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender.
    pub gateway: GatewayId,
    /// Its running epoch.
    pub epoch: u32,
    /// Its clock, microseconds since 1970-01-01 UTC.
    pub now_us: u64,
    /// All streams that are open, or closed and not yet acknowledged.
    pub streams: Vec<StreamFacts>,
    /// Segments that will never come, because their file was found damaged.
    pub lost: Vec<LostSegment>,
    /// How the spool is.
    pub spool: SpoolHealth,
}

/// A segment that was sealed and cannot be read any more: a declared loss, never a silent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSegment {
    /// Which segment.
    pub name: SegmentName,
    /// How many requests it held, when its header could still be read.
    pub n: Option<u64>,
}

/// The figures of a spool that people watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolHealth {
    /// Bytes of sealed segments on disk.
    pub spool_bytes: u64,
    /// Sealed segments on disk.
    pub segments: u64,
    /// Age of the oldest record that is not yet audited, in microseconds; 0 when there is none.
    pub oldest_age_us: u64,
    /// Whether detail is being given up at the moment (disk or ring full). Counts stay exact.
    pub degraded: bool,
    /// Requests kept as counts, without detail, since this start.
    pub counted_only: u64,
    /// Requests whose record is lost for good, declared; 0 unless files were damaged.
    pub lost: u64,
    /// Files that were found damaged and set aside.
    pub quarantined: u64,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// See [`PutAnswer::boot`].
    pub boot: String,
    /// Per stream: segments `0..audited` were counted in the store and may be deleted.
    pub marks: Vec<StreamMark>,
    /// A hint how old a segment should be when it is sealed, in milliseconds.
    pub seal_age_ms: u32,
}

/// How far a stream is audited without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// Which stream.
    pub stream: Stream,
    /// Segments `0..audited` are in the store.
    pub audited: u32,
    /// Whether the stream is closed and audited to its end: the gateway may forget it.
    pub finished: bool,
}
