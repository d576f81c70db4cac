//! Versions: hashes of content, so that equal content has an equal name everywhere.
//!
//! They name content among the compilations of one operator; they are no defence against forgery.

use gateway_snapshot::{Catalog, Snapshot};
use xxhash_rust::xxh3::xxh3_128;

/// Writes its version into a snapshot that is complete otherwise: see [`Snapshot::hash`].
pub(crate) fn stamp(snapshot: &mut Snapshot) {
    snapshot.version = text(snapshot.hash());
}

/// Writes its version into a catalog that is complete otherwise: 128 bits of XXH3 over its canonical JSON (maps are
/// ordered, fields come in order of declaration).
pub(crate) fn stamp_catalog(catalog: &mut Catalog) {
    catalog.version.clear();
    catalog.version = text(xxh3_128(&serde_json::to_vec(catalog).expect("catalogs have string keys only")));
}

fn text(hash: u128) -> String {
    format!("{hash:032x}")
}
