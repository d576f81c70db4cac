//! What whole-system tests share: the real program started as a user starts it, real requests, the real store.
//!
//! A [`Machine`] is one `turnpike up` with a folder and a state folder of its own. It ends with the test, also when
//! the test fails. Nothing here sleeps to let things settle: everything waits for a condition, with a deadline.

#![expect(clippy::print_stdout, reason = "what a test found out is of use beside its result")]

pub mod books;
mod example;
pub mod load;
mod machine;
mod process;
pub mod shop;
mod store;
mod turn;
mod upstream;
mod wait;

pub use example::Example;
pub use machine::{Machine, Setup, free_port, program};
pub use process::{Frozen, Part, kill};
pub use turn::turn;
pub use upstream::Upstream;
pub use wait::{eventually, until};
