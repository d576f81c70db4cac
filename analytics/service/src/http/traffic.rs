//! `GET /v1/timeseries` and `GET /v1/top`: traffic, errors and latency to look at.

use analytics_query::{
    Dimension, Point, SeriesQuestion, SeriesRow, TopOrder, TopQuestion, TopRow, step_ms, utc,
};
use axum::Json;
use axum::extract::State;
use gateway_snapshot::Catalog;
use jiff::Timestamp;
use serde::Serialize;

use super::params::Params;
use super::{App, Problem};

/// Lines over time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub(super) struct Series {
    from: String,
    to: String,
    step_ms: u64,
    complete_through: Option<String>,
    series: Vec<Line>,
}

/// One line.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Line {
    /// Value of the dimension; empty without one.
    key: String,
    /// Every step, empty ones included.
    points: Vec<TimedPoint>,
}

/// A point with its time for people and programs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TimedPoint {
    time: String,
    #[serde(flatten)]
    point: Point,
}

impl From<Point> for TimedPoint {
    fn from(point: Point) -> Self {
        let time = Timestamp::from_millisecond(point.at_ms).map(utc).unwrap_or_default();
        Self { time, point }
    }
}

/// Traffic, errors and latency in equal steps.
#[utoipa::path(get, path = "/v1/timeseries", tag = "traffic",
    params(("step" = Option<String>, Query, description = "auto, or such as 10s, 5m, 1h"),
        ("by" = Option<String>, Query, description = "At most one dimension"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = Series), (status = 400, body = Problem)))]
pub(super) async fn series(State(app): State<App>, mut params: Params) -> Result<Json<Series>, Problem> {
    let scope = params.scope(app.clock.wall(), "now-1h", "now")?;
    let step = params.take("step")?.unwrap_or_default();
    let step_ms = step_ms(&step, scope.window).map_err(|error| Problem::parameter("step", error))?;
    let by = one(params.by(&[])?)?;
    params.finish()?;
    let watermark = app.watermark().await;
    let question = SeriesQuestion { window: scope.window, step_ms, by, filters: scope.filters };
    let rows: Vec<SeriesRow> = app.store.rows(&question.statement()).await?;
    let lines = question.fill(rows).into_iter();
    Ok(Json(Series {
        from: utc(scope.window.from),
        to: utc(scope.window.to),
        step_ms,
        complete_through: watermark.map(|mark| utc(mark.min(scope.window.to))),
        series: lines
            .map(|(key, points)| Line { key, points: points.into_iter().map(TimedPoint::from).collect() })
            .collect(),
    }))
}

/// The largest values of a dimension.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Top {
    by: &'static str,
    rows: Vec<TopEntry>,
}

/// One value with its traffic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TopEntry {
    /// The consumer's, where the dimension is consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Errors by requests.
    error_ratio: f64,
    #[serde(flatten)]
    row: TopRow,
}

impl TopEntry {
    /// A row as people see it.
    pub(super) fn new(row: TopRow, by: Dimension, catalog: &Catalog) -> Self {
        let consumer = (by == Dimension::Consumer).then(|| catalog.consumers.get(&row.key)).flatten();
        let error_ratio = if row.requests == 0 { 0.0 } else { row.errors as f64 / row.requests as f64 };
        Self { display_name: consumer.map(|consumer| consumer.display_name.clone()), error_ratio, row }
    }
}

/// Top consumers, slowest routes, most refused plans.
#[utoipa::path(get, path = "/v1/top", tag = "traffic",
    params(("by" = Option<String>, Query, description = "One dimension; default consumer"),
        ("order" = Option<String>, Query, description = "requests, errors, refused, response_bytes or p95"),
        ("limit" = Option<u64>, Query), ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = Top), (status = 400, body = Problem)))]
pub(super) async fn top(State(app): State<App>, mut params: Params) -> Result<Json<Top>, Problem> {
    let scope = params.scope(app.clock.wall(), "now-1h", "now")?;
    let by = one(params.by(&[Dimension::Consumer])?)?.unwrap_or(Dimension::Consumer);
    let order = params.parse("order", TopOrder::Requests)?;
    let limit = params.limit(10, 1_000)?;
    params.finish()?;
    let question = TopQuestion { window: scope.window, by, order, limit, filters: scope.filters };
    let rows: Vec<TopRow> = app.store.rows(&question.statement()).await?;
    let catalog = app.catalog();
    Ok(Json(Top {
        by: by.name(),
        rows: rows.into_iter().map(|row| TopEntry::new(row, by, &catalog)).collect(),
    }))
}

fn one(mut by: Vec<Dimension>) -> Result<Option<Dimension>, Problem> {
    if by.len() > 1 {
        return Err(Problem::parameter("by", "takes one dimension here"));
    }
    Ok(by.pop())
}
