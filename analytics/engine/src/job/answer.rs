//! The way of an answer from a job's thread to the HTTP side.
//!
//! In: a head, then chunks, then an end or a failure. Out: the same over bounded channels, chunks packed for the client. A
//! client that reads nothing for too long, or has gone, is a failure that ends the job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::encoding::{Encoder, Encoding};
use crate::failure::{Failure, code};
use crate::ffi::Counts;

/// Chunks on their way; the engine's are up to about 1 MB.
const IN_FLIGHT: usize = 4;

/// What an answer begins with.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) format: String,
    pub(crate) counts: Counts,
    /// The whole body, when it is known already; otherwise chunks follow.
    pub(crate) whole: Option<Bytes>,
}

impl Head {
    /// The head of an answer whose chunks follow.
    pub(crate) fn streamed(format: &str) -> Self {
        Self { format: format.to_owned(), counts: Counts::default(), whole: None }
    }
}

/// The job's end.
pub(crate) struct Answer {
    head: Option<oneshot::Sender<Result<Head, Failure>>>,
    chunks: mpsc::Sender<Bytes>,
    encoder: Option<Encoder>,
    exception_tag: String,
    idle: Duration,
    runtime: Handle,
    finished: Arc<AtomicBool>,
}

/// The HTTP side's end.
pub(crate) struct Reply {
    pub(crate) head: oneshot::Receiver<Result<Head, Failure>>,
    pub(crate) chunks: mpsc::Receiver<Bytes>,
    /// True when the job needs nothing more from the engine.
    pub(crate) finished: Arc<AtomicBool>,
}

impl Answer {
    /// Both ends. `exception_tag` goes into the answer's headers.
    pub(crate) fn channel(
        encoding: Encoding,
        exception_tag: &str,
        idle: Duration,
        runtime: Handle,
    ) -> (Self, Reply) {
        let (head_sender, head) = oneshot::channel();
        let (chunk_sender, chunks) = mpsc::channel(IN_FLIGHT);
        let finished = Arc::new(AtomicBool::new(false));
        let answer = Self {
            head: Some(head_sender),
            chunks: chunk_sender,
            encoder: Some(Encoder::new(encoding)),
            exception_tag: exception_tag.to_owned(),
            idle,
            runtime,
            finished: Arc::clone(&finished),
        };
        (answer, Reply { head, chunks, finished })
    }

    /// Sends the head.
    pub(super) fn begin(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            // A receiver that has gone shows when the first chunk is sent.
            let _ = sender.send(Ok(head));
        }
    }

    /// Sends a chunk, waiting for the client to take earlier ones.
    pub(super) fn chunk(&mut self, data: Bytes) -> Result<(), Failure> {
        let packed = self.encoder.as_mut().map(|encoder| encoder.chunk(data)).unwrap_or_default();
        self.send(packed)
    }

    /// Sends head and body at once.
    pub(super) fn whole(&mut self, format: &str, counts: Counts, data: Bytes) {
        let whole = self.encoder.take().map(|mut encoder| {
            if data.is_empty() && matches!(encoder, Encoder::Plain | Encoder::Blocks) {
                return data;
            }
            let (chunk, end) = (encoder.chunk(data), encoder.end());
            if end.is_empty() { chunk } else { [chunk, end].concat().into() }
        });
        self.begin(Head { format: format.to_owned(), counts, whole });
    }

    /// Ends the answer.
    pub(super) fn end(mut self) {
        if let Some(encoder) = self.encoder.take() {
            let _ = self.send(encoder.end());
        }
    }

    /// Ends the answer with a failure: as its head, or in the stream when that has begun.
    pub(super) fn fail(mut self, failure: Failure) {
        if let Some(head) = self.head.take() {
            let _ = head.send(Err(failure));
        } else if self.chunk(failure.as_block(&self.exception_tag).into()).is_ok() {
            self.end();
        }
    }

    fn send(&self, data: Bytes) -> Result<(), Failure> {
        if data.is_empty() {
            return Ok(());
        }
        match self.runtime.block_on(tokio::time::timeout(self.idle, self.chunks.send(data))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                Err(Failure::new(code::QUERY_WAS_CANCELLED, "the client has gone. (QUERY_WAS_CANCELLED)"))
            }
            Err(_) => {
                Err(Failure::new(code::TIMEOUT_EXCEEDED, "the client does not read. (TIMEOUT_EXCEEDED)"))
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Before the channels close, so that the other side never takes an ended job for an abandoned one.
        self.finished.store(true, Ordering::Release);
    }
}
