//! Where a worker leaves its records: one ring, its counters, and a lock that is held for a copy.
//!
//! In: records, from any thread. Out: the record in memory that outlives the process, or, when the ring is full, its
//! counts. Never blocks on the sealer, the disk or the network: the sealer holds the lock for a few instructions only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use analytics_record::entry::{self, MAX_ENTRY_BYTES};
use analytics_record::{Record, day_start_us};

use crate::overflow::Active;
use crate::ring::Ring;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the ring, whole.
    Detail,
    /// The ring is full: it is in the counters, without detail.
    Counted,
    /// The epoch was closed before: the record is not kept. Close the sealer only after the last request.
    Closed,
}

/// One ring of the running epoch. The lock is per shard: give each worker thread its own and it is never contended.
#[derive(Debug)]
pub struct Shard {
    ring: Ring,
    producer: Mutex<Producer>,
    /// Ring positions before this are free again; written by the sealer.
    consumed: AtomicU64,
    counted_only: AtomicU64,
}

#[derive(Debug)]
struct Producer {
    written: u64,
    rows: u64,
    /// Times up to this were declared complete, or lie in an earlier day: rows come after.
    floor_us: u64,
    /// The earliest record since the last [`Shard::mark`].
    oldest_us: Option<u64>,
    overflow: Active,
    closed: bool,
    buffer: Box<[u8; MAX_ENTRY_BYTES]>,
}

/// What the sealer sees of a shard at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything before this ring position is whole.
    pub written: u64,
    /// Records ever put into the ring.
    pub rows: u64,
    /// Records counted since the last [`Shard::swap_overflow`].
    pub counting: bool,
    /// The earliest record since the last [`Shard::mark`].
    pub oldest_us: Option<u64>,
}

impl Producer {
    fn seen(&self) -> Mark {
        Mark {
            written: self.written,
            rows: self.rows,
            counting: !self.overflow.is_empty(),
            oldest_us: self.oldest_us,
        }
    }
}

impl Shard {
    pub(crate) fn new(ring: Ring, overflow: Active) -> Self {
        let buffer = Box::new([0; MAX_ENTRY_BYTES]);
        Self {
            ring,
            producer: Mutex::new(Producer {
                written: 0,
                rows: 0,
                floor_us: 0,
                oldest_us: None,
                overflow,
                closed: false,
                buffer,
            }),
            consumed: AtomicU64::new(0),
            counted_only: AtomicU64::new(0),
        }
    }

    /// Keeps a record. When this returns, a kill of the process does not lose it. No system call, no allocation.
    /// `ts_us` is raised where it would fall behind a time already declared complete, or into an earlier day.
    pub fn append(&self, record: &Record) -> Appended {
        let mut record = *record;
        let mut guard = self.lock();
        let producer = &mut *guard;
        if producer.closed {
            return Appended::Closed;
        }
        record.ts_us = record.ts_us.max(producer.floor_us + 1);
        producer.floor_us = producer.floor_us.max(day_start_us(record.ts_us).saturating_sub(1));
        producer.oldest_us.get_or_insert(record.ts_us);
        let used = entry::encode(&record, producer.written, &mut producer.buffer);
        let free = self.ring.capacity() - (producer.written - self.consumed.load(Ordering::Acquire));
        if used as u64 > free {
            producer.overflow.add(&record);
            drop(guard);
            self.counted_only.fetch_add(u64::from(record.n), Ordering::Relaxed);
            return Appended::Counted;
        }
        self.ring.write(producer.written, &producer.buffer[..used]);
        producer.written += used as u64;
        producer.rows += 1;
        Appended::Detail
    }

    /// Requests kept as counts only since this start.
    pub fn counted_only(&self) -> u64 {
        self.counted_only.load(Ordering::Relaxed)
    }

    /// Declares that no later record of this shard will have `ts_us` up to and including `through_us`; everything
    /// that does is before the mark.
    pub(crate) fn mark(&self, through_us: u64) -> Mark {
        let mut producer = self.lock();
        producer.floor_us = producer.floor_us.max(through_us);
        let mark = producer.seen();
        producer.oldest_us = None;
        mark
    }

    /// What the shard holds, declaring nothing.
    pub(crate) fn peek(&self) -> Mark {
        self.lock().seen()
    }

    /// Puts `fresh` in the place of the counters, which rest from now on.
    pub(crate) fn swap_overflow(&self, fresh: Active) {
        let rested = std::mem::replace(&mut self.lock().overflow, fresh);
        drop(rested);
    }

    /// Takes no more records; gives the last mark.
    pub(crate) fn close(&self) -> Mark {
        self.lock().closed = true;
        self.peek()
    }

    /// Frees the ring up to `consumed`.
    pub(crate) fn free(&self, consumed: u64) {
        self.consumed.store(consumed, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Producer> {
        // A panic while appending leaves at worst one unfinished entry behind `written`.
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
