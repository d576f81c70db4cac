//! The background side of the spool: decides when to cut, seals, frees rings, ends epochs.
//!
//! In: a tick about every 100 ms with the wall clock. Out: sealed segments, and what is wrong, if anything is.
//! When the disk is full or the budget is nearly used, segments keep counts without detail; when nothing can be
//! written, rings fill and their counters take over; both end by themselves when there is room again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use analytics_record::day_of;
use analytics_record::segment::Flavour;

use crate::closed::{self, End};
use crate::overflow::Active;
use crate::shard::{Mark, Shard};
use crate::spool::Shared;
use crate::stream::{Cut, SealError, StreamSealer};

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments sealed.
    pub sealed: usize,
    /// What is wrong, in words for a log; the sealer tries again at the next tick.
    pub trouble: Option<String>,
    /// Whether detail is being given up. Counts stay exact.
    pub degraded: bool,
}

/// Seals what shards and ended epochs hold. Owned by one thread.
#[derive(Debug)]
pub struct Sealer {
    shared: Arc<Shared>,
    live: Vec<Live>,
    ended: Vec<Ended>,
    seal_age_us: u64,
}

/// The running epoch's side of a shard.
#[derive(Debug)]
pub(crate) struct Live {
    pub sealer: StreamSealer,
    /// Since when there is something to seal.
    pub since_us: Option<u64>,
    /// Records before this are in segments.
    pub sealed_rows: u64,
    /// A counter generation that rests and is not yet sealed.
    pub resting: Option<u64>,
    /// The generation that counts now.
    pub counting: u64,
}

/// An epoch that ended without its last records in segments.
#[derive(Debug)]
pub(crate) struct Ended {
    pub epoch: u32,
    pub streams: Vec<EndedStream>,
    /// Ends known already, of streams that left nothing to seal.
    pub ends: Vec<End>,
}

/// A stream of an ended epoch.
#[derive(Debug)]
pub(crate) struct EndedStream {
    pub sealer: StreamSealer,
    /// The ring holds whole entries up to here.
    pub end: u64,
    /// Counter generations to seal, ascending.
    pub generations: Vec<u64>,
}

impl Sealer {
    pub(crate) fn new(shared: Arc<Shared>, live: Vec<Live>, ended: Vec<Ended>) -> Self {
        let seal_age_us = shared.options.seal_age.as_micros() as u64;
        Self { shared, live, ended, seal_age_us }
    }

    /// Changes how old a segment's oldest record gets, within 50 ms and 60 s.
    pub fn seal_age(&mut self, age: Duration) {
        self.seal_age_us = (age.as_micros() as u64).clamp(50_000, 60_000_000);
    }

    /// Looks at every shard once and seals what is due.
    pub fn tick(&mut self, wall_us: u64) -> Report {
        let now_us = self.shared.clock.observe(wall_us);
        let mut report = Report::default();
        self.finish_ended(&mut report);
        // Also when nothing is due at this moment: what comes next would lose its detail.
        let mut degraded = self.flavour() == Flavour::Aggregate;
        for index in 0..self.live.len() {
            let mark = self.shared.shards[index].peek();
            if self.due(index, mark, now_us) {
                degraded |= self.seal_shard(index, now_us, &mut report);
            } else {
                degraded |= mark.counting;
            }
        }
        report.degraded = degraded;
        self.shared.degraded.store(degraded, Ordering::Relaxed);
        report
    }

    /// Seals everything and ends the epoch. Call it after the last request; records that come later are refused.
    /// On an error nothing is lost: the next start goes on where this stopped.
    pub fn close(mut self, wall_us: u64) -> Result<Report, SealError> {
        let now_us = self.shared.clock.observe(wall_us);
        let mut report = Report::default();
        self.finish_ended(&mut report);
        for index in 0..self.live.len() {
            self.shared.shards[index].close();
            let live = &mut self.live[index];
            if let Some(generation) = live.resting.take() {
                report.sealed += live.sealer.seal_overflow(generation, None, &self.shared)?;
            }
            let mark = self.shared.shards[index].mark(now_us);
            if mark.counting {
                report.sealed += live.sealer.seal_overflow(live.counting, None, &self.shared)?;
            }
            let cut = Cut { end: mark.written, flavour: self.flavour(), through_us: Some(now_us) };
            report.sealed += self.live[index].sealer.seal_ring(cut, &self.shared)?;
        }
        let streams: Vec<&StreamSealer> = self.live.iter().map(|live| &live.sealer).collect();
        end_epoch(&self.shared, self.shared.epoch, &streams, &[])?;
        Ok(report)
    }

    /// Whether a shard should be looked at: something is due, or there is nothing to seal and time can be declared.
    fn due(&mut self, index: usize, mark: Mark, now_us: u64) -> bool {
        let options = &self.shared.options;
        let live = &mut self.live[index];
        let backlog = live.sealer.backlog(mark.written);
        let waiting = mark.counting || live.resting.is_some();
        if backlog == 0 && !waiting {
            live.since_us = None;
            return true;
        }
        let since = *live.since_us.get_or_insert(mark.oldest_us.unwrap_or(now_us));
        waiting
            || now_us.saturating_sub(since) >= self.seal_age_us
            || day_of(since) != day_of(now_us)
            || (mark.rows - live.sealed_rows) as usize >= options.seal_rows
            || backlog >= options.seal_bytes
            || backlog > live.sealer.ring.capacity() / 2
    }

