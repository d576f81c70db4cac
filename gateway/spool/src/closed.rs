//! Where ended epochs ended, kept until the analytics service has everything of them.
//!
//! In: the last facts of an epoch's streams. Out: one small JSON file per epoch, replaced atomically. With it the
//! service knows that a stream is complete, which settles the leases of a crashed epoch exactly.

use std::io;
use std::path::Path;

use analytics_record::{GatewayId, Stream};
use serde::{Deserialize, Serialize};

use crate::inventory::Progress;
use crate::layout::{self, Layout};
use crate::spool::Shared;
use crate::vfs::{Vfs, replace_file};

/// Most bytes of a closed file: 256 shards take a tenth of it.
const MAX_BYTES: usize = 1 << 20;

/// The end of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub gateway: GatewayId,
    pub shard: u8,
    pub next_seq: u32,
    pub complete_through_us: u64,
}

/// Writes down how the streams of `epoch` ended; durable when this returns.
pub(crate) fn write(vfs: &dyn Vfs, layout: &Layout, epoch: u32, ends: &[End]) -> io::Result<()> {
    let json = serde_json::to_vec(ends).map_err(io::Error::other)?;
    replace_file(vfs, &layout.closed_epoch(epoch), &json)
}

/// Reads the ends of an epoch.
pub(crate) fn read(vfs: &dyn Vfs, path: &Path) -> io::Result<Vec<End>> {
    serde_json::from_slice(&vfs.read(path, MAX_BYTES)?).map_err(io::Error::other)
}

/// Removes a stream from its epoch's closed file, and the file with the last one.
pub(crate) fn forget(shared: &Shared, stream: Stream) -> io::Result<()> {
    let vfs = &*shared.machine.vfs;
    {
        let inventory = shared.inventory();
        let ended = inventory.progress(stream).is_some_and(|progress| progress.closed);
        if !ended || inventory.of_stream(stream).next().is_some() {
            return Ok(());
        }
    }
    let path = shared.layout.closed_epoch(stream.epoch);
    let mut ends = match read(vfs, &path) {
        Ok(ends) => ends,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    ends.retain(|end| end.shard != stream.shard || end.gateway != stream.gateway);
    if ends.is_empty() {
        vfs.remove(&path)?;
        vfs.sync_dir(&shared.layout.closed())?;
    } else {
        write(vfs, &shared.layout, stream.epoch, &ends)?;
    }
    declare(shared, stream)?;
    shared.inventory().forget(stream);
    Ok(())
}

/// Renames the quarantined segments of a forgotten stream, so that their loss is not declared again.
fn declare(shared: &Shared, stream: Stream) -> io::Result<()> {
    let vfs = &*shared.machine.vfs;
    let dir = shared.layout.quarantine();
    for file in vfs.list(&dir)? {
        let ours = layout::parse_segment(&file)
            .is_some_and(|(epoch, shard, _)| (epoch, shard) == (stream.epoch, stream.shard));
        if ours {
            vfs.rename(&dir.join(&file), &dir.join(format!("{file}.declared")))?;
        }
    }
    Ok(())
}

/// The facts of an ended stream.
impl From<End> for Progress {
    fn from(end: End) -> Self {
        Self { next_seq: end.next_seq, complete_through_us: end.complete_through_us, closed: true }
    }
}
