//! What ingestion knows, in a form to keep and to show.
//!
//! In: the states of all streams. Out: a [`Ledger`] to keep across restarts (small, replaced whole), and a [`Status`]
//! for people, reports and quota settlement.

use analytics_record::Stream;
use serde::{Deserialize, Serialize};

/// What should survive a restart of the service: without it, a stream that is silent for the moment would not hold
/// back the completeness of the whole. Losing it costs named corrections, never rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The time through which completeness was declared.
    pub complete_through_us: Option<u64>,
    /// All streams that their gateways have not forgotten.
    pub streams: Vec<StreamStatus>,
}

/// One stream, as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Which stream.
    pub stream: Stream,
    /// Segments `0..audited` are in the store, or their loss is declared.
    pub audited: u32,
    /// Segments `0..next_seq` exist, as far as is known.
    pub next_seq: u32,
    /// No segment follows.
    pub closed: bool,
    /// Closed and audited to its end: every record of this stream is in the store. Settles its leases exactly, if
    /// `lost` is 0.
    pub finished: bool,
    /// Every record of the stream with `ts_us` up to and including this is in the store.
    pub complete_through_us: u64,
    /// Segments declared lost.
    pub lost: usize,
    /// A gateway spoke of it: the completeness of the whole waits for it.
    pub expected: bool,
    /// An operator took it out of the completeness of the whole.
    pub given_up: bool,
    /// When a heartbeat last spoke of it, monotonic microseconds of this life; 0 for never.
    pub heard_us: u64,
}

/// How ingestion is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Every record of every known stream with `ts_us` up to and including this is in the store; none while no
    /// stream is known.
    pub complete_through_us: Option<u64>,
    /// All known streams.
    pub streams: Vec<StreamStatus>,
    /// Segments taken in and not yet audited.
    pub held: usize,
    /// Segments audited in this life.
    pub audited_total: u64,
    /// Requests audited in this life.
    pub audited_n: u64,
    /// Inserts tried in this life.
    pub inserts: u64,
    /// Inserts beyond the first of their segment: each was preceded by a count of zero.
    pub retries: u64,
    /// Segments with an open alarm.
    pub conflicts: u64,
    /// Segments too old for the store, dropped and declared.
    pub expired: u64,
    /// Segments that came after completeness was declared for their time.
    pub late: u64,
}
