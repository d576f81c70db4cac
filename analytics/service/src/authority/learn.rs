//! Rebuilds quotas from records when the durable store is empty: a first start, or a lost disk.
//!
//! Until it is known which, nothing is granted. Without a charged record in the store it is a first start. Otherwise the
//! authority waits until every lease of before has run out and the records of that time are complete, and then takes over
//! what they show. Limits of plans are rebuilt; limits of QuotaPolicies count anew, as records do not hold their subjects.

use std::sync::Arc;
use std::time::Duration;

use analytics_query::{Dimension, Filters, UsageQuestion, Window, Zone};
use gateway_quota::{Limit, QuotaKey, RateBound, Unit};
use gateway_snapshot::Catalog;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AuthorityHandle;
use crate::clock::Clock;
use crate::dock::Dock;
use crate::ready::Readiness;
use crate::store::Store;

/// Time between looks.
const PULSE: Duration = Duration::from_millis(100);
/// Most subjects of one limit.
const MAX_SUBJECTS: u64 = 1_000_000;

/// What the work needs.
pub(crate) struct Learner {
    pub authority: AuthorityHandle,
    pub clock: Clock,
    pub store: Store,
    pub dock: Dock,
    pub catalog: watch::Receiver<Arc<Catalog>>,
    pub ready: watch::Receiver<Readiness>,
    pub lease_ttl: Duration,
    /// Whether a catalog is to be waited for.
    pub has_catalog: bool,
}

/// Units that a window is known to have used.
pub(crate) type Used = (QuotaKey, gateway_quota::Window, u64);

#[derive(Deserialize)]
struct Charged {
    charged: u64,
}

#[derive(Deserialize)]
struct Row {
    subscription: String,
    admitted: u64,
    request_bytes: u64,
    response_bytes: u64,
}

impl Learner {
    /// Starts the task; it ends when the authority grants again.
    pub(crate) fn start(self, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            tokio::select! { () = self.run() => {}, () = shutdown.cancelled() => {} }
        })
    }

    async fn run(mut self) {
        let began = (self.clock.mono_ns(), self.clock.wall());
        // The sender lives as long as the service.
        let _ = self.ready.wait_for(|state| *state == Readiness::Ready).await;
        loop {
            match self.learn(began).await {
                Ok(Some(used)) => {
                    let windows = used.len();
                    if self.authority.learned(used).await.is_ok() {
                        tracing::info!(windows, "quotas are granted; use so far is taken from records");
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error, "quotas cannot be rebuilt from records yet; nothing is granted");
                }
            }
            tokio::time::sleep(PULSE).await;
        }
    }

    /// What records show, once they show all of it.
    async fn learn(&self, (mono_ns, wall): (u64, Timestamp)) -> Result<Option<Vec<Used>>, String> {
        let question = "SELECT count() AS charged FROM (SELECT 1 FROM usage_records WHERE notEmpty(charge_lease) LIMIT 1)";
        let found: Vec<Charged> = self.store.rows_of(question).await.map_err(|error| error.to_string())?;
        if found.iter().all(|row| row.charged == 0) {
            return Ok(Some(Vec::new()));
        }
        let start = gateway_quota::Mono::from_nanos(mono_ns);
        let over = RateBound::default().authority_deadline(start, self.lease_ttl);
        let ended = i64::try_from(self.lease_ttl.as_micros())
            .unwrap_or(i64::MAX)
            .saturating_add(wall.as_microsecond());
        let status = self.dock.status().await.map_err(|error| error.to_string())?;
        let complete = status
            .complete_through_us
            .is_some_and(|through| i64::try_from(through).is_ok_and(|t| t >= ended));
        let known = !self.has_catalog || self.catalog.borrow().format != 0;
        if self.clock.mono_ns() < over.as_nanos() || !complete || !known {
            return Ok(None);
        }
        let catalog = self.catalog.borrow().clone();
        let mut used = Vec::new();
        for entry in catalog.limits.values() {
            used.extend(self.of_limit(&entry.limit).await?);
        }
        Ok(Some(used))
    }

    async fn of_limit(&self, limit: &Limit) -> Result<Vec<Used>, String> {
        let id = limit.id.as_str();
        let plan = id.strip_prefix("plan/").and_then(|rest| rest.rsplit_once('/')).map(|(plan, _)| plan);
        let Some(plan) = plan else { return Ok(Vec::new()) };
        let window = limit.window.at(self.clock.wall());
        let mut filters = Filters::default();
        filters.add(Dimension::Plan, plan).map_err(|error| error.to_string())?;
        let question = UsageQuestion {
            window: Window { from: window.start, to: window.end },
            zone: Zone::utc(),
            bucket: analytics_query::Bucket::None,
            by: vec![Dimension::Subscription],
            filters,
            limit: MAX_SUBJECTS,
            rolled_before: None,
        };
        let rows: Vec<Row> =
            self.store.rows(&question.statement()).await.map_err(|error| error.to_string())?;
        let units = |row: &Row| match limit.unit {
            Unit::Bytes => row.request_bytes.saturating_add(row.response_bytes),
            Unit::Requests | Unit::Custom(_) => row.admitted,
        };
        let key = |row: &Row| QuotaKey::new(id, format!("subscription/{}", row.subscription));
        Ok(rows
            .iter()
            .filter(|row| !row.subscription.is_empty())
            .map(|row| (key(row), window, units(row)))
            .collect())
    }
}
