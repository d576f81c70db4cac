//! The version of a snapshot: a hash of its content, so that equal content has an equal name everywhere.

use gateway_snapshot::{Catalog, Snapshot};
use xxhash_rust::xxh3::Xxh3;

/// Writes the version into `snapshot` and `catalog`, which must be complete otherwise.
///
/// 128 bits of XXH3 over the snapshot's hash and the catalog's canonical JSON (maps are ordered, fields come in order of
/// declaration). It names content among the compilations of one operator; it is no defence against forgery.
pub(crate) fn stamp(snapshot: &mut Snapshot, catalog: &mut Catalog) {
    catalog.version.clear();
    let mut hash = Xxh3::new();
    hash.update(&snapshot.hash().to_le_bytes());
    hash.update(&serde_json::to_vec(catalog).expect("catalogs have string keys only"));
    snapshot.version = text(hash.digest128());
    catalog.version.clone_from(&snapshot.version);
}

/// Writes the version into the snapshot of a fleet, of its content alone: what changes elsewhere is nothing to it.
pub(crate) fn stamp_part(snapshot: &mut Snapshot) {
    snapshot.version = text(snapshot.hash());
}

fn text(hash: u128) -> String {
    format!("{hash:032x}")
}
