//! Where things lie in a spool directory.
//!
//! `lock` · `gateway-id` · `epoch` · `segments/` (sealed, to be shipped) · `epochs/N/` (rings, counters and names of
//! epochs that still hold records) · `closed/N.json` (where ended epochs ended) · `quarantine/` (damaged files).
//! In: numbers. Out: paths, and numbers back from file names.

use std::path::{Path, PathBuf};

/// The paths of one spool.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn gateway_id(&self) -> PathBuf {
        self.root.join("gateway-id")
    }

    pub(crate) fn epoch(&self) -> PathBuf {
        self.root.join("epoch")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, epoch: u32, shard: u8, seq: u32) -> PathBuf {
        self.segments().join(format!("{epoch:010}-{shard:03}-{seq:010}.seg"))
    }

    pub(crate) fn epochs(&self) -> PathBuf {
        self.root.join("epochs")
    }

    pub(crate) fn epoch_dir(&self, epoch: u32) -> PathBuf {
        self.epochs().join(format!("{epoch:010}"))
    }

    pub(crate) fn ring(&self, epoch: u32, shard: u8) -> PathBuf {
        self.epoch_dir(epoch).join(format!("ring-{shard:03}"))
    }

    pub(crate) fn counts(&self, epoch: u32, shard: u8, table: usize) -> PathBuf {
        self.epoch_dir(epoch).join(format!("counts-{shard:03}-{table}"))
    }

    pub(crate) fn names(&self, epoch: u32) -> PathBuf {
        self.epoch_dir(epoch).join("names")
    }

    pub(crate) fn closed(&self) -> PathBuf {
        self.root.join("closed")
    }

    pub(crate) fn closed_epoch(&self, epoch: u32) -> PathBuf {
        self.closed().join(format!("{epoch:010}.json"))
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// Epoch, shard and seq from a segment's file name.
pub(crate) fn parse_segment(file: &str) -> Option<(u32, u8, u32)> {
    let mut parts = file.strip_suffix(".seg")?.split('-');
    let epoch = parts.next()?.parse().ok()?;
    let shard = parts.next()?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((epoch, shard, seq))
}

/// The shard from the name of a ring or counter file.
pub(crate) fn parse_shard(file: &str) -> Option<u8> {
    let rest = file.strip_prefix("ring-").or_else(|| file.strip_prefix("counts-"))?;
    rest.split('-').next()?.parse().ok()
}

/// The epoch from the name of its directory or closed file.
pub(crate) fn parse_epoch(file: &str) -> Option<u32> {
    file.strip_suffix(".json").unwrap_or(file).parse().ok()
}
