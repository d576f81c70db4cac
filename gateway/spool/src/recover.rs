//! Takes stock of a spool directory, and prepares what ended epochs left for sealing.
//!
//! In: files. Out: the inventory, and per ended epoch the streams with how far their rings are whole. What cannot be
//! read is moved to `quarantine/` with a note; its loss is declared where it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use analytics_record::segment::{HEADER_BYTES, Header};
use analytics_record::wire::LostSegment;
use analytics_record::{GatewayId, SegmentName, Stream};

use crate::closed::{self, End};
use crate::inventory::{Inventory, Progress, SealedInfo};
use crate::layout::{self, Layout};
use crate::names::Names;
use crate::overflow;
use crate::ring::Ring;
use crate::sealer::{Ended, EndedStream};
use crate::spool::Shared;
use crate::stream::StreamSealer;
use crate::vfs::{Region, Vfs};

/// Most bytes of a ring or counter file that is mapped at recovery.
const MAX_REGION_BYTES: usize = 2 << 30;

/// What a spool directory holds.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// The largest epoch that any file speaks of.
    pub max_epoch: u32,
    /// Headers of the segments on disk.
    pub headers: BTreeMap<SegmentName, Header>,
    /// Epochs with rings.
    pub epochs: Vec<u32>,
    /// Epochs whose end is on file.
    pub closed: Vec<u32>,
}

/// Lists segments, epochs and ends; sets damaged ones aside.
pub(crate) fn take_stock(vfs: &dyn Vfs, layout: &Layout, inventory: &mut Inventory) -> io::Result<Stock> {
    let mut stock = Stock::default();
    // A kill may have come between a rename and its sync; what is taken stock of must stay.
    for dir in [layout.segments(), layout.closed(), layout.quarantine()] {
        vfs.sync_dir(&dir)?;
    }
    for file in vfs.list(&layout.segments())? {
        let path = layout.segments().join(&file);
        let Some((epoch, shard, seq)) = layout::parse_segment(&file) else {
            // What was being written when the process ended was never a segment.
            vfs.remove(&path)?;
            continue;
        };
        stock.max_epoch = stock.max_epoch.max(epoch);
        match check_segment(vfs, &path, (epoch, shard, seq)) {
            Ok((header, bytes)) => {
                stock.headers.insert(header.name, header);
                inventory.add(SealedInfo::new(&header, bytes));
            }
            Err(cause) => set_aside(vfs, layout, inventory, &path, &cause)?,
        }
    }
    for file in vfs.list(&layout.closed())? {
        let path = layout.closed().join(&file);
        let Some(epoch) = layout::parse_epoch(&file) else {
            vfs.remove(&path)?;
            continue;
        };
        stock.max_epoch = stock.max_epoch.max(epoch);
        match closed::read(vfs, &path) {
            Ok(ends) => {
                stock.closed.push(epoch);
                for end in ends {
                    let stream = Stream { gateway: end.gateway, epoch, shard: end.shard };
                    inventory.set_progress(stream, end.into());
                }
            }
            Err(error) => set_aside(vfs, layout, inventory, &path, &error.to_string())?,
        }
    }
    stock.epochs = vfs.list(&layout.epochs())?.iter().filter_map(|file| layout::parse_epoch(file)).collect();
    stock.epochs.sort_unstable();
    stock.max_epoch = stock.max_epoch.max(stock.epochs.last().copied().unwrap_or(0));
    declare_quarantined(vfs, layout, inventory)?;
    Ok(stock)
}

/// The header of a segment file; the content is checked when it is shipped.
fn check_segment(vfs: &dyn Vfs, path: &Path, name: (u32, u8, u32)) -> Result<(Header, u64), String> {
    let len = vfs.len(path).map_err(|error| error.to_string())?;
    let head = vfs.read_head(path, HEADER_BYTES).map_err(|error| error.to_string())?;
    let header = Header::parse(&head).map_err(|error| error.to_string())?;
    let stream = header.name.stream;
    if (stream.epoch, stream.shard, header.name.seq) != name {
        return Err("its header has another name".to_owned());
    }
    let want = HEADER_BYTES as u64 + u64::from(header.body_bytes);
    if len == want { Ok((header, len)) } else { Err(format!("it has {len} bytes instead of {want}")) }
}