    /// Seals all that a shard holds now; gives whether detail was given up.
    fn seal_shard(&mut self, index: usize, now_us: u64, report: &mut Report) -> bool {
        let flavour = self.flavour();
        let shared = Arc::clone(&self.shared);
        let shard = &shared.shards[index];
        let live = &mut self.live[index];
        if live.resting.is_none() && shard.peek().counting {
            live.rest(shard);
        }
        // Records after this instant get later times, so what is before it is complete through `now_us`.
        let mark = shard.mark(now_us);
        live.since_us = live.since_us.or(mark.oldest_us);
        let through = (!mark.counting).then_some(now_us);
        let mut degraded = mark.counting || live.resting.is_some();
        let done = live.seal(mark, flavour, through, &shared, report);
        match done {
            Ok(()) => {
                live.since_us = None;
                live.sealed_rows = mark.rows;
                if let Some(through_us) = through {
                    live.sealer.checkpoint.complete_through_us =
                        through_us.max(live.sealer.checkpoint.complete_through_us);
                    shared.inventory().set_progress(live.sealer.stream, live.sealer.progress(false));
                }
                degraded |= flavour == Flavour::Aggregate;
            }
            Err(error) => {
                degraded |= error.is_full();
                report.trouble = Some(format!("{}: {error}", live.sealer.stream));
            }
        }
        shard.free(live.sealer.checkpoint.consumed);
        degraded
    }

    /// How much detail there is room for.
    fn flavour(&self) -> Flavour {
        let used = self.shared.inventory().bytes();
        if used >= self.shared.options.soft_budget_bytes() { Flavour::Aggregate } else { Flavour::Detail }
    }

    /// Goes on with epochs that ended without their last records in segments.
    pub(crate) fn finish_ended(&mut self, report: &mut Report) {
        let shared = Arc::clone(&self.shared);
        let flavour = self.flavour();
        self.ended.retain_mut(|ended| match ended.finish(flavour, &shared, report) {
            Ok(()) => false,
            Err(error) => {
                report.trouble = Some(format!("epoch {}: {error}", ended.epoch));
                true
            }
        });
    }
}

impl Live {
    /// Lets the counters rest, so that they can be sealed, and starts the next generation in the other file.
    fn rest(&mut self, shard: &Shard) {
        let next = self.counting + 1;
        if let Some(table) = &self.sealer.tables[(next % 2) as usize] {
            shard.swap_overflow(Active::start(Arc::clone(table), next));
            self.resting = Some(self.counting);
            self.counting = next;
        }
    }

    fn seal(
        &mut self,
        mark: Mark,
        flavour: Flavour,
        through: Option<u64>,
        shared: &Shared,
        report: &mut Report,
    ) -> Result<(), SealError> {
        if let Some(generation) = self.resting {
            let last = through.filter(|_| self.sealer.backlog(mark.written) == 0);
            report.sealed += self.sealer.seal_overflow(generation, last, shared)?;
            self.resting = None;
        }
        let cut = Cut { end: mark.written, flavour, through_us: through };
        match self.sealer.seal_ring(cut, shared) {
            Ok(made) => report.sealed += made,
            // Detail does not fit on the disk and the ring is nearly full: keep the counts of it at least.
            Err(error)
                if error.is_full()
                    && self.sealer.backlog(mark.written) > self.sealer.ring.capacity() / 4 * 3 =>
            {
                report.sealed += self.sealer.seal_ring(Cut { flavour: Flavour::Aggregate, ..cut }, shared)?;
                report.trouble = Some(format!("{}: {error}; kept as counts", self.sealer.stream));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Ended {
    fn finish(&mut self, flavour: Flavour, shared: &Shared, report: &mut Report) -> Result<(), SealError> {
        for stream in &mut self.streams {
            while let Some(generation) = stream.generations.first().copied() {
                report.sealed += stream.sealer.seal_overflow(generation, None, shared)?;
                stream.generations.remove(0);
            }
            let cut = Cut { end: stream.end, flavour, through_us: None };
            report.sealed += stream.sealer.seal_ring(cut, shared)?;
        }
        let streams: Vec<&StreamSealer> = self.streams.iter().map(|stream| &stream.sealer).collect();
        end_epoch(shared, self.epoch, &streams, &self.ends)
    }
}

/// Writes down where an epoch's streams ended, then removes its rings.
fn end_epoch(shared: &Shared, epoch: u32, streams: &[&StreamSealer], known: &[End]) -> Result<(), SealError> {
    let mut ends = known.to_vec();
    ends.extend(streams.iter().map(|sealer| End {
        gateway: sealer.stream.gateway,
        shard: sealer.stream.shard,
        next_seq: sealer.checkpoint.next_seq,
        complete_through_us: sealer.checkpoint.complete_through_us,
    }));
    let vfs = &*shared.machine.vfs;
    closed::write(vfs, &shared.layout, epoch, &ends)?;
    {
        let mut inventory = shared.inventory();
        for end in ends {
            let stream = analytics_record::Stream { gateway: end.gateway, epoch, shard: end.shard };
            inventory.set_progress(stream, end.into());
        }
    }
    remove_epoch(shared, epoch)?;
    Ok(())
}

/// Removes what an ended epoch left in memory-backed files; nothing of it is needed any more.
pub(crate) fn remove_epoch(shared: &Shared, epoch: u32) -> std::io::Result<()> {
    let vfs = &*shared.machine.vfs;
    let dir = shared.layout.epoch_dir(epoch);
    let files = match vfs.list(&dir) {
        // An earlier attempt got this far.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vfs.sync_dir(&shared.layout.epochs());
        }
        files => files?,
    };
    for file in files {
        vfs.remove(&dir.join(file))?;
    }
    // A power loss must not bring back a part of them once the epoch's end is forgotten.
    vfs.sync_dir(&dir)?;
    vfs.remove_dir(&dir)?;
    vfs.sync_dir(&shared.layout.epochs())
}

#[cfg(test)]
mod tests;
