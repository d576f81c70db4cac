//! The ring of one shard: records on their way to a segment, in memory that outlives the process.
//!
//! Layout of the file: one page with two checkpoints written in turn, then the data, a whole number of words.
//! Positions are absolute and never reused; where a position lies in the file follows from the capacity.
//! In: entries from one producer at a time. Out: the same entries to the sealer, or after a crash to recovery.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use analytics_record::entry::{self, MAX_ENTRY_BYTES};
use analytics_record::segment::Hash;
use analytics_record::{Record, Stream};

use crate::vfs::Region;

/// Words before the data: one page of 4 KiB.
const DATA_WORDS: usize = 512;
/// Words from one checkpoint to the other: each lies in a disk sector of its own.
const CHECKPOINT_STRIDE: usize = 128;
/// Words of a checkpoint, its checksum last.
const CHECKPOINT_WORDS: usize = 12;

/// Bytes of the file for a ring that holds `capacity` bytes of entries.
pub(crate) fn file_bytes(capacity: usize) -> usize {
    DATA_WORDS * 8 + capacity.next_multiple_of(8)
}

/// What is known to lie in sealed segments; written after a segment is safe and before it may leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// Grows by one with every checkpoint.
    pub serial: u64,
    /// Ring positions before this are in segments.
    pub consumed: u64,
    /// The next segment's number.
    pub next_seq: u32,
    /// Counter generations before this are in segments.
    pub overflow_generation: u64,
    /// Of that generation, the rows of UTC days before this are in segments.
    pub overflow_day: u64,
    /// The stream is complete through this time.
    pub complete_through_us: u64,
    /// The content hash of segment `next_seq - 1`.
    pub previous: Hash,
}

impl Checkpoint {
    fn to_words(self, stream: Stream) -> [u64; CHECKPOINT_WORDS] {
        let mut words = [0; CHECKPOINT_WORDS];
        words[0] = self.serial;
        words[1] = self.consumed;
        words[2] = u64::from(self.next_seq);
        words[3] = self.overflow_generation;
        words[4] = self.overflow_day;
        words[5] = self.complete_through_us;
        for (word, bytes) in words[6..10].iter_mut().zip(self.previous.0.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        words[10] = u64::from(stream.epoch) << 8 | u64::from(stream.shard);
        words[11] = checksum(&words[..11]);
        words
    }

    fn from_words(words: &[u64; CHECKPOINT_WORDS], stream: Stream) -> Option<Self> {
        let owner = u64::from(stream.epoch) << 8 | u64::from(stream.shard);
        if words[11] != checksum(&words[..11]) || words[10] != owner {
            return None;
        }
        let mut previous = Hash::ZERO;
        for (bytes, word) in previous.0.chunks_exact_mut(8).zip(&words[6..10]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Some(Self {
            serial: words[0],
            consumed: words[1],
            next_seq: u32::try_from(words[2]).ok()?,
            overflow_generation: words[3],
            overflow_day: words[4],
            complete_through_us: words[5],
            previous,
        })
    }
}

/// CRC32C of words, with a bit set so that zeros are never valid.
pub(crate) fn checksum(words: &[u64]) -> u64 {
    let crc = words.iter().fold(0, |crc, word| crc32c::crc32c_append(crc, &word.to_le_bytes()));
    u64::from(crc) | 1 << 32
}

/// A ring over a mapped file.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    region: Region,
    stream: Stream,
    capacity_words: usize,
}

impl Ring {
    /// A ring over `region`; none when the region is too small to be one.
    pub(crate) fn new(region: Region, stream: Stream) -> Option<Self> {
        let capacity_words = region.words().len().checked_sub(DATA_WORDS)?;
        (capacity_words * 8 >= MAX_ENTRY_BYTES).then_some(Self { region, stream, capacity_words })
    }

    /// Bytes of entries that fit.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity_words as u64 * 8
    }

