//! The tests of `it` once more, with the fast path off.

// Clippy lets tests unwrap, but not what tests call.
#![allow(clippy::unwrap_used)]

#[path = "../it/analytics.rs"]
mod analytics;
#[path = "../it/raw2.rs"]
mod raw2;
#[path = "../it/rig.rs"]
mod rig;
#[path = "../it/snapshot.rs"]
mod snapshot;
#[path = "../it/upstream.rs"]
mod upstream;

#[path = "../it/edges.rs"]
mod edges;
#[path = "../it/framing.rs"]
mod framing;
#[path = "../it/hostile.rs"]
mod hostile;
#[path = "../it/life.rs"]
mod life;
#[path = "../it/mutual.rs"]
mod mutual;
#[path = "../it/proxying.rs"]
mod proxying;
#[path = "../it/reload.rs"]
mod reload;
#[path = "../it/telemetry.rs"]
mod telemetry;
#[path = "../it/tls.rs"]
mod tls;
#[path = "../it/usage.rs"]
mod usage;
