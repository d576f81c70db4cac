//! `turnpike gateway`, and what every part has in common as a program: how it begins, says where it listens, and ends.
//!
//! The one binary has it as a subcommand. The image for gateways has it alone: what a gateway does not need is not there
//! to be attacked, loaded or pulled.

pub mod address;
mod gateway;
mod memory;
mod process;

pub use gateway::{BESIDE_REQUESTS, GatewayArgs, gateway, port_pair, token};
pub use memory::{give_back, small_pages};
pub use process::{CHILD_MARK, Ready, announce, begin, fail, run, shutdown};
