//! The version of a snapshot: a hash of its content, so that equal content has an equal name everywhere.

use std::io::{self, Write};

use gateway_snapshot::{Catalog, Snapshot};
use xxhash_rust::xxh3::Xxh3;

/// Writes the version into `snapshot` and `catalog`, which must be complete otherwise.
///
/// 128 bits of XXH3 over canonical JSON (maps are ordered, fields come in order of declaration). It names
/// content among the compilations of one operator; it is no defence against forgery.
pub(crate) fn stamp(snapshot: &mut Snapshot, catalog: &mut Catalog) {
    snapshot.version.clear();
    catalog.version.clear();
    let mut sink = Hash(Xxh3::new());
    serde_json::to_writer(&mut sink, snapshot).expect("a snapshot has string keys only");
    serde_json::to_writer(&mut sink, catalog).expect("a catalog has string keys only");
    let version = format!("{:032x}", sink.0.digest128());
    snapshot.version.clone_from(&version);
    catalog.version = version;
}

struct Hash(Xxh3);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
