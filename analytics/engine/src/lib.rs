//! The embedded ClickHouse engine behind a ClickHouse-compatible HTTP endpoint.
//!
//! In: a data folder, the engine's library, limits. Out: an endpoint on which the `clickhouse` crate, clickhouse-go and
//! `curl` see a small ClickHouse server. One process holds one data folder, so callers run this in a process of its own:
//! an engine crash and the folder's lock then stay out of the service.
//!
//! Must never: put payload bytes into SQL text, admit more than one statement per request, acknowledge an insert before
//! the engine has committed it, or let a statement touch files and hosts outside the data folder.

mod auth;
mod config;
mod confine;
mod encoding;
mod failure;
mod ffi;
#[cfg(fuzzing)]
pub mod fuzz;
mod hello;
mod job;
mod lanes;
mod locate;
mod lock;
mod native_block;
mod options;
mod parent;
mod request;
mod rowbinary;
mod run;
mod server;
mod statement;
mod store;

pub use confine::confine;
pub use ffi::LoadError;
pub use locate::{ENGINE_VERSION, LocateError, default_library, locate};
pub use options::{Limits, Options};
pub use run::{Error, run};
