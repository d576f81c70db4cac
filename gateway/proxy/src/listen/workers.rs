//! The threads that serve connections: one for each core, with a runtime of its own. A connection stays on the thread that
//! accepted it, and so do its upstream connections: no request wakes another thread, and none is moved.
//!
//! In: how many. Out: which of them a new connection is for. The system spreads connections over the workers' sockets by
//! chance (`SO_REUSEPORT`), which is uneven where there are few: one that would make its worker clearly the busiest goes
//! to the one with the fewest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::thread;

/// The runtimes, which end with this: what runs on them is dropped.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Runtime>);

/// One thread that serves connections.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Open connections.
    open: AtomicUsize,
}

/// The workers; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Workers(Arc<[Worker]>);

/// Counts one open connection of a worker while it lives.
#[derive(Debug)]
pub(super) struct Held {
    workers: Workers,
    worker: usize,
}

impl Crew {
    /// Starts `count` workers.
    pub(crate) fn start(count: usize) -> std::io::Result<(Self, Workers)> {
        // With a worker of its own instead of the thread that builds it, a runtime lets others take over while a
        // thread has to wait (`block_in_place`).
        let runtime = |number: usize| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(format!("worker-{number}"))
                .on_thread_start(move || thread::number(number))
                .enable_all()
                .build()
        };
        let runtimes = (0..count.max(1)).map(runtime).collect::<Result<Vec<_>, _>>()?;
        let worker =
            |runtime: &Runtime| Worker { runtime: runtime.handle().clone(), open: AtomicUsize::new(0) };
        let workers = Workers(runtimes.iter().map(worker).collect());
        Ok((Self(runtimes), workers))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Not waited for: that may not be done where tasks run.
        self.0.drain(..).for_each(Runtime::shutdown_background);
    }
}

impl Workers {
    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.0.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The runtime of each.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|worker| &worker.runtime)
    }

    /// Takes one more connection, which `accepted` accepted: on it, unless it would have clearly more than another.
    pub(super) fn enter(&self, accepted: usize) -> Held {
        let open = |worker: usize| self.0[worker].open.load(Ordering::Relaxed);
        let fewest = (0..self.0.len()).min_by_key(|worker| open(*worker)).unwrap_or(accepted);
        let worker = if is_clearly_more(open(accepted), open(fewest)) { fewest } else { accepted };
        self.0[worker].open.fetch_add(1, Ordering::Relaxed);
        Held { workers: self.clone(), worker }
    }
}

/// Whether it is worth waking another thread once, so that all requests of a connection wait less.
fn is_clearly_more(mine: usize, fewest: usize) -> bool {
    mine > fewest + fewest / 8
}

impl Held {
    /// The worker's number.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// The worker's runtime.
    pub(super) fn runtime(&self) -> &Handle {
        &self.workers.0[self.worker].runtime
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.workers.0[self.worker].open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_even_however_they_come() {
        let (_crew, workers) = Crew::start(4).unwrap();
        let mut held: Vec<Held> = (0..8).map(|_| workers.enter(0)).collect();
        let counts =
            |held: &[Held]| [0, 1, 2, 3].map(|n| held.iter().filter(|one| one.worker() == n).count());
        assert_eq!((counts(&held), workers.open()), ([2; 4], 8));
        held.retain(|one| one.worker() != 2);
        held.extend((0..2).map(|_| workers.enter(1)));
        assert_eq!(counts(&held), [2; 4]);
        drop(held);
        assert_eq!(workers.open(), 0);
    }

    #[test]
    fn many_connections_stay_where_they_were_accepted() {
        let (_crew, workers) = Crew::start(2).unwrap();
        let held: Vec<Held> = (0..800).map(|n| workers.enter(n % 2)).collect();
        let more: Vec<Held> = (0..20).map(|_| workers.enter(1)).collect();
        assert!(more.iter().all(|one| one.worker() == 1));
        drop((held, more));
    }
}
