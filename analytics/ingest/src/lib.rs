//! Exactly once into the store: what to do with each sealed segment, decided by counting.
//!
//! In: segment headers as they arrive, heartbeats of gateways, outcomes of inserts, counts read from the store, time.
//! Out: actions for the service to perform (insert, verify, drop bytes, alarm), answers for gateways (which segments
//! are audited), and through which time the store is complete.
//! Pure: no I/O, no clock, no bytes. The store's de-duplication is never trusted: a segment is inserted only after a
//! count of zero that was asked when no earlier attempt could still be running, and is audited only after a count that
//! equals its header. Holds nothing that cannot be rebuilt from the store and the gateways.

mod config;
mod ingest;
mod ledger;
mod segment;
mod stream;

pub use config::{Config, Now};
pub use ingest::{Action, Alarm, AttemptId, Counts, Ingest, InsertOutcome, QueryId};
pub use ledger::{Ledger, Status, StreamStatus};
