//! The gateway's shell: sockets, TLS, HTTP, upstreams, and the ways in and out of the process.
//!
//! In: snapshots, and requests. Out: each request's way through `gateway-pipeline` to an upstream and back, and
//! one usage record for it. Decisions about requests are not made here, and nothing here knows Kubernetes.

mod admin;
mod announce;
mod clock;
mod config;
mod fast;
#[cfg(fuzzing)]
pub mod fuzz;
mod handler;
mod in_flight;
mod keep;
mod lease;
mod listen;
mod options;
mod process;
mod reload;
mod service;
mod shared;
mod ship;
mod source;
mod status;
mod telemetry;
mod thread;
mod upstream;
mod wire;

pub use options::{Analytics, Operator, Options, Snapshots};
pub use process::{Error, Process, run};
pub use service::ClientError;
pub use status::{ListenerStatus, Refused, Status};
