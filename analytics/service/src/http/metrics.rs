//! `GET /metrics`: a page whose size does not depend on consumers, routes or gateways.

use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{App, Problem};
use crate::ready::Readiness;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn get(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let dock = app.dock.status().await?;
    let now = app.clock.wall();
    let fleet = app.fleet.view(now);
    let accounts = app.authority.accounts().await?;
    let lag = app.watermark().await.map_or(-1, |mark| now.as_millisecond() - mark.as_millisecond());
    let [pending, delivered, failed] = app.outbox.counts();
    let mut page = Page(Registry::with_prefix("turnpike_analytics"));
    page.gauge("up_to_date_lag_milliseconds", "Age of the completeness watermark; -1 unknown", lag);
    page.gauge("ready", "Whether the service is ready", i64::from(*app.ready.borrow() == Readiness::Ready));
    page.gauge("segments_pending", "Segments taken in and not yet audited", number(dock.held));
    page.gauge("segments_pending_bytes", "Their bytes in memory", number(dock.held_bytes));
    page.counter("segments_audited", "Segments counted in the store since start", dock.audited);
    page.counter("segment_alarms", "Alarms about segments since start", dock.alarms);
    page.gauge("segment_conflicts", "Names with two contents or found in part", number(dock.conflicts));
    page.gauge("streams", "Streams known", number(dock.streams));
    page.gauge("gateways", "Gateways known", number(fleet.len() as u64));
    page.gauge(
        "gateways_silent",
        "Gateways not heard of lately",
        number(fleet.iter().filter(|g| g.silent).count() as u64),
    );
    page.gauge("spool_bytes", "Bytes in all spools", number(fleet.iter().map(|g| g.spool_bytes).sum()));
    page.gauge("declared_lost", "Requests whose records are lost for good", number(app.fleet.lost()));
    page.gauge("quota_accounts", "Keys in windows under guard", number(accounts.len() as u64));
    page.gauge(
        "quota_leases",
        "Leases that are not settled",
        number(accounts.iter().map(|a| a.view.leases as u64).sum()),
    );
    page.gauge(
        "quota_unaccounted_units",
        "Units charged that no record will show",
        number(accounts.iter().map(|a| a.view.unaccounted).sum()),
    );
    page.gauge("alert_deliveries_pending", "Deliveries still tried", number(pending));
    page.gauge("alert_deliveries_done", "Deliveries that arrived", number(delivered));
    page.gauge("alert_deliveries_failed", "Deliveries given up", number(failed));
    page.gauge("rollup_days_dirty", "Days whose totals are to be rebuilt", number(app.rollup.borrow().dirty));
    let mut text = String::new();
    encode(&mut text, &page.0).map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, TYPE)], text))
}

struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
