//! Keeps the hourly totals equal to the records.
//!
//! In: days that records were written to. Out: rebuilt days, and a comparison of both that must always come out equal.
//! Days are rebuilt whole, so nothing can be counted twice, and a crash in between only repeats the work.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use analytics_query::rollup::{DayTotals, check, rebuild};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::dock::Notice;
use crate::ready::Readiness;
use crate::store::{Store, StoreError};

/// A day is rebuilt after this much quiet.
const QUIET: Duration = Duration::from_secs(2);
/// And after this much noise, so that a busy day is rebuilt too.
const LONGEST: Duration = Duration::from_mins(1);
/// Time between looks.
const PULSE: Duration = Duration::from_millis(500);
/// Time between comparisons of all days.
const CHECK: Duration = Duration::from_mins(10);

/// How totals and records compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct RollupStatus {
    /// Days with totals.
    pub days: u64,
    /// Days to be rebuilt.
    pub dirty: u64,
    /// When both were compared last.
    pub checked_at: Option<String>,
    /// Whether they were equal, on all days that were not to be rebuilt.
    pub equal: bool,
}

struct Worker {
    store: Store,
    retention_days: u16,
    /// Dirty days: since when, and when last written to.
    dirty: BTreeMap<Date, (Instant, Instant)>,
    status: watch::Sender<RollupStatus>,
    checked: Option<Instant>,
}

/// Starts the task.
pub(crate) fn start(
    store: Store,
    retention_days: u16,
    mut ready: watch::Receiver<Readiness>,
    notices: mpsc::UnboundedReceiver<Notice>,
    shutdown: CancellationToken,
) -> (watch::Receiver<RollupStatus>, tokio::task::JoinHandle<()>) {
    let (status, seen) = watch::channel(RollupStatus::default());
    let worker = Worker { store, retention_days, dirty: BTreeMap::new(), status, checked: None };
    let task = tokio::spawn(async move {
        let work = async {
            // The sender lives as long as the service.
            let _ = ready.wait_for(|state| *state == Readiness::Ready).await;
            worker.run(notices).await;
        };
        tokio::select! { () = work => {}, () = shutdown.cancelled() => {} }
    });
    (seen, task)
}

impl Worker {
    async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(Notice::Written { day }) => self.written(day),
                    None => return,
                },
                _ = pulse.tick() => {
                    if let Err(error) = self.work().await {
                        tracing::debug!(%error, "rollup waits for the store");
                    }
                }
            }
        }
    }

    fn written(&mut self, day: u64) {
        let Some(date) = date(day).filter(|date| *date >= self.oldest()) else { return };
        let now = Instant::now();
        self.dirty.entry(date).or_insert((now, now)).1 = now;
        self.say(|_| {});
    }

    fn say(&self, change: impl FnOnce(&mut RollupStatus)) {
        let dirty = self.dirty.len() as u64;
        self.status.send_modify(|status| {
            status.dirty = dirty;
            change(status);
        });
    }

    async fn work(&mut self) -> Result<(), StoreError> {
        let ripe = |(since, last): &(Instant, Instant)| last.elapsed() >= QUIET || since.elapsed() >= LONGEST;
        let due = self.dirty.iter().find(|(_, times)| ripe(times)).map(|(day, times)| (*day, *times));
        if let Some((day, _)) = due {
            // Taken out first: records that arrive meanwhile make the day dirty again.
            let times = self.dirty.remove(&day);
            let started = Instant::now();
            if let Err(error) = self.rebuild(day).await {
                self.dirty.insert(day, times.map_or((started, started), |(since, _)| (since, started)));
                return Err(error);
            }
            self.say(|_| {});
            // A day that was just rebuilt is compared at once.
            return self.compare(Some(day)).await;
        }
        if self.checked.is_none_or(|last| last.elapsed() >= CHECK) {
            self.compare(None).await?;
            self.checked = Some(Instant::now());
        }
        Ok(())
    }

    async fn rebuild(&self, day: Date) -> Result<(), StoreError> {
        for statement in rebuild(day) {
            self.store.execute(&statement).await?;
        }
        tracing::debug!(%day, "hourly totals rebuilt");
        Ok(())
    }

    /// The oldest day that may be rebuilt. Of older days the store may have dropped some records and not yet others.
    fn oldest(&self) -> Date {
        today().saturating_sub(i64::from(self.retention_days.saturating_sub(2)).days())
    }

    /// Compares one day or all that are kept. Days that differ become dirty.
    async fn compare(&mut self, day: Option<Date>) -> Result<(), StoreError> {
        let (from, to) = match day {
            Some(day) => (day, day),
            None => (self.oldest(), today().saturating_add(2.days())),
        };
        let rows: Vec<DayTotals> = self.store.rows(&check(from, to)).await?;
        let now = Instant::now();
        let mut unequal = 0;
        for row in rows.iter().filter(|row| !row.equal) {
            let Some(date) = date(row.day.into()) else { continue };
            if let Entry::Vacant(place) = self.dirty.entry(date) {
                unequal += 1;
                place.insert((now, now));
            }
        }
        if unequal > 0 && self.checked.is_some() && day.is_none() {
            tracing::error!(days = unequal, "hourly totals differed from records; they are rebuilt");
        }
        let equal = unequal == 0;
        let days = if day.is_none() { Some(rows.len() as u64) } else { None };
        self.say(|status| {
            status.checked_at = Some(analytics_query::utc(Timestamp::now()));
            status.equal = equal;
            status.days = days.unwrap_or(status.days.max(1));
        });
        Ok(())
    }
}

fn today() -> Date {
    Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

fn date(day: u64) -> Option<Date> {
    let days = i64::try_from(day).ok()?;
    Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}
