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
    let mut hash = Hash::default();
    hash.add(snapshot);
    hash.add(catalog);
    let version = hash.text();
    snapshot.version.clone_from(&version);
    catalog.version = version;
}

/// Writes the version into the snapshot of a fleet, of its content alone: what changes elsewhere is nothing to it.
pub(crate) fn stamp_part(snapshot: &mut Snapshot) {
    snapshot.version.clear();
    let mut hash = Hash::default();
    hash.add(snapshot);
    snapshot.version = hash.text();
}

#[derive(Default)]
struct Hash(Xxh3);

impl Hash {
    fn add(&mut self, part: &impl serde::Serialize) {
        serde_json::to_writer(self, part).expect("snapshots and catalogs have string keys only");
    }

    fn text(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
