//! Turns for statements: so many at once, so many waiting, the rest refused.
//!
//! Readers and writers have lanes of their own, so that dashboards cannot keep records from being written. A turn is held
//! until the engine has really ended the statement, not until the client has gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Failure, code};
use crate::options::Limits;

/// Both lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    readers: Lane,
    writers: Lane,
    wait: Duration,
}

#[derive(Debug)]
struct Lane {
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
    width: usize,
}

/// A statement's turn, given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held, never read")] [OwnedSemaphorePermit; 2]);

impl Lanes {
    pub(crate) fn new(limits: &Limits) -> Self {
        let lane = |width: usize| Lane {
            running: Arc::new(Semaphore::new(width)),
            present: Arc::new(Semaphore::new(width + limits.waiting)),
            width,
        };
        Self { readers: lane(limits.readers.max(1)), writers: lane(limits.writers.max(1)), wait: limits.wait }
    }

    /// Waits for a turn. Fails at once when the queue is full, and when the turn does not come before `deadline`.
    pub(crate) async fn enter(&self, reads: bool, deadline: Instant) -> Result<Turn, Failure> {
        let lane = if reads { &self.readers } else { &self.writers };
        let place =
            Arc::clone(&lane.present).try_acquire_owned().map_err(|_| crowded("the queue is full"))?;
        let turn = tokio::time::timeout_at(
            deadline.min(Instant::now() + self.wait).into(),
            Arc::clone(&lane.running).acquire_owned(),
        )
        .await
        .map_err(|_| crowded("no turn came in time"))?
        .map_err(|_| crowded("the engine is stopping"))?;
        Ok(Turn([place, turn]))
    }

    /// Completes when no statement is running; later ones are refused.
    pub(crate) async fn drain(&self) {
        for lane in [&self.readers, &self.writers] {
            // Fails only when closed, that is when drained before.
            let _all = lane.running.acquire_many(lane.width as u32).await;
            lane.running.close();
        }
    }
}

fn crowded(what: &str) -> Failure {
    Failure::new(
        code::TOO_MANY_SIMULTANEOUS_QUERIES,
        format!("too many statements at once: {what}; try again. (TOO_MANY_SIMULTANEOUS_QUERIES)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test]
    async fn lanes_are_bounded_and_apart() {
        let limits = Limits {
            readers: 1,
            writers: 1,
            waiting: 0,
            wait: Duration::from_millis(20),
            ..Limits::default()
        };
        let lanes = Lanes::new(&limits);
        let turn = lanes.enter(true, later()).await.unwrap();
        assert_eq!(lanes.enter(true, later()).await.unwrap_err().code(), code::TOO_MANY_SIMULTANEOUS_QUERIES);
        lanes.enter(false, later()).await.unwrap();
        drop(turn);
        lanes.enter(true, later()).await.unwrap();
    }

    #[tokio::test]
    async fn draining_waits_for_turns_and_closes() {
        let lanes = Lanes::new(&Limits { wait: Duration::from_millis(20), ..Limits::default() });
        let turn = lanes.enter(false, later()).await.unwrap();
        let drained = tokio::time::timeout(Duration::from_millis(30), lanes.drain()).await;
        assert!(drained.is_err(), "a turn is out");
        drop(turn);
        lanes.drain().await;
        assert!(lanes.enter(false, later()).await.is_err());
    }
}