/// Moves a damaged file to quarantine and says so.
fn set_aside(
    vfs: &dyn Vfs,
    layout: &Layout,
    inventory: &mut Inventory,
    path: &Path,
    cause: &str,
) -> io::Result<()> {
    if let Some(file) = path.file_name() {
        vfs.rename(path, &layout.quarantine().join(file))?;
        vfs.sync_dir(&layout.quarantine())?;
    }
    inventory.quarantined += 1;
    inventory.notes.push(format!("{} is damaged ({cause}) and was moved to quarantine", path.display()));
    Ok(())
}

/// Declares the loss of quarantined segments, this start's and earlier ones', until their stream is forgotten.
fn declare_quarantined(vfs: &dyn Vfs, layout: &Layout, inventory: &mut Inventory) -> io::Result<()> {
    let gateway = vfs.read(&layout.gateway_id(), 64).ok();
    let gateway: Option<GatewayId> = gateway.and_then(|id| String::from_utf8_lossy(&id).trim().parse().ok());
    for file in vfs.list(&layout.quarantine())? {
        let Some((epoch, shard, seq)) = layout::parse_segment(&file) else { continue };
        let header = vfs
            .read_head(&layout.quarantine().join(&file), HEADER_BYTES)
            .ok()
            .and_then(|bytes| Header::parse(&bytes).ok());
        let owner = header.map(|h| h.name.stream.gateway).or(gateway);
        if let Some(gateway) = owner {
            let name = Stream { gateway, epoch, shard }.segment(seq);
            inventory.lose(LostSegment { name, n: header.map(|h| h.totals.n) });
        }
    }
    Ok(())
}

/// Prepares every epoch that still has rings: of ended ones only the rest is removed.
pub(crate) fn ended_epochs(shared: &mut Shared, stock: &Stock) -> Vec<Ended> {
    let mut ended = Vec::new();
    for epoch in stock.epochs.iter().copied().filter(|epoch| *epoch != shared.epoch) {
        if stock.closed.contains(&epoch) {
            if let Err(error) = crate::sealer::remove_epoch(shared, epoch) {
                shared.note(format!("epoch {epoch} cannot be removed: {error}"));
            }
            continue;
        }
        match ended_epoch(shared, stock, epoch) {
            Ok(found) => ended.push(found),
            Err(error) => {
                shared.note(format!("epoch {epoch} cannot be recovered before the next start: {error}"));
                keep_open(shared, stock, epoch);
            }
        }
    }
    close_orphans(shared, stock);
    ended
}

/// Names the streams of an epoch that cannot be read now as open, so that nobody takes them for complete.
fn keep_open(shared: &Shared, stock: &Stock, epoch: u32) {
    let mut inventory = shared.inventory();
    for shard in 0..shared.options.shards {
        let stream = Stream { gateway: shared.gateway, epoch, shard };
        let known = end_without_ring(stock, stream);
        inventory.set_progress(stream, Progress { closed: false, ..known.into() });
    }
}

/// Segments may outlive every word on how their stream ended: a power loss brings deleted files back, damage takes
/// the word away. Behind the last of them nothing follows, since no ring of their epoch is left.
fn close_orphans(shared: &Shared, stock: &Stock) {
    let mut inventory = shared.inventory();
    let streams: BTreeSet<Stream> = stock.headers.keys().map(|name| name.stream).collect();
    for stream in streams {
        if !stock.epochs.contains(&stream.epoch) && inventory.progress(stream).is_none() {
            inventory.set_progress(stream, end_without_ring(stock, stream).into());
        }
    }
}

