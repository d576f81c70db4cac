//! The engine process as its clients see it. Each test starts a process of its own: this binary, run again as
//! `engine_process`, because one process holds one data folder.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod admission;
mod clients;
mod crash;
mod encodings;
mod inserts;
mod lifecycle;
mod limits;
mod partners;
mod process;
mod records;
