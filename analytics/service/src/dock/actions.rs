//! Runs what the state machine asks for: inserts, counts, alarms.

use std::time::Duration;

use analytics_ingest::{Action, AttemptId, InsertOutcome, QueryId};
use analytics_record::segment::{Header, Segment, Totals};
use analytics_record::table::verify_statement;
use analytics_record::{GatewayId, SegmentName, Stream, day_of};
use serde::Deserialize;

use super::{Notice, Outcome, Task};
use crate::store::StoreError;

/// A row of the count that verifies segments.
#[derive(Debug, Deserialize)]
struct Counted {
    gateway: GatewayId,
    epoch: u32,
    shard: u8,
    seq: u32,
    rows: u64,
    n: u64,
    units: u64,
    bytes: u64,
    row_sum: u64,
}

impl Counted {
    fn named(self) -> (SegmentName, Totals) {
        let stream = Stream { gateway: self.gateway, epoch: self.epoch, shard: self.shard };
        let Self { rows, n, units, bytes, row_sum, .. } = self;
        (stream.segment(self.seq), Totals { rows, n, units, bytes, row_sum })
    }
}

impl Task {
    /// Starts everything that is due.
    pub(super) fn act(&mut self) {
        for action in self.ingest.poll(super::now(self.clock)) {
            match action {
                Action::Insert { attempt, name, token, deadline_us } => {
                    self.insert(attempt, name, token, deadline_us);
                }
                Action::Verify { query, headers } => self.verify(query, headers),
                Action::Drop { name } => {
                    if let Some(held) = self.held.remove(&name) {
                        // Its rows may have become visible long after the insert that brought them was given up.
                        let _ = self.notices.send(Notice::Written { day: held.day });
                    }
                }
                Action::Alarm { name, what } => {
                    self.alarms += 1;
                    tracing::error!(segment = %name, ?what, "segment alarm: it is kept, and an operator must look");
                }
                Action::Late { name, min_ts_us, max_ts_us } => {
                    let what = "records arrived for a time that was declared complete: reports over it are corrected";
                    tracing::warn!(segment = %name, min_ts_us, max_ts_us, what);
                }
            }
        }
    }

    fn insert(&mut self, attempt: AttemptId, name: SegmentName, token: String, deadline_us: u64) {
        let (store, outcomes) = (self.store.clone(), self.outcomes.clone());
        let Some(bytes) = self.held.get(&name).map(|held| held.bytes.clone()) else {
            tracing::error!(segment = %name, "bytes of a held segment are missing");
            self.ingest.inserted(attempt, InsertOutcome::Refused, super::now(self.clock));
            return;
        };
        let notices = self.notices.clone();
        self.under_way += 1;
        tokio::spawn(async move {
            let opened = tokio::task::spawn_blocking(move || open(&bytes)).await.ok().flatten();
            let outcome = match opened {
                Some((day, block)) => {
                    let outcome =
                        store.insert().send(block, &token, Duration::from_micros(deadline_us)).await;
                    if outcome != InsertOutcome::Refused {
                        // Nobody listens during shutdown; the rollup is checked at the next start.
                        let _ = notices.send(Notice::Written { day });
                    }
                    outcome
                }
                None => InsertOutcome::Refused,
            };
            let _ = outcomes.send(Outcome::Inserted { attempt, outcome });
        });
    }

    fn verify(&mut self, query: QueryId, headers: Vec<Header>) {
        let (store, outcomes) = (self.store.clone(), self.outcomes.clone());
        tokio::spawn(async move {
            let sql = verify_statement(store.database(), &headers);
            let found: Result<Vec<Counted>, StoreError> = store.rows_of(&sql).await;
            let found = found.map(|rows| rows.into_iter().map(Counted::named).collect()).map_err(|error| {
                tracing::warn!(%error, segments = headers.len(), "segments could not be counted");
            });
            let _ = outcomes.send(Outcome::Counted { query, found });
        });
    }
}

/// Day and block of a segment that was checked when it arrived.
fn open(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let segment = Segment::parse(bytes).ok()?;
    Some((day_of(segment.header().min_ts_us), segment.block_bytes().ok()?))
}
