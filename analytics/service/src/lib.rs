//! The analytics service: takes in sealed usage, guards quotas, answers reports, raises alerts, serves the console.
//!
//! In: segments, heartbeats and quota asks of gateways; the compiled catalog; questions of people. Out: rows in ClickHouse
//! (exactly once), durable leases, reports, alerts.
//! It must never stand between a request and its answer: gateways work on when it is away. It answers nothing before it
//! is durable, and deletes nothing that was not counted in the store.

mod alerts;
mod authority;
mod catalog;
mod clock;
mod dock;
mod fleet;
mod http;
mod ledger;
mod migrate;
mod mutual;
mod options;
mod ready;
mod rollup;
mod run;
mod store;

pub use catalog::{CatalogSource, Operator};
pub use ledger::LedgerError;
pub use mutual::IdentityError;
pub use options::{Options, OptionsError};
pub use run::{Error, migrate, run};
