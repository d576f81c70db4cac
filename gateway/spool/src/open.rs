//! Opens a spool: takes the lock, counts the epoch up, takes stock, and seals what an earlier process left.
//!
//! In: a directory in any state that crashes, power losses and damaged files can leave. Out: a spool in use, with
//! notes on what was found. Damaged files are set aside with a message and never keep the rest from being used.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use analytics_record::{GatewayId, Stream};

use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::layout::Layout;
use crate::names::Names;
use crate::options::Options;
use crate::overflow::{self, Active};
use crate::recover;
use crate::ring::{self, Checkpoint, Ring};
use crate::sealer::{Live, Report, Sealer};
use crate::shard::Shard;
use crate::spool::{Shared, Spool};
use crate::stream::StreamSealer;
use crate::vfs::{Machine, Vfs, replace_file};

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("spool {0} is in use by another process: give each gateway a spool directory of its own")]
    InUse(PathBuf),
    /// The settings cannot work.
    #[error("spool settings: {0}")]
    Options(String),
    /// There is no room for the rings.
    #[error(
        "spool {dir} has no room for {bytes} bytes of rings: free disk space, or lower shards or ring_bytes"
    )]
    Full {
        /// The spool directory.
        dir: PathBuf,
        /// What the rings need.
        bytes: u64,
    },
    /// The disk refuses.
    #[error("cannot {what} in spool {dir}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The spool directory.
        dir: PathBuf,
        /// What the disk says.
        cause: io::Error,
    },
}

pub(crate) fn open(
    machine: Machine,
    dir: &Path,
    options: Options,
    wall_us: u64,
) -> Result<(Spool, Sealer), OpenError> {
    let options = options.checked().map_err(OpenError::Options)?;
    let layout = Layout::new(dir);
    let fail = |what| move |cause| OpenError::Io { what, dir: dir.to_owned(), cause };
    let vfs = &*machine.vfs;
    for dir in
        [layout.root().to_owned(), layout.segments(), layout.epochs(), layout.closed(), layout.quarantine()]
    {
        vfs.create_dir(&dir).map_err(fail("create directories"))?;
    }
    let lock = vfs.lock(&layout.lock()).map_err(|cause| match cause.kind() {
        ErrorKind::WouldBlock => OpenError::InUse(dir.to_owned()),
        _ => OpenError::Io { what: "take the lock", dir: dir.to_owned(), cause },
    })?;
    let mut inventory = Inventory::default();
    let stock = recover::take_stock(vfs, &layout, &mut inventory).map_err(fail("list files"))?;
    let gateway =
        gateway_id(vfs, &layout, wall_us, &stock, &mut inventory).map_err(fail("keep the gateway id"))?;
    let epoch = next_epoch(vfs, &layout, &stock, &mut inventory).map_err(fail("count the epoch"))?;
    let fresh = create_epoch(vfs, &layout, &options, gateway, epoch).map_err(|cause| match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            // The half-made epoch would be taken for one to recover; it holds nothing.
            OpenError::Full { dir: dir.to_owned(), bytes: ring_total(&options) }
        }
        _ => OpenError::Io { what: "create rings", dir: dir.to_owned(), cause },
    })?;
    let clock = Clock::new(Arc::clone(&machine.mono_us), wall_us);
    let mut shared = Shared {
        machine,
        layout,
        options,
        gateway,
        epoch,
        clock,
        names: Arc::clone(&fresh.names),
        shards: fresh.shards,
        inventory: Mutex::new(inventory),
        degraded: AtomicBool::new(false),
        _lock: lock,
    };
    let ended = recover::ended_epochs(&mut shared, &stock);
    let shared = Arc::new(shared);
    for live in &fresh.live {
        shared.inventory().set_progress(live.sealer.stream, live.sealer.progress(false));
    }
    let mut sealer = Sealer::new(Arc::clone(&shared), fresh.live, ended);
    let mut report = Report::default();
    sealer.finish_ended(&mut report);
    if let Some(trouble) = report.trouble {
        shared.note(format!("recovery goes on later: {trouble}"));
    }
    Ok((Spool { shared }, sealer))
}

fn ring_total(options: &Options) -> u64 {
    let each = ring::file_bytes(options.ring_bytes) + 2 * overflow::file_bytes(options.overflow_slots);
    each as u64 * u64::from(options.shards)
}

