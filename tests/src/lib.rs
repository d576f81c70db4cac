//! What whole-system tests share: the real program started as a user starts it, real requests, the real store.
//!
//! A [`Machine`] is one `turnpike up` with a folder and a state folder of its own. It ends with the test, also when
//! the test fails. Nothing here sleeps to let things settle: everything waits for a condition, with a deadline.

mod machine;
mod process;
pub mod shop;
mod store;
mod upstream;
mod wait;

pub use machine::{Machine, Setup, free_port, program};
pub use process::{Part, kill};
pub use upstream::Upstream;
pub use wait::{eventually, until};
