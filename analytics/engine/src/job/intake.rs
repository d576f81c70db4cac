//! The data of an insert, from the request's body to the engine.
//!
//! In: the body's frames, plain or as ClickHouse's compressed blocks. Out: chunks of plain data. Bounded in size, in the
//! pause between two frames and in the time for all of them; a body that breaks off is a failure, never an end.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, code};
use crate::native_block::{BlockError, Unpacker};
use crate::options::Limits;

/// Most that is read of a body after its insert has failed, so that the client comes to read the failure, in bytes.
const DRAINED: u64 = 64 << 20;

/// Reads one body.
pub(super) struct Intake {
    body: Body,
    unpacker: Option<Unpacker>,
    left: u64,
    idle: Duration,
    deadline: Instant,
    stop: CancellationToken,
    runtime: Handle,
    ended: bool,
}

impl Intake {
    pub(super) fn new(
        body: Body,
        packed: bool,
        deadline: Instant,
        limits: &Limits,
        stop: CancellationToken,
        runtime: Handle,
    ) -> Self {
        Self {
            body,
            unpacker: packed.then(Unpacker::default),
            left: limits.insert_bytes,
            idle: limits.idle,
            deadline,
            stop,
            runtime,
            ended: false,
        }
    }

    /// The next chunk of data, or `None` when the body has ended as it should.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(unpacker) = &mut self.unpacker
                && let Some(data) = unpacker.next().map_err(corrupt)?
            {
                return self.count(data).map(Some);
            }
            let frame = self.frame()?;
            match (&mut self.unpacker, frame) {
                (Some(unpacker), Some(frame)) => unpacker.push(&frame),
                (None, Some(frame)) => return self.count(frame).map(Some),
                (unpacker, None) => {
                    return unpacker
                        .as_ref()
                        .map_or(Ok(()), Unpacker::finish)
                        .map_err(corrupt)
                        .map(|()| None);
                }
            }
        }
    }

    /// Fails when the request's time is over.
    pub(super) fn check_deadline(&self) -> Result<(), Failure> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(late()) }
    }

    /// Reads and forgets what the client still sends, within bounds.
    pub(super) fn drain(&mut self) {
        let mut left = DRAINED;
        while let Ok(Some(frame)) = self.frame() {
            let Some(rest) = left.checked_sub(frame.len() as u64) else { return };
            left = rest;
        }
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes, Failure> {
        self.left = self.left.checked_sub(data.len() as u64).ok_or_else(|| {
            Failure::new(
                code::TOO_MANY_BYTES,
                "the insert is larger than one request may carry: cut it into batches. (TOO_MANY_BYTES)",
            )
        })?;
        Ok(data)
    }

    fn frame(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let patience = self.idle.min(self.deadline.saturating_duration_since(Instant::now()));
        let (body, stop) = (&mut self.body, &self.stop);
        let frame = self.runtime.block_on(async {
            tokio::select! {
                frame = tokio::time::timeout(patience, body.frame()) => frame.map_err(|_| late()),
                () = stop.cancelled() => Err(cancelled("the engine is stopping")),
            }
        })?;
        match frame {
            None => {
                self.ended = true;
                Ok(None)
            }
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(error)) => {
                self.ended = true;
                Err(cancelled(&format!("the request's body broke off: {error}")))
            }
        }
    }
}

fn late() -> Failure {
    Failure::new(code::TIMEOUT_EXCEEDED, "the insert's data does not come in time. (TIMEOUT_EXCEEDED)")
}

fn cancelled(why: &str) -> Failure {
    Failure::new(code::QUERY_WAS_CANCELLED, format!("{why}; nothing more is inserted. (QUERY_WAS_CANCELLED)"))
}

fn corrupt(error: BlockError) -> Failure {
    Failure::new(code::CANNOT_DECOMPRESS, format!("{error}. (CANNOT_DECOMPRESS)"))
}
