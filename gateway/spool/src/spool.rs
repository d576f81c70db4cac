//! The spool as its users see it: append records, list, read and delete sealed segments, tell how it is.
//!
//! In: records from workers; from the shipper, how far each stream was audited. Out: segments to ship, facts about
//! streams, health. Never deletes a segment that nobody has vouched for.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use analytics_record::segment::{MAX_SEGMENT_BYTES, Segment, SegmentError};
use analytics_record::wire::{LostSegment, SpoolHealth, StreamFacts};
use analytics_record::{GatewayId, SegmentName, Stream};

use crate::clock::Clock;
use crate::inventory::{Inventory, SealedInfo};
use crate::layout::Layout;
use crate::names::Names;
use crate::open::{OpenError, open};
use crate::options::Options;
use crate::sealer::Sealer;
use crate::shard::Shard;
use crate::vfs::{Lock, Machine};

/// Why a sealed segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not in the spool (any more).
    #[error("segment {0} is not in the spool")]
    Gone(SegmentName),
    /// The file is damaged; it was set aside and its loss is declared.
    #[error("segment {name} is damaged and was moved to the spool's quarantine: {cause}")]
    Damaged {
        /// Which segment.
        name: SegmentName,
        /// What is wrong with it.
        cause: SegmentError,
    },
    /// The disk refuses.
    #[error("cannot read segment {name}: {cause}")]
    Io {
        /// Which segment.
        name: SegmentName,
        /// What the disk says.
        cause: io::Error,
    },
}

/// A spool in use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    pub(crate) shared: Arc<Shared>,
}

/// What the spool's handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub machine: Machine,
    pub layout: Layout,
    pub options: Options,
    pub gateway: GatewayId,
    pub epoch: u32,
    pub clock: Clock,
    pub names: Arc<Names>,
    pub shards: Vec<Shard>,
    pub inventory: Mutex<Inventory>,
    pub degraded: AtomicBool,
    /// Keeps other processes out of the directory.
    pub _lock: Box<dyn Lock>,
}

impl Shared {
    pub(crate) fn inventory(&self) -> MutexGuard<'_, Inventory> {
        // Every change of the inventory is a single insertion or removal; a panic leaves it usable.
        self.inventory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something that a person should know.
    pub(crate) fn note(&self, text: String) {
        self.inventory().notes.push(text);
    }

    /// Moves a damaged file out of the way, keeping its name.
    pub(crate) fn quarantine(&self, path: &Path) -> io::Result<()> {
        let vfs = &*self.machine.vfs;
        let Some(file) = path.file_name() else { return Ok(()) };
        vfs.rename(path, &self.layout.quarantine().join(file))?;
        vfs.sync_dir(&self.layout.quarantine())
    }
}

impl Spool {
    /// Opens the spool in `dir`, creating it when it is empty; `wall_us` is the wall clock (microseconds since
    /// 1970-01-01 UTC). Seals what an earlier process left. Only one process can have a spool open.
    pub fn open(dir: &Path, options: Options, wall_us: u64) -> Result<(Self, Sealer), OpenError> {
        open(Machine::local(), dir, options, wall_us)
    }

    /// Like [`Spool::open`] on another machine, for tests with faults.
    pub fn open_on(
        machine: Machine,
        dir: &Path,
        options: Options,
        wall_us: u64,
    ) -> Result<(Self, Sealer), OpenError> {
        open(machine, dir, options, wall_us)
    }

    /// The identity of this spool volume.
    pub fn gateway(&self) -> GatewayId {
        self.shared.gateway
    }

    /// One more at every start, durable before first use.
    pub fn epoch(&self) -> u32 {
        self.shared.epoch
    }

    /// The clock to take `Record::ts_us` from.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The names of this epoch.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The rings of this epoch; give each worker thread its own.
    pub fn shards(&self) -> &[Shard] {
        &self.shared.shards
    }

    /// Sealed segments, streams in order, each stream's segments in order.
    pub fn sealed(&self) -> Vec<SealedInfo> {
        self.shared.inventory().segments().copied().collect()
    }

