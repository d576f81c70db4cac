//! One upstream address: what is running on it, and whether it is ejected.
//!
//! Passive ejection: an address that fails several times in a row is left out for a while, longer each time it
//! happens again, and comes back by itself. In: outcomes, and the time as milliseconds of a monotonic clock.
//! Lock-free; never decides for a pool as a whole (see [`super::pool`]).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use analytics_record::NameId;

use super::idle::Idle;

/// Failures in a row that eject.
const FAILURES: u32 = 5;
/// First time out, milliseconds; the n-th in a row is n times as long.
const FIRST_EJECTION_MS: u64 = 10_000;
const LONGEST_EJECTION_MS: u64 = 300_000;

/// State of an address, kept from one snapshot to the next.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Its name in records.
    pub(crate) name: NameId,
    /// Plain connections that wait.
    pub(crate) idle: Idle,
    running: AtomicU32,
    failures: AtomicU32,
    ejections: AtomicU32,
    ejected_until_ms: AtomicU64,
}

impl Endpoint {
    /// A healthy, idle endpoint.
    pub(crate) fn new(address: SocketAddr, name: NameId) -> Self {
        Self {
            address,
            name,
            idle: Idle::default(),
            running: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
        }
    }

    /// Requests running on it.
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether it is left out at `now_ms`.
    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.ejected_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Notes the start of a request.
    pub(crate) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the end of a request, whatever its outcome.
    pub(crate) fn end(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that it answered.
    pub(crate) fn succeeded(&self) {
        // Reads are cheap and writes are not: most endpoints are healthy.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) > 0 {
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failed connection, a broken answer, or a 5xx. True: it has failed often enough to be ejected.
    pub(crate) fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES
    }

    /// Leaves it out for a while from `now_ms` on.
    pub(crate) fn eject(&self, now_ms: u64) {
        let times = self.ejections.fetch_add(1, Ordering::Relaxed) + 1;
        let time = (FIRST_EJECTION_MS * u64::from(times)).min(LONGEST_EJECTION_MS);
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until_ms.store(now_ms + time, Ordering::Relaxed);
    }
}
