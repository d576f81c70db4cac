//! The gateway's spool: usage records survive the process, become sealed segments, and wait to be shipped.
//!
//! In: one record per request from any thread ([`Shard::append`]: no system call, no allocation), a tick ten times a
//! second, and from the shipper how far streams were audited. Out: sealed segments, and facts about streams.
//! Uses files only, through [`vfs::Vfs`]; knows no network and no runtime. Never blocks or fails a request: when ring
//! or disk is full it keeps exact counts instead of detail, and says so.

mod clock;
mod closed;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
mod inventory;
mod layout;
mod names;
mod open;
mod options;
mod overflow;
mod recover;
mod ring;
mod sealer;
mod shard;
mod spool;
mod stream;
pub mod vfs;

pub use clock::Clock;
pub use inventory::SealedInfo;
pub use names::Names;
pub use open::OpenError;
pub use options::Options;
pub use sealer::{Report, Sealer};
pub use shard::{Appended, Shard};
pub use spool::{ReadError, Spool};
pub use stream::SealError;