    /// The newest whole checkpoint, or the beginning when none was ever finished.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, Damaged> {
        let read = |slot: usize| {
            let mut words = [0; CHECKPOINT_WORDS];
            for (word, source) in words.iter_mut().zip(&self.region.words()[slot * CHECKPOINT_STRIDE..]) {
                *word = source.load(Ordering::Acquire);
            }
            words
        };
        let slots = [read(0), read(1)];
        let newest = slots
            .iter()
            .filter_map(|words| Checkpoint::from_words(words, self.stream))
            .max_by_key(|c| c.serial);
        match newest {
            Some(checkpoint) => Ok(checkpoint),
            // Only the very first write can be torn while the other slot was never used.
            None if slots.contains(&[0; CHECKPOINT_WORDS]) => Ok(Checkpoint::default()),
            None => Err(Damaged),
        }
    }

    /// Writes a checkpoint over the older of the two; durable when this returns.
    pub(crate) fn write_checkpoint(&self, checkpoint: Checkpoint) -> io::Result<()> {
        let start = (checkpoint.serial % 2) as usize * CHECKPOINT_STRIDE;
        let target = &self.region.words()[start..start + CHECKPOINT_WORDS];
        for (word, value) in target.iter().zip(checkpoint.to_words(self.stream)) {
            word.store(value, Ordering::Release);
        }
        self.region.sync(0..DATA_WORDS)
    }

    /// Copies an entry (a whole number of words) to its position.
    pub(crate) fn write(&self, position: u64, entry: &[u8]) {
        for (word, chunk) in self.words(position).zip(entry.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
    }

    /// Decodes the entry at `position`; gives the record and the position after it.
    pub(crate) fn read(&self, position: u64) -> Result<(Record, u64), entry::EntryError> {
        let mut bytes = [0u8; MAX_ENTRY_BYTES];
        let room = bytes.as_chunks_mut::<8>().0;
        let mut words = self.words(position).map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        room[0] = words.next().unwrap_or_default();
        // Only what the entry says that it has: most are far from the longest.
        let len = entry::len(room[0]).unwrap_or(MAX_ENTRY_BYTES);
        room[1..len / 8].iter_mut().zip(words).for_each(|(room, word)| *room = word);
        let (record, used) = entry::decode(&bytes[..len], position)?;
        Ok((record, position + used as u64))
    }

    /// Words from `position` on, once around.
    fn words(&self, position: u64) -> impl Iterator<Item = &AtomicU64> {
        let data = &self.region.words()[DATA_WORDS..DATA_WORDS + self.capacity_words];
        let (before, from) = data.split_at((position / 8 % self.capacity_words as u64) as usize);
        from.iter().chain(before)
    }

    /// The next whole entry at or after `from` that ends by `end`.
    pub(crate) fn next(&self, from: u64, end: u64) -> Option<Found> {
        // A checksum covers the position, so an entry that passes is genuine even behind damaged bytes.
        (from..end).step_by(8).find_map(|start| {
            // After a crash the search goes through the whole ring, most of it empty.
            let header = self.words(start).next()?.load(Ordering::Relaxed).to_le_bytes();
            entry::len(header)?;
            let (record, next) = self.read(start).ok()?;
            (next <= end).then_some(Found { record, start, next })
        })
    }

    /// How far a crash left whole entries after `from`: the position after the last one, and the damaged bytes
    /// between them.
    pub(crate) fn replay(&self, from: u64) -> (u64, u64) {
        let limit = from.saturating_add(self.capacity());
        let (mut end, mut damaged) = (from, 0);
        while let Some(found) = self.next(end, limit) {
            damaged += found.start - end;
            end = found.next;
        }
        (end, damaged)
    }
}

/// Neither checkpoint is whole: it is unknown what of the ring is in segments already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// An entry in the ring.
#[derive(Debug)]
pub(crate) struct Found {
    pub record: Record,
    /// Where it begins.
    pub start: u64,
    /// Where the next one may begin.
    pub next: u64,
}

#[cfg(test)]
mod tests;
