//! Deadlines of one connection over one timer.
//!
//! A timer that is set for each wait costs more than the wait. Here it is set only when a deadline comes before the one
//! that it is set for; when it fires too early, it is set again. So a busy connection touches it about once for each
//! time that it may be idle.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A timer that is made when it is needed.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Ready when `deadline` is past; else the task is woken then.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// What `work` gives, or nothing when it takes longer than `time`. For work that is mostly done at once: the clock is
    /// read only when it is not.
    pub(crate) async fn at_most<T>(&mut self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut deadline = None;
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => {
                self.poll(*deadline.get_or_insert_with(|| Instant::now() + time), cx).map(|()| None)
            }
        })
        .await
    }

    /// What `work` gives, or nothing when it takes longer than until `deadline`.
    pub(crate) async fn within<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll(deadline, cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_timer_serves_deadlines_in_any_order() {
        let mut patience = Patience::default();
        let start = tokio::time::Instant::now();
        let at = |ms| (start + Duration::from_millis(ms)).into_std();
        assert_eq!(patience.within(at(5_000), async { 1 }).await, Some(1));
        for (deadline, end) in [(50, 50), (10_000, 10_000), (9_000, 10_000), (10_001, 10_001)] {
            assert_eq!(patience.within(at(deadline), std::future::pending::<()>()).await, None);
            assert_eq!(start.elapsed(), Duration::from_millis(end));
        }
        let work = tokio::time::sleep(Duration::from_millis(20));
        assert_eq!(patience.within(at(60_000), work).await, Some(()));
    }
}
