//! `GET /v1/records…`: single requests, for `why` and for the console.

use analytics_query::{MAX_RECORDS, RecordOrder, RecordsQuestion, request_statement, utc};
use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::params::Params;
use super::{App, Problem};

/// Records, every column by its name.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub(super) struct Records {
    #[schema(value_type = Vec<Object>)]
    records: Vec<Box<RawValue>>,
    /// Whether there are more than were asked for.
    truncated: bool,
    complete_through: Option<String>,
}

/// The record of one request.
#[utoipa::path(get, path = "/v1/records/{request_id}", tag = "records",
    params(("request_id" = String, Path, description = "As in X-Request-Id")),
    responses((status = 200, body = Records), (status = 404, body = Problem)))]
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Records>, Problem> {
    let statement = request_statement(&id).map_err(Problem::bad)?;
    let watermark = app.watermark().await;
    let records = parse(&app.store.bytes(&statement, "JSONEachRow").await?)?;
    if records.is_empty() {
        let through = watermark.map_or_else(|| "an unknown time".into(), utc);
        let detail = format!(
            "no record of request {id}; the store is complete through {through}, later records may be under way"
        );
        return Err(Problem::not_found(detail));
    }
    Ok(Json(Records { records, truncated: false, complete_through: watermark.map(utc) }))
}

/// The latest or slowest records that pass the filters.
#[utoipa::path(get, path = "/v1/records", tag = "records",
    params(("order" = Option<String>, Query, description = "newest or slowest"), ("limit" = Option<u64>, Query),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = Records), (status = 400, body = Problem)))]
pub(super) async fn list(State(app): State<App>, mut params: Params) -> Result<Json<Records>, Problem> {
    let scope = params.scope(app.clock.wall(), "now-1h", "now")?;
    let order = params.parse("order", RecordOrder::Newest)?;
    let limit = params.limit(100, MAX_RECORDS)?;
    params.finish()?;
    let watermark = app.watermark().await;
    let question = RecordsQuestion { window: scope.window, filters: scope.filters, order, limit };
    let mut records = parse(&app.store.bytes(&question.statement(), "JSONEachRow").await?)?;
    let truncated = records.len() as u64 > limit;
    records.truncate(limit as usize);
    Ok(Json(Records { records, truncated, complete_through: watermark.map(utc) }))
}

fn parse(lines: &Bytes) -> Result<Vec<Box<RawValue>>, Problem> {
    let rows: Result<_, _> = serde_json::Deserializer::from_slice(lines).into_iter().collect();
    rows.map_err(|error| Problem::internal(format!("the store's answer is not JSON: {error}")))
}
