//! The endpoints of one backend, and the choice among them.
//!
//! Of two neighbours in turn the one with fewer running requests: even load when all are alike, and less for
//! one that is slow. Ejected endpoints are left out, but never more than half of a pool, and never all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::Interner;
use super::endpoint::Endpoint;

/// A backend's endpoints; replaced as a whole when names resolve anew.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
}

/// An endpoint in use by one attempt.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Endpoint>);

impl std::ops::Deref for InUse {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Pool {
    /// Serves `addresses` from now on; those that stay keep their state.
    pub(crate) fn replace(&self, addresses: &[SocketAddr], intern: &Interner) {
        let present = self.endpoints.load();
        let known = |address: &SocketAddr| present.iter().find(|endpoint| endpoint.address == *address);
        let next: Vec<_> = addresses
            .iter()
            .map(|address| {
                let new = || Arc::new(Endpoint::new(*address, intern(&address.to_string())));
                known(address).map_or_else(new, Arc::clone)
            })
            .collect();
        self.endpoints.store(Arc::new(next));
    }

    /// A pool with the same endpoints, whose set can change by itself.
    pub(crate) fn fork(&self) -> Self {
        Self { endpoints: ArcSwap::new(self.endpoints.load_full()), turn: AtomicUsize::new(0) }
    }

    /// Addresses known at present.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.load().iter().map(|endpoint| endpoint.address).collect()
    }

    /// How many endpoints there are.
    pub(crate) fn len(&self) -> usize {
        self.endpoints.load().len()
    }

    /// An endpoint for an attempt at `now_ms`, other than `tried` and not ejected if there is one; `None` only
    /// when the pool is empty.
    pub(crate) fn choose(&self, now_ms: u64, tried: &[SocketAddr]) -> Option<InUse> {
        let endpoints = self.endpoints.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let usable =
            |endpoint: &&Arc<Endpoint>| !tried.contains(&endpoint.address) && !endpoint.is_ejected(now_ms);
        let in_turn = || endpoints.iter().cycle().skip(turn % endpoints.len().max(1)).take(endpoints.len());
        let mut two = in_turn().filter(usable);
        let chosen = match (two.next(), two.next()) {
            (Some(first), Some(second)) if second.running() < first.running() => Some(second),
            (Some(first), _) => Some(first),
            // All failed or were tried: one that was not tried is worth more than none.
            (None, _) => in_turn().find(|e| !tried.contains(&e.address)).or_else(|| in_turn().next()),
        }?;
        chosen.begin();
        Some(InUse(Arc::clone(chosen)))
    }

    /// Closes connections that have waited too long at `now`.
    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints.load().iter().for_each(|endpoint| endpoint.idle.sweep(now));
    }

    /// Notes that an attempt on `endpoint` failed; ejects it if it failed too often and enough others are left.
    /// True: ejected now.
    pub(crate) fn failed(&self, endpoint: &Endpoint, now_ms: u64) -> bool {
        if !endpoint.failed() {
            return false;
        }
        let endpoints = self.endpoints.load();
        let out = endpoints.iter().filter(|other| other.is_ejected(now_ms)).count();
        let may = (out + 1) * 2 <= endpoints.len();
        if may {
            endpoint.eject(now_ms);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(pool: &Pool, addresses: &[SocketAddr]) {
        let intern: Interner = Arc::new(|_: &str| analytics_record::NameId::NONE);
        pool.replace(addresses, &intern);
    }

    fn pool(count: u8) -> Pool {
        let pool = Pool::default();
        replace(&pool, &(1..=count).map(address).collect::<Vec<_>>());
        pool
    }

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 80).into()
    }

    fn eject(pool: &Pool, last: u8, now_ms: u64) -> bool {
        let endpoints = pool.endpoints.load();
        let endpoint = endpoints.iter().find(|e| e.address == address(last)).unwrap();
        (0..5).any(|_| pool.failed(endpoint, now_ms))
    }

    #[test]
    fn idle_endpoints_take_turns() {
        let pool = pool(3);
        let mut counts = [0; 4];
        for _ in 0..30 {
            let SocketAddr::V4(chosen) = pool.choose(0, &[]).unwrap().address else { unreachable!() };
            counts[usize::from(chosen.ip().octets()[3])] += 1;
        }
        assert_eq!(counts, [0, 10, 10, 10]);
    }

    #[test]
    fn a_busy_endpoint_gets_less() {
        let pool = pool(2);
        let held: Vec<_> = (0..10).map(|_| pool.choose(0, &[]).unwrap()).collect();
        let busy = held.iter().filter(|e| e.address == address(1)).count();
        assert_eq!(busy, 5);
        let first: Vec<_> = held.into_iter().filter(|e| e.address == address(1)).collect();
        for _ in 0..4 {
            assert_eq!(pool.choose(0, &[]).unwrap().address, address(2));
        }
        drop(first);
    }

    #[test]
    fn an_ejected_endpoint_returns_after_its_time() {
        let pool = pool(2);
        assert!(eject(&pool, 1, 1_000));
        for _ in 0..4 {
            assert_eq!(pool.choose(1_001, &[]).unwrap().address, address(2));
        }
        let later: Vec<_> = (0..4).map(|_| pool.choose(11_001, &[]).unwrap().address).collect();
        assert!(later.contains(&address(1)));
    }

    #[test]
    fn never_more_than_half_is_ejected() {
        let pool = pool(3);
        assert!(eject(&pool, 1, 0));
        assert!(!eject(&pool, 2, 0));
        let single = super::tests::pool(1);
        assert!(!eject(&single, 1, 0));
        assert!(single.choose(0, &[]).is_some());
    }

    #[test]
    fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
        let pool = pool(2);
        let first = pool.choose(0, &[]).unwrap().address;
        assert_ne!(pool.choose(0, &[first]).unwrap().address, first);
        assert!(pool.choose(0, &[address(1), address(2)]).is_some());
        assert!(Pool::default().choose(0, &[]).is_none());
    }

    #[test]
    fn state_survives_a_change_of_addresses() {
        let pool = pool(2);
        assert!(eject(&pool, 1, 0));
        replace(&pool, &[address(1), address(3), address(2)]);
        let chosen: Vec<_> = (0..6).map(|_| pool.choose(1, &[]).unwrap().address).collect();
        assert!(!chosen.contains(&address(1)));
    }
}
