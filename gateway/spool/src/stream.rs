//! Turns what one stream holds in memory into sealed segments on disk, exactly once.
//!
//! Order for every segment: write, sync, rename, sync the directory; checkpoint in the ring, synced; only then is it
//! listed and the ring space free. A crash before the checkpoint leaves a segment whose header says which ring bytes or
//! counters it was made from, and recovery goes on behind them.

use std::io;
use std::sync::Arc;

use analytics_record::aggregate::Aggregator;
use analytics_record::segment::{Flavour, Header, Seal, SegmentError, Source, seal};
use analytics_record::{Record, Stream, day_of};

use crate::inventory::{Progress, SealedInfo};
use crate::names::Names;
use crate::overflow::{self, Counted};
use crate::ring::{Checkpoint, Found, Ring};
use crate::spool::Shared;
use crate::vfs::{Region, replace_file};

/// Why a segment could not be sealed; what it would have held stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The disk refuses.
    #[error("cannot write segment: {0}")]
    Io(#[from] io::Error),
    /// The records do not make a segment.
    #[error("cannot build segment: {0}")]
    Segment(#[from] SegmentError),
}

impl SealError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

/// The sealing side of one stream, of the running epoch or of one that ended.
#[derive(Debug)]
pub(crate) struct StreamSealer {
    pub stream: Stream,
    pub ring: Ring,
    /// The counter tables; none where the file was damaged.
    pub tables: [Option<Region>; 2],
    pub names: Arc<Names>,
    pub checkpoint: Checkpoint,
    /// A segment that is on disk while its checkpoint is not.
    pending: Option<(Checkpoint, SealedInfo)>,
}

/// What may go into one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Ring positions before this.
    pub end: u64,
    /// How much detail to keep.
    pub flavour: Flavour,
    /// The time through which the stream is complete when all of this is sealed.
    pub through_us: Option<u64>,
}

impl StreamSealer {
    pub(crate) fn new(
        stream: Stream,
        ring: Ring,
        tables: [Option<Region>; 2],
        names: Arc<Names>,
        checkpoint: Checkpoint,
    ) -> Self {
        Self { stream, ring, tables, names, checkpoint, pending: None }
    }

    /// Ring bytes that are not in segments.
    pub(crate) fn backlog(&self, written: u64) -> u64 {
        written - self.checkpoint.consumed
    }

    /// Seals ring entries up to `cut.end`; gives the number of segments made.
    pub(crate) fn seal_ring(&mut self, cut: Cut, shared: &Shared) -> Result<usize, SealError> {
        self.finish_pending(shared)?;
        let mut made = 0;
        while self.checkpoint.consumed < cut.end {
            let from = self.checkpoint.consumed;
            let (records, to) = match cut.flavour {
                Flavour::Detail => self.detail(from, cut.end, shared),
                Flavour::Aggregate => self.aggregate(from, cut.end),
            };
            if records.is_empty() {
                // Nothing but damaged bytes up to the end.
                return self.skip_to(cut.end).map(|()| made);
            }
            let next = Checkpoint {
                consumed: to,
                complete_through_us: self.through(cut.through_us.filter(|_| to == cut.end)),
                ..self.checkpoint
            };
            self.seal_one(&records, cut.flavour, Source::Ring { from, to }, next, shared)?;
            made += 1;
        }
        Ok(made)
    }

    /// Seals what is left of a resting counter generation; gives the number of segments made.
    pub(crate) fn seal_overflow(
        &mut self,
        generation: u64,
        through_us: Option<u64>,
        shared: &Shared,
    ) -> Result<usize, SealError> {
        self.finish_pending(shared)?;
        let table = self.tables[(generation % 2) as usize].as_ref();
        let (counted, damaged) =
            table.map_or_else(Default::default, |table| overflow::read(table, generation));
        if damaged > 0 {
            shared.note(format!(
                "{}: {damaged} counters of generation {generation} are damaged and lost",
                self.stream
            ));
        }
        let mut days = by_day(counted);
        if self.checkpoint.overflow_generation == generation {
            days.retain(|(day, _)| *day >= self.checkpoint.overflow_day);
        }
        let last = days.len();
        for (index, (day, counted)) in days.into_iter().enumerate() {
            let mut records = Vec::new();
            for (key, sums) in &counted {
                sums.into_records(key, &mut records);
            }
            let next = Checkpoint {
                overflow_generation: generation,
                overflow_day: day + 1,
                complete_through_us: self.through(through_us.filter(|_| index + 1 == last)),
                ..self.checkpoint
            };
            self.seal_one(&records, Flavour::Aggregate, Source::Overflow { generation, day }, next, shared)?;
        }
        let next = Checkpoint {
            serial: self.checkpoint.serial + 1,
            overflow_generation: generation + 1,
            overflow_day: 0,
            ..self.checkpoint
        };
        self.ring.write_checkpoint(next)?;
        self.checkpoint = next;
        Ok(last)
    }

