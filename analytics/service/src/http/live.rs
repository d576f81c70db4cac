//! `GET /v1/live`: one small picture of now, made at most once a second for all askers.

use std::time::{Duration, Instant};

use analytics_query::{Filters, Point, SeriesQuestion, SeriesRow, Window, utc};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;

use super::quotas::Quota;
use super::traffic::TimedPoint;
use super::{App, Problem};
use crate::alerts::Alert;

/// How long a picture is good for.
const GOOD_FOR: Duration = Duration::from_millis(900);
/// Seconds of points.
const POINTS: i64 = 60;
/// Seconds that `last` sums up.
const LAST: i64 = 10;

/// The last picture.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Option<(Instant, Bytes)>>);

/// Now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Live {
    now: String,
    complete_through: Option<String>,
    last: Last,
    points: Vec<TimedPoint>,
    quotas: Vec<Quota>,
    alerts: Vec<Alert>,
    gateways: u64,
    spool_bytes: u64,
    declared_lost: u64,
    store_up: bool,
    version: &'static str,
}

/// The last seconds.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct Last {
    seconds: i64,
    requests: u64,
    errors: u64,
    refused: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    rps: f64,
}

/// Traffic of the last minute, the fullest quotas, the newest alerts.
#[utoipa::path(get, path = "/v1/live", tag = "traffic", responses((status = 200, body = Live)))]
pub(super) async fn get(State(app): State<App>) -> Result<Response, Problem> {
    // Whoever comes while a picture is made waits for that one.
    let mut cache = app.live.0.lock().await;
    let fresh = cache.as_ref().filter(|(made, _)| made.elapsed() < GOOD_FOR).map(|(_, body)| body.clone());
    let body = if let Some(body) = fresh {
        body
    } else {
        let made = Bytes::from(serde_json::to_vec(&picture(&app).await?).map_err(Problem::internal)?);
        *cache = Some((Instant::now(), made.clone()));
        made
    };
    drop(cache);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

async fn picture(app: &App) -> Result<Live, Problem> {
    let now = app.clock.wall();
    let traffic = traffic(app, now).await;
    let store_up = traffic.is_ok();
    let (points, last) = traffic.unwrap_or_default();
    let mut quotas = super::quotas::all(app).await?;
    quotas.truncate(10);
    let fleet = app.fleet.view(now);
    Ok(Live {
        now: utc(now),
        complete_through: app.watermark().await.map(utc),
        last,
        points: points.into_iter().map(TimedPoint::from).collect(),
        quotas,
        alerts: app.outbox.newest(5, |_| true),
        gateways: fleet.iter().filter(|gateway| gateway.is_serving()).count() as u64,
        spool_bytes: fleet.iter().map(|gateway| gateway.spool_bytes).sum(),
        declared_lost: app.fleet.lost(),
        store_up,
        version: env!("CARGO_PKG_VERSION"),
    })
}

async fn traffic(app: &App, now: Timestamp) -> Result<(Vec<Point>, Last), Problem> {
    let second = Timestamp::from_second(now.as_second() + 1).map_err(Problem::internal)?;
    let ago =
        |seconds: i64| second.checked_sub(SignedDuration::from_secs(seconds)).map_err(Problem::internal);
    let window = Window { from: ago(POINTS)?, to: second };
    let question = SeriesQuestion { window, step_ms: 1_000, by: None, filters: Filters::default() };
    let rows: Vec<SeriesRow> = app.store.rows(&question.statement()).await?;
    let points = question.fill(rows).remove("").unwrap_or_default();
    // One step longer than all of history: one row with quantiles over the whole window.
    let question = SeriesQuestion {
        window: Window { from: ago(LAST)?, to: second },
        step_ms: 100_000_000_000_000,
        by: None,
        filters: Filters::default(),
    };
    let rows: Vec<SeriesRow> = app.store.rows(&question.statement()).await?;
    let sum = rows.into_iter().next().map(|row| row.point).unwrap_or_default();
    let last = Last {
        seconds: LAST,
        requests: sum.requests,
        errors: sum.errors,
        refused: sum.refused,
        p50_ms: sum.p50_ms,
        p95_ms: sum.p95_ms,
        p99_ms: sum.p99_ms,
        rps: sum.requests as f64 / LAST as f64,
    };
    Ok((points, last))
}
