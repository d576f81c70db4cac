//! Where snapshots come from, and what is answered.
//!
//! In: a stream of candidates. Out: for each, that it is served, or why not. The file source is for one
//! machine, the stream for a cluster. A source never judges a candidate.

mod file;
mod state;
mod stream;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use gateway_snapshot::Snapshot;
use serde::Serialize;

pub(crate) use file::FileSource;
pub(crate) use state::{StateDir, StateError};
pub use stream::Operator;
pub(crate) use stream::StreamSource;

/// A snapshot that somebody wants to have served.
#[derive(Debug)]
pub(crate) enum Candidate {
    /// As JSON, not read yet.
    Json(Vec<u8>),
    /// Read, and perhaps put together from differences.
    Snapshot(Arc<Snapshot>),
}

/// Gives candidates and takes answers.
#[async_trait]
pub(crate) trait Source: Send + 'static {
    /// Waits for the next candidate.
    async fn next(&mut self) -> Candidate;

    /// Tells what became of the candidate given last; may be called again when that changes.
    async fn answer(&mut self, answer: &Answer);
}

/// What became of a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// The candidate's version; empty when it could not be read so far.
    pub(crate) version: String,
    /// Whether it is served now. When not, the version before it still is.
    pub(crate) accepted: bool,
    /// Why it was refused; or, for an accepted one, which listeners could not be bound.
    pub(crate) errors: Vec<String>,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl Answer {
    /// An answer given now.
    pub(crate) fn now(version: &str, accepted: bool, errors: Vec<String>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { version: version.to_owned(), accepted, errors, at: since.as_millis() as u64 }
    }
}

/// A boxed source is one, too.
#[async_trait]
impl Source for Box<dyn Source> {
    async fn next(&mut self) -> Candidate {
        (**self).next().await
    }

    async fn answer(&mut self, answer: &Answer) {
        (**self).answer(answer).await;
    }
}
