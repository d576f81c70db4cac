//! The service in process on a free port, against the real engine in a process of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod alerts;
mod engine;
mod gateway;
mod quota;
mod reports;
mod service;
mod spool;

/// The engine process of all other tests, which start it by name; by itself it does nothing.
#[test]
fn engine_process() {
    engine::serve();
}
