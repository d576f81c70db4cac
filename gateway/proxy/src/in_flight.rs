//! When the oldest running request began: everything spent before that has its record in the spool.
//!
//! In: starts and ends of requests. Out: one instant, asked for about once a second. Split by thread, so that
//! requests do not wait for each other; places are used again, so that nothing is allocated for most.

use std::sync::{Arc, Mutex, PoisonError};

use crate::thread;

const SHARES: usize = 16;
/// No request runs at a place.
const NONE: u64 = u64::MAX;

/// Running requests by when they began.
#[derive(Debug, Default)]
pub(crate) struct InFlight([Mutex<Places>; SHARES]);

#[derive(Debug, Default)]
struct Places {
    /// When the request at each place began.
    since_ns: Vec<u64>,
    free: Vec<usize>,
    /// Requests that have begun.
    begun: u64,
}

/// One running request.
#[derive(Debug)]
pub(crate) struct Running {
    all: Arc<InFlight>,
    share: usize,
    place: usize,
}

impl InFlight {
    /// Notes a request that began at `since_ns` of the monotonic clock. It must not spend before this returns.
    pub(crate) fn begin(self: &Arc<Self>, since_ns: u64) -> Running {
        let share = thread::share(SHARES);
        let mut places = self.lock(share);
        places.begun += 1;
        let place = if let Some(place) = places.free.pop() {
            places.since_ns[place] = since_ns;
            place
        } else {
            places.since_ns.push(since_ns);
            places.since_ns.len() - 1
        };
        Running { all: Arc::clone(self), share, place }
    }

    /// When the oldest running request began; `now_ns`, read before the call, when none is running.
    pub(crate) fn oldest(&self, now_ns: u64) -> u64 {
        let first = |share| self.lock(share).since_ns.iter().copied().min().unwrap_or(NONE);
        (0..SHARES).map(first).fold(now_ns, u64::min)
    }

    /// Requests that have begun so far.
    pub(crate) fn begun(&self) -> u64 {
        (0..SHARES).map(|share| self.lock(share).begun).sum()
    }

    /// Running requests.
    pub(crate) fn count(&self) -> u64 {
        let running = |share| {
            let places = self.lock(share);
            places.since_ns.len() - places.free.len()
        };
        (0..SHARES).map(running).sum::<usize>() as u64
    }

    fn lock(&self, share: usize) -> std::sync::MutexGuard<'_, Places> {
        // The places are whole between any two statements: a panic elsewhere cannot have broken them.
        self.0[share].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut places = self.all.lock(self.share);
        places.since_ns[self.place] = NONE;
        places.free.push(self.place);
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_told_until_it_ends() {
        let all = Arc::new(InFlight::default());
        assert_eq!(all.oldest(100), 100);
        let first = all.begin(10);
        let second = all.begin(10);
        let third = std::thread::scope(|scope| scope.spawn(|| all.begin(20)).join().unwrap());
        assert_eq!((all.oldest(100), all.count()), (10, 3));
        drop(first);
        assert_eq!(all.oldest(100), 10);
        drop(second);
        assert_eq!(all.oldest(100), 20);
        drop(third);
        assert_eq!((all.oldest(100), all.count()), (100, 0));
    }
}