    /// How the stream stands.
    pub(crate) fn progress(&self, closed: bool) -> Progress {
        let Checkpoint { next_seq, complete_through_us, .. } = self.checkpoint;
        Progress { next_seq, complete_through_us, closed }
    }

    /// Takes note of a segment that was on disk, beyond the checkpoint, when the process started.
    pub(crate) fn adopt(&mut self, header: &Header) {
        let checkpoint = &mut self.checkpoint;
        checkpoint.next_seq = header.name.seq + 1;
        checkpoint.previous = header.content;
        checkpoint.complete_through_us = checkpoint.complete_through_us.max(header.complete_through_us);
        match header.source {
            Source::Ring { to, .. } => checkpoint.consumed = checkpoint.consumed.max(to),
            Source::Overflow { generation, day } => {
                checkpoint.overflow_generation = generation;
                checkpoint.overflow_day = day + 1;
            }
        }
    }

    fn through(&self, through_us: Option<u64>) -> u64 {
        through_us.unwrap_or(0).max(self.checkpoint.complete_through_us)
    }

    fn skip_to(&mut self, end: u64) -> Result<(), SealError> {
        let next = Checkpoint { serial: self.checkpoint.serial + 1, consumed: end, ..self.checkpoint };
        self.ring.write_checkpoint(next)?;
        self.checkpoint = next;
        Ok(())
    }

    /// Records of one day from `from` on, as many as one segment takes, and the position behind them.
    fn detail(&self, from: u64, end: u64, shared: &Shared) -> (Vec<Record>, u64) {
        let options = &shared.options;
        let (mut records, mut at) = (Vec::new(), from);
        while let Some(Found { record, next, .. }) = self.ring.next(at, end) {
            let other_day =
                records.last().is_some_and(|last: &Record| day_of(last.ts_us) != day_of(record.ts_us));
            let full = records.len() >= options.seal_rows || (next - from > options.seal_bytes && at > from);
            if other_day || full {
                return (records, at);
            }
            records.push(record);
            at = next;
        }
        (records, end)
    }

    /// All records of one day from `from` on, aggregated, and the position behind them.
    fn aggregate(&self, from: u64, end: u64) -> (Vec<Record>, u64) {
        let (mut aggregator, mut day, mut at) = (Aggregator::default(), None, from);
        while let Some(Found { record, next, .. }) = self.ring.next(at, end) {
            if *day.get_or_insert(day_of(record.ts_us)) != day_of(record.ts_us) {
                return (aggregator.into_records(), at);
            }
            aggregator.add(&record);
            at = next;
        }
        (aggregator.into_records(), end)
    }

    /// Writes one segment; `next` says what it covers.
    fn seal_one(
        &mut self,
        records: &[Record],
        flavour: Flavour,
        source: Source,
        next: Checkpoint,
        shared: &Shared,
    ) -> Result<(), SealError> {
        let name = self.stream.segment(self.checkpoint.next_seq);
        let request = Seal {
            name,
            flavour,
            source,
            complete_through_us: next.complete_through_us,
            wall_anchor_us: shared.clock.anchor_us(),
            previous: self.checkpoint.previous,
        };
        let sealed = seal(&request, records, &|id| self.names.text(id))?;
        let path = shared.layout.segment(self.stream.epoch, self.stream.shard, name.seq);
        if let Err(error) = replace_file(&*shared.machine.vfs, &path, &sealed.bytes) {
            // What was written of it takes room that the next attempt needs.
            let _ = shared.machine.vfs.remove(&path.with_extension("tmp"));
            return Err(error.into());
        }
        let info = SealedInfo::new(&sealed.header, sealed.bytes.len() as u64);
        let next = Checkpoint {
            serial: self.checkpoint.serial + 1,
            next_seq: name.seq + 1,
            previous: sealed.header.content,
            ..next
        };
        self.pending = Some((next, info));
        self.finish_pending(shared)
    }

    /// Makes the last segment's checkpoint durable, then lists the segment.
    fn finish_pending(&mut self, shared: &Shared) -> Result<(), SealError> {
        let Some((next, info)) = self.pending else { return Ok(()) };
        self.ring.write_checkpoint(next)?;
        self.checkpoint = next;
        self.pending = None;
        let mut inventory = shared.inventory();
        let closed = inventory.progress(self.stream).is_some_and(|progress| progress.closed);
        inventory.add(info);
        inventory.set_progress(self.stream, self.progress(closed));
        Ok(())
    }
}

/// Counts by UTC day, ascending.
fn by_day(counted: Vec<Counted>) -> Vec<(u64, Vec<Counted>)> {
    let mut days = std::collections::BTreeMap::<u64, Vec<Counted>>::new();
    for content in counted {
        days.entry(day_of(content.1.first_ts_us)).or_default().push(content);
    }
    days.into_iter().collect()
}