/// The spool's identity: kept, or made at first use.
fn gateway_id(
    vfs: &dyn Vfs,
    layout: &Layout,
    wall_us: u64,
    stock: &recover::Stock,
    inventory: &mut Inventory,
) -> io::Result<GatewayId> {
    let path = layout.gateway_id();
    let text = match vfs.read(&path, 64) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    // Segments know whose they are, so a lost id is found again as long as one is left.
    let known = inventory.segments().map(|info| info.name.stream.gateway).next();
    let id = known.unwrap_or_else(|| new_id(wall_us));
    if !text.is_empty() || stock.max_epoch > 0 {
        inventory.quarantined += 1;
        inventory.notes.push(format!("{} was damaged; this spool is gateway {id} now", path.display()));
    }
    replace_file(vfs, &path, id.to_string().as_bytes())?;
    Ok(id)
}

fn new_id(wall_us: u64) -> GatewayId {
    let (seconds, nanos) = (wall_us / 1_000_000, (wall_us % 1_000_000) * 1_000);
    let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos as u32);
    GatewayId(uuid::Uuid::new_v7(stamp).into_bytes())
}

/// Counts the epoch up; durable before anything uses it.
fn next_epoch(
    vfs: &dyn Vfs,
    layout: &Layout,
    stock: &recover::Stock,
    inventory: &mut Inventory,
) -> io::Result<u32> {
    let path = layout.epoch();
    let text = match vfs.read(&path, 64) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => "0".to_owned(),
        Err(error) => return Err(error),
    };
    let last = text.parse::<u32>().unwrap_or_else(|_| {
        inventory.quarantined += 1;
        inventory.notes.push(format!("{} was damaged; counting on from what is left", path.display()));
        // Epochs whose every file is gone could be met again; a jump keeps their names unused.
        stock.max_epoch.saturating_add(1_000)
    });
    let epoch = last.max(stock.max_epoch).checked_add(1).ok_or(ErrorKind::InvalidData)?;
    replace_file(vfs, &path, epoch.to_string().as_bytes())?;
    Ok(epoch)
}

struct Fresh {
    names: Arc<Names>,
    shards: Vec<Shard>,
    live: Vec<Live>,
}

fn create_epoch(
    vfs: &dyn Vfs,
    layout: &Layout,
    options: &Options,
    gateway: GatewayId,
    epoch: u32,
) -> io::Result<Fresh> {
    vfs.create_dir(&layout.epoch_dir(epoch))?;
    let result = fill_epoch(vfs, layout, options, gateway, epoch);
    if result.is_err() {
        // The half-made epoch holds nothing; its room is better used otherwise.
        let dir = layout.epoch_dir(epoch);
        for file in vfs.list(&dir).unwrap_or_default() {
            let _ = vfs.remove(&dir.join(file));
        }
        let _ = vfs.remove_dir(&dir);
    }
    result
}

fn fill_epoch(
    vfs: &dyn Vfs,
    layout: &Layout,
    options: &Options,
    gateway: GatewayId,
    epoch: u32,
) -> io::Result<Fresh> {
    let names = Arc::new(Names::create(vfs, &layout.names(epoch))?);
    let (mut shards, mut live) = (Vec::new(), Vec::new());
    for shard in 0..options.shards {
        let stream = Stream { gateway, epoch, shard };
        let counts = |table| {
            vfs.map_new(&layout.counts(epoch, shard, table), overflow::file_bytes(options.overflow_slots))
        };
        let tables = [counts(0)?, counts(1)?];
        // The ring comes last: where there is one, the other files are whole.
        let region = vfs.map_new(&layout.ring(epoch, shard), ring::file_bytes(options.ring_bytes))?;
        let ring = Ring::new(region, stream).ok_or(ErrorKind::InvalidInput)?;
        let active = Active::start(Arc::clone(&tables[1]), 1);
        shards.push(Shard::new(ring.clone(), active));
        let checkpoint = Checkpoint::default();
        let sealer = StreamSealer::new(stream, ring, tables.map(Some), Arc::clone(&names), checkpoint);
        live.push(Live { sealer, since_us: None, sealed_rows: 0, resting: None, counting: 1 });
    }
    vfs.sync_dir(&layout.epoch_dir(epoch))?;
    Ok(Fresh { names, shards, live })
}
