//! When the oldest running request began: everything spent before that has its record in the spool.
//!
//! In: starts and ends of requests. Out: one instant, asked for about once a second. Sharded by thread, so that
//! requests do not wait for each other.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

const SHARDS: usize = 16;

/// Running requests by when they began.
#[derive(Debug, Default)]
pub(crate) struct InFlight([Mutex<BTreeMap<u64, u32>>; SHARDS]);

/// One running request.
#[derive(Debug)]
pub(crate) struct Running {
    all: Arc<InFlight>,
    shard: usize,
    since_ns: u64,
}

impl InFlight {
    /// Notes a request that began at `since_ns` of the monotonic clock. It must not spend before this returns.
    pub(crate) fn begin(self: &Arc<Self>, since_ns: u64) -> Running {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        let shard = hasher.finish() as usize % SHARDS;
        *self.lock(shard).entry(since_ns).or_default() += 1;
        Running { all: Arc::clone(self), shard, since_ns }
    }

    /// When the oldest running request began; `now_ns`, read before the call, when none is running.
    pub(crate) fn oldest(&self, now_ns: u64) -> u64 {
        let first = |shard| self.lock(shard).first_key_value().map(|(since, _)| *since);
        (0..SHARDS).filter_map(first).fold(now_ns, u64::min)
    }

    /// Running requests.
    pub(crate) fn count(&self) -> u64 {
        (0..SHARDS).map(|shard| self.lock(shard).values().map(|count| u64::from(*count)).sum::<u64>()).sum()
    }

    fn lock(&self, shard: usize) -> std::sync::MutexGuard<'_, BTreeMap<u64, u32>> {
        // The map is whole between any two statements below: a panic elsewhere cannot have broken it.
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.all.lock(self.shard);
        if let Some(count) = running.get_mut(&self.since_ns) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.since_ns);
            }
        }
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