    /// The bytes of a sealed segment, checked. A damaged file is set aside and its loss declared.
    pub fn read(&self, name: SegmentName) -> Result<Vec<u8>, ReadError> {
        let path = self.shared.layout.segment(name.stream.epoch, name.stream.shard, name.seq);
        let Some(info) = self.shared.inventory().of_stream(name.stream).find(|i| i.name == name).copied()
        else {
            return Err(ReadError::Gone(name));
        };
        let bytes = match self.shared.machine.vfs.read(&path, MAX_SEGMENT_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cause = SegmentError::Short { have: 0, want: info.bytes as usize };
                return Err(self.set_aside(info, &path, cause));
            }
            Err(cause) => return Err(ReadError::Io { name, cause }),
        };
        match Segment::parse(&bytes) {
            Ok(segment) if segment.header().name == name => Ok(bytes),
            Ok(_) => Err(self.set_aside(info, &path, SegmentError::Header("name"))),
            Err(cause) => Err(self.set_aside(info, &path, cause)),
        }
    }

    /// Deletes segments `0..audited` of a stream. Call it only with a mark that the analytics service gave: every
    /// one of these segments was counted in the store.
    pub fn delete_through(&self, stream: Stream, audited: u32) -> io::Result<usize> {
        let shared = &self.shared;
        let doomed: Vec<SegmentName> =
            shared.inventory().of_stream(stream).map(|i| i.name).take_while(|n| n.seq < audited).collect();
        for name in &doomed {
            let path = shared.layout.segment(name.stream.epoch, name.stream.shard, name.seq);
            shared.machine.vfs.remove(&path)?;
            shared.inventory().remove(*name);
        }
        if !doomed.is_empty() {
            // A file that a power loss brings back is only counted again; this keeps that rare.
            shared.machine.vfs.sync_dir(&shared.layout.segments())?;
        }
        Ok(doomed.len())
    }

    /// What to tell of each stream: how far it is, and whether it has ended.
    pub fn streams(&self) -> Vec<StreamFacts> {
        self.shared.inventory().facts()
    }

    /// Segments whose files were found damaged.
    pub fn lost(&self) -> Vec<LostSegment> {
        self.shared.inventory().lost().to_vec()
    }

    /// Forgets a stream that has ended and was audited to its end (`StreamMark::finished`).
    pub fn forget(&self, stream: Stream) -> io::Result<()> {
        crate::closed::forget(&self.shared, stream)
    }

    /// What recovery and damage left for people to read, oldest first.
    pub fn notes(&self) -> Vec<String> {
        self.shared.inventory().notes.clone()
    }

    /// The figures that people watch; `now_us` as from [`Spool::clock`].
    pub fn health(&self, now_us: u64) -> SpoolHealth {
        let inventory = self.shared.inventory();
        let oldest = inventory.segments().map(|info| info.min_ts_us).min();
        SpoolHealth {
            spool_bytes: inventory.bytes(),
            segments: inventory.segments().count() as u64,
            oldest_age_us: oldest.map_or(0, |oldest| now_us.saturating_sub(oldest)),
            degraded: self.shared.degraded.load(Ordering::Relaxed),
            counted_only: self.shared.shards.iter().map(Shard::counted_only).sum(),
            lost: inventory.lost().iter().filter_map(|segment| segment.n).sum(),
            quarantined: inventory.quarantined,
        }
    }

    fn set_aside(&self, info: SealedInfo, path: &Path, cause: SegmentError) -> ReadError {
        let moved = self.shared.quarantine(path);
        let mut inventory = self.shared.inventory();
        inventory.remove(info.name);
        inventory.lose(LostSegment { name: info.name, n: Some(info.n) });
        inventory.quarantined += 1;
        let file = path.display();
        inventory.notes.push(match moved {
            Ok(()) => format!(
                "{file} is damaged ({cause}) and was moved to quarantine; {} requests are lost",
                info.n
            ),
            Err(error) => format!("{file} is damaged ({cause}) and cannot be moved to quarantine: {error}"),
        });
        ReadError::Damaged { name: info.name, cause }
    }
}
