//! Quota leases: the gateway's side of the lease protocol over HTTP.
//!
//! In: needs of requests, and the authority's replies. Out: slots that requests spend from without waiting. Only
//! the first request of a subject here, and one that meets a dry slot, waits for a message, and never longer
//! than [`PATIENCE`]. What may be granted or spent is decided by `gateway-quota`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_pipeline::{Lease, LeaseNeed};
use gateway_quota::message::{Batch, Reply};
use gateway_quota::{GatewayId, Holder, HolderConfig, QuotaKey, Slot};
use gateway_spool::Spool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::in_flight::InFlight;
use crate::service::{Service, ServiceError};

/// How long a request waits for units in all.
const PATIENCE: Duration = Duration::from_millis(500);
/// After this the request looks at its slot again: the answer may have come before it began to wait.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at whether the last leases are settled.
const FAREWELL_PAUSE: Duration = Duration::from_millis(20);
/// Between two tellings of how far records are in the spool.
const TELL: Duration = Duration::from_millis(500);
/// Least time between two polls of the holder.
const BREATH: Duration = Duration::from_millis(1);
/// How long the last leases are returned when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// All leases of this process.
#[derive(Debug)]
pub(crate) struct Leases {
    holder: Mutex<Holder>,
    /// Somebody needs units.
    wake: Notify,
    waiting: Waiting,
    /// There is an authority to ask.
    reachable: bool,
    clock: Clock,
}

/// Who waits for which slot: an answer about one subject must not use up the patience of others.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<QuotaKey, Arc<Notify>>>);

impl Waiting {
    fn enter(&self, key: &QuotaKey) -> Arc<Notify> {
        Arc::clone(self.lock().entry(key.clone()).or_default())
    }

    fn leave(&self, key: &QuotaKey, changed: Arc<Notify>) {
        let mut waiting = self.lock();
        drop(changed);
        if waiting.get(key).is_some_and(|changed| Arc::strong_count(changed) == 1) {
            waiting.remove(key);
        }
    }

    fn wake(&self, key: &QuotaKey) {
        if let Some(changed) = self.lock().get(key) {
            changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QuotaKey, Arc<Notify>>> {
        // The map is whole between any two statements above.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    /// No leases yet. Without a `reachable` authority nobody waits for one.
    pub(crate) fn new(spool: &Spool, clock: Clock, reachable: bool) -> Self {
        let gateway = GatewayId::from(spool.gateway().to_string());
        let holder = Holder::new(HolderConfig::new(gateway, spool.epoch()), clock.mono());
        Self {
            holder: Mutex::new(holder),
            wake: Notify::new(),
            waiting: Waiting::default(),
            reachable,
            clock,
        }
    }

    /// Waits for units for a request that has been waiting `since` then.
    pub(crate) async fn get(&self, need: LeaseNeed, since: Instant) -> Lease {
        let Some(slot) = need.slot else {
            // The request tries it at once: another may have filled it meanwhile, and what it takes is its own. If
            // that fails, the slot has noted how much is wanted.
            let slot = self.holder().slot(&need.key);
            return Lease { slot, timed_out: !self.reachable };
        };
        let late = !self.reachable || since.elapsed() >= PATIENCE;
        if late {
            self.nudge(&slot);
            return Lease { slot, timed_out: true };
        }
        let changed = self.waiting.enter(&need.key);
        {
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.nudge(&slot);
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
        self.waiting.leave(&need.key, changed);
        Lease { slot, timed_out: since.elapsed() >= PATIENCE }
    }

    /// A slot wants attention.
    pub(crate) fn nudge(&self, slot: &Slot) {
        self.holder().nudge(slot);
        self.wake.notify_one();
    }

    /// Returns the leases of limits that a new snapshot no longer has.
    pub(crate) fn retain(&self, keep: impl FnMut(&QuotaKey) -> bool) {
        self.holder().retain(keep, self.clock.mono());
        self.wake.notify_one();
    }

    /// The epoch of a newer life of this gateway, if one has registered.
    pub(crate) fn fenced(&self) -> Option<u32> {
        self.holder().fenced()
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        // The holder is a state machine of values: a panic elsewhere leaves it as it was.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Talks with the authority until `stop`, then returns everything.
    pub(crate) async fn run(&self, service: Service, in_flight: Arc<InFlight>, stop: CancellationToken) {
        let mut told = Instant::now();
        let mut link = Link { service, failing: false };
        while !stop.is_cancelled() {
            let next = self.clock.instant(self.holder().next_poll()).max(Instant::now() + BREATH);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(next.min(told + TELL).into()) => {}
                () = stop.cancelled() => break,
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell(&in_flight);
            }
            self.round(&mut link).await;
        }
        self.holder().close(self.clock.mono());
        let farewell = async {
            while !self.holder().is_drained() {
                // No request runs any more, or only cut ones whose records are being written: once all are there,
                // the last returns are final, and nothing is left to be settled from the spool.
                self.tell(&in_flight);
                self.round(&mut link).await;
                tokio::time::sleep(FAREWELL_PAUSE).await;
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("not all leases are returned; they are settled from the records");
        }
    }

    /// What was spent before the oldest running request began has its record in the spool.
    fn tell(&self, in_flight: &InFlight) {
        let now = self.clock.mono_ns_of(Instant::now());
        let oldest = in_flight.oldest(now);
        self.holder().recorded_through(gateway_quota::Mono::from_nanos(oldest));
    }

    async fn round(&self, link: &mut Link) {
        let now = self.clock.mono();
        let batch = self.holder().poll(now);
        let Some(batch) = batch else { return };
        let reply = link.send(&batch).await;
        let now = self.clock.mono();
        match reply {
            Some(reply) => {
                let applied = self.holder().apply(&reply, now);
                applied.changed.iter().for_each(|slot| self.waiting.wake(slot.key()));
            }
            None => self.holder().failed(batch.sent, now),
        }
    }
}

/// The way to the authority; says once when it breaks and once when it is back.
struct Link {
    service: Service,
    failing: bool,
}

impl Link {
    async fn send(&mut self, batch: &Batch) -> Option<Reply> {
        let reply = self.service.post::<_, Reply>("/v1/quota", batch).await;
        let reply = reply.and_then(|reply| match reply.check() {
            Ok(()) => Ok(reply),
            Err(error) => Err(ServiceError::Answer(error.to_string())),
        });
        if let Err(error) = &reply
            && !self.failing
        {
            tracing::warn!(%error, "the quota authority does not answer; leases in hand are spent, then hard quotas refuse");
        }
        if reply.is_ok() && self.failing {
            tracing::info!("the quota authority answers again");
        }
        self.failing = reply.is_err();
        reply.ok()
    }
}
