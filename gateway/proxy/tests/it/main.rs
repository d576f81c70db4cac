//! The gateway in process: real sockets, real certificates, real clients, an upstream and an analytics service of
//! our own on loopback.

// Clippy lets tests unwrap, but not what tests call.
#![allow(clippy::unwrap_used)]

mod analytics;
mod raw2;
mod rig;
mod snapshot;
mod upstream;

mod edges;
mod engines;
mod framing;
mod hostile;
mod life;
mod mutual;
mod proxying;
mod reload;
mod telemetry;
mod tls;
mod usage;