fn ended_epoch(shared: &Shared, stock: &Stock, epoch: u32) -> io::Result<Ended> {
    let vfs = &*shared.machine.vfs;
    let dir = shared.layout.epoch_dir(epoch);
    let mut streams = Vec::new();
    let mut files = vfs.list(&dir)?;
    files.sort();
    let names = match Names::load(vfs, &shared.layout.names(epoch)) {
        Ok(names) => Arc::new(names),
        Err(error) => {
            shared.note(format!("the names of epoch {epoch} cannot be read: {error}"));
            Arc::new(Names::empty())
        }
    };
    let mut shards: BTreeSet<u8> = files.iter().filter_map(|file| layout::parse_shard(file)).collect();
    shards
        .extend(stock.headers.keys().filter(|name| name.stream.epoch == epoch).map(|name| name.stream.shard));
    let mut ends = Vec::new();
    for shard in shards {
        let stream = Stream { gateway: shared.gateway, epoch, shard };
        match ended_stream(shared, stock, stream, &names)? {
            Some(found) => streams.push(found),
            None => ends.push(end_without_ring(stock, stream)),
        }
    }
    Ok(Ended { epoch, streams, ends })
}

/// The end of a stream whose ring holds nothing that can be read: behind its last segment.
fn end_without_ring(stock: &Stock, stream: Stream) -> End {
    let last = stock.headers.range(stream.segment(0)..=stream.segment(u32::MAX)).next_back();
    End {
        gateway: stream.gateway,
        shard: stream.shard,
        next_seq: last.map_or(0, |(name, _)| name.seq + 1),
        complete_through_us: last.map_or(0, |(_, header)| header.complete_through_us),
    }
}

fn ended_stream(
    shared: &Shared,
    stock: &Stock,
    stream: Stream,
    names: &Arc<Names>,
) -> io::Result<Option<EndedStream>> {
    let Stream { epoch, shard, .. } = stream;
    let Some(region) = map(shared, &shared.layout.ring(epoch, shard))? else { return Ok(None) };
    let Some(ring) = Ring::new(region, stream) else { return Ok(None) };
    let counts = |table| map(shared, &shared.layout.counts(epoch, shard, table));
    let tables = [counts(0)?, counts(1)?];
    let Ok(checkpoint) = ring.checkpoint() else {
        return quarantine(shared, &shared.layout.ring(epoch, shard)).map(|()| None);
    };
    let mut sealer = StreamSealer::new(stream, ring, tables, Arc::clone(names), checkpoint);
    for header in stock.headers.range(stream.segment(checkpoint.next_seq)..=stream.segment(u32::MAX)) {
        sealer.adopt(header.1);
    }
    let (end, damaged) = sealer.ring.replay(sealer.checkpoint.consumed);
    if damaged > 0 {
        shared
            .note(format!("the ring of {stream} has {damaged} damaged bytes; the records in them are lost"));
        shared.inventory().quarantined += 1;
    }
    let from = sealer.checkpoint.overflow_generation;
    let mut generations: Vec<u64> =
        sealer.tables.iter().flatten().filter_map(overflow::generation_of).collect();
    generations.retain(|generation| *generation >= from);
    generations.sort_unstable();
    shared.inventory().set_progress(stream, sealer.progress(false));
    Ok(Some(EndedStream { sealer, end, generations }))
}

/// Maps a file; one that is damaged beyond that is set aside, one that was never filled is nothing.
fn map(shared: &Shared, path: &Path) -> io::Result<Option<Region>> {
    let vfs = &*shared.machine.vfs;
    match vfs.len(path) {
        Ok(0) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match vfs.map(path, MAX_REGION_BYTES) {
        Ok(region) => Ok(Some(region)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => quarantine(shared, path).map(|()| None),
        Err(error) => Err(error),
    }
}

/// Sets a ring or counter file aside: how many requests it held is not known.
fn quarantine(shared: &Shared, path: &Path) -> io::Result<()> {
    shared.quarantine(path)?;
    let mut inventory = shared.inventory();
    inventory.quarantined += 1;
    inventory.notes.push(format!(
        "{} is damaged and was moved to quarantine; the records in it that were not yet sealed are lost",
        path.display()
    ));
    Ok(())
}
