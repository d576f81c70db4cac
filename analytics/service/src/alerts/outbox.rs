//! The outbox in memory: what was committed, and what is still to be delivered.
//!
//! In: alerts that are durable. Out: those with deliveries that are due, and all of them for the API. The ledger has the
//! truth; this is its copy for fast looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{Alert, Delivery, DeliveryState};

/// Most alerts kept for looking at; older ones without pending deliveries are forgotten first.
const KEEP: usize = 10_000;
/// How long after its window an alert is kept, so that a late repetition is still known.
const KEEP_AFTER_WINDOW: SignedDuration = SignedDuration::from_hours(24 * 35);

/// A handle; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    alerts: Arc<Mutex<BTreeMap<String, Alert>>>,
    wake: Arc<Notify>,
}

impl Outbox {
    /// The outbox as the ledger knows it.
    pub(crate) fn restore(alerts: Vec<Alert>) -> Self {
        let outbox = Self::default();
        outbox.add(alerts);
        outbox
    }

    /// Those that are not in the outbox yet, each once.
    pub(crate) fn unknown(&self, alerts: Vec<Alert>) -> Vec<Alert> {
        let known = self.lock();
        let mut fresh: Vec<Alert> =
            alerts.into_iter().filter(|alert| !known.contains_key(&alert.id)).collect();
        fresh.sort_by(|a, b| a.id.cmp(&b.id));
        fresh.dedup_by(|a, b| a.id == b.id);
        fresh
    }

    /// Takes in alerts that are durable, and wakes the deliverer.
    pub(crate) fn add(&self, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        let mut known = self.lock();
        for alert in alerts {
            known.entry(alert.id.clone()).or_insert(alert);
        }
        drop(known);
        self.wake.notify_one();
    }

    /// Waits until alerts were added.
    pub(super) async fn added(&self) {
        self.wake.notified().await;
    }

    /// Deliveries that are due at `now` and not under way, and when the next one will be.
    pub(super) fn due(
        &self,
        now: Timestamp,
        under_way: impl Fn(&(String, usize)) -> bool,
    ) -> (Vec<(Alert, usize)>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for alert in self.lock().values() {
            for (at, delivery) in alert.deliveries.iter().enumerate() {
                if delivery.state != DeliveryState::Pending || under_way(&(alert.id.clone(), at)) {
                    continue;
                }
                let when = delivery.next_attempt_at.unwrap_or(alert.fired_at);
                if when <= now {
                    due.push((alert.clone(), at));
                } else {
                    next = Some(next.map_or(when, |other| other.min(when)));
                }
            }
        }
        (due, next)
    }

    /// Changes one delivery; the alert as it is then, if it is still there.
    pub(super) fn change(
        &self,
        (id, at): &(String, usize),
        work: impl FnOnce(&mut Delivery, Timestamp),
    ) -> Option<Alert> {
        let mut known = self.lock();
        let alert = known.get_mut(id)?;
        let fired_at = alert.fired_at;
        work(alert.deliveries.get_mut(*at)?, fired_at);
        Some(alert.clone())
    }

    /// Alerts that have reached an Alertmanager and whose window is not over.
    pub(super) fn standing(&self, now: Timestamp) -> Vec<Alert> {
        let reached = |alert: &Alert| {
            let mut deliveries = alert.deliveries.iter();
            deliveries.any(|d| d.channel == "alertmanager" && d.state == DeliveryState::Delivered)
        };
        self.lock().values().filter(|alert| alert.window_end > now && reached(alert)).cloned().collect()
    }

    /// Takes out what nobody will ask for again; their ids.
    pub(super) fn forget(&self, now: Timestamp) -> Vec<String> {
        let mut known = self.lock();
        let over = |alert: &Alert| {
            let pending = alert.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Pending);
            !pending && now.duration_since(alert.window_end) > KEEP_AFTER_WINDOW
        };
        let mut gone: Vec<String> =
            known.values().filter(|alert| over(alert)).map(|alert| alert.id.clone()).collect();
        if known.len() > KEEP {
            let mut ended: Vec<_> = known.values().filter(|alert| alert.window_end < now).collect();
            ended.sort_by_key(|alert| alert.fired_at);
            gone.extend(ended.iter().take(known.len() - KEEP).map(|alert| alert.id.clone()));
        }
        for id in &gone {
            known.remove(id);
        }
        gone
    }

    /// The newest alerts that `wanted` picks.
    pub(crate) fn newest(&self, limit: usize, wanted: impl Fn(&Alert) -> bool) -> Vec<Alert> {
        let mut found: Vec<Alert> = self.lock().values().filter(|alert| wanted(alert)).cloned().collect();
        found.sort_by(|a, b| {
            b.fired_at
                .cmp(&a.fired_at)
                .then_with(|| b.threshold.cmp(&a.threshold))
                .then_with(|| a.id.cmp(&b.id))
        });
        found.truncate(limit);
        found
    }

    /// Deliveries by state: pending, delivered, failed.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for delivery in self.lock().values().flat_map(|alert| &alert.deliveries) {
            counts[delivery.state as usize] += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Alert>> {
        // Every change is one insert or remove: a panic cannot leave half of one.
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
