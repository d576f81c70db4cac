//! `GET /v1/usage`: the report that money is made of.

use std::collections::BTreeMap;

use analytics_query::{
    Bucket, Charge, Completeness, Coverage, Dimension, PriceLine, UsageQuestion, Used, Window, Zone, charge,
    coverage_statement, report_id, utc,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gateway_snapshot::Catalog;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::params::{Params, Scope};
use super::{App, Problem};

/// Rows unless asked for more.
const ROWS: u64 = 10_000;
/// Seconds in a UTC day.
const DAY: i64 = 86_400;
/// Most rows.
const MAX_ROWS: u64 = 100_000;

/// Sums over all rows.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
struct Totals {
    requests: u64,
    errors: u64,
    refused: u64,
    admitted: u64,
    request_bytes: u64,
    response_bytes: u64,
    duration_us_sum: u64,
}

/// A usage report.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub(super) struct Report {
    /// Names question and contents: equal reports have equal names.
    report: String,
    from: String,
    to: String,
    zone: String,
    bucket: &'static str,
    by: Vec<&'static str>,
    #[schema(value_type = Object)]
    filters: BTreeMap<&'static str, Vec<String>>,
    complete: bool,
    complete_through: Option<String>,
    statement: String,
    /// `time` (with a bucket), one column per dimension, then the measures.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Box<RawValue>>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    charges: Option<Vec<Charge>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Parquet,
}

struct Asked {
    question: UsageQuestion,
    format: Format,
    charges: bool,
}

/// Exact usage by any of the dimensions and calendar buckets.
#[utoipa::path(get, path = "/v1/usage", tag = "reports",
    params(("by" = Option<String>, Query, description = "Comma-separated dimensions; default consumer"),
        ("bucket" = Option<String>, Query, description = "none, minute, hour, day, week or month"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("zone" = Option<String>, Query),
        ("format" = Option<String>, Query, description = "json, csv or parquet"),
        ("charges" = Option<bool>, Query, description = "Add money by month, consumer, plan and product"),
        ("limit" = Option<u64>, Query)),
    responses((status = 200, body = Report), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn get(State(app): State<App>, params: Params) -> Result<Response, Problem> {
    let asked = read(params, &app)?;
    let window = asked.question.window;
    // The watermark is read before the records: what it promises is then in them.
    let watermark = app.watermark().await;
    let statement = asked.question.statement();
    let lines = app.store.bytes(&statement, "JSONEachRow").await?;
    let rows = rows(&lines, asked.question.limit)?;
    let coverage: Vec<Coverage> = app.store.rows(&coverage_statement(window)).await?;
    let lost = app.fleet.lost();
    let completeness =
        Completeness::of(window, watermark, coverage.first().copied().unwrap_or_default(), lost);
    match asked.format {
        Format::Json => json(&app, asked, rows, completeness).await,
        Format::Csv => {
            let body = app.store.bytes(&statement, "CSVWithNames").await?;
            Ok(file(body, "text/csv; charset=utf-8; header=present", "usage.csv", &completeness))
        }
        Format::Parquet => {
            let body = app.store.bytes(&statement, "Parquet").await?;
            Ok(file(body, "application/vnd.apache.parquet", "usage.parquet", &completeness))
        }
    }
}

fn read(mut params: Params, app: &App) -> Result<Asked, Problem> {
    let Scope { zone, window, filters } = params.scope(app.clock.wall(), "month", "now")?;
    let by = params.by(&[Dimension::Consumer])?;
    let bucket = params.take("bucket")?.unwrap_or_default();
    let bucket = Bucket::parse(&bucket).map_err(|error| Problem::parameter("bucket", error))?;
    let format = match params.take("format")?.as_deref() {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some("parquet") => Format::Parquet,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            return Err(Problem::parameter(
                "format",
                format!("`{other}` is unknown; use json, csv or parquet"),
            ));
        }
    };
    let charges = params.parse("charges", false)?;
    let limit = params.limit(ROWS, MAX_ROWS)?;
    params.finish()?;
    let rolled_before = split(app, window)?;
    let question = UsageQuestion { window, zone, bucket, by, filters, limit, rolled_before };
    if rolled_before.is_some() {
        question.fits_rollup().map_err(Problem::bad)?;
    }
    Ok(Asked { question, format, charges })
}

/// The first day whose records are all kept, if the window begins before it: hourly totals answer for the time before.
fn split(app: &App, window: Window) -> Result<Option<Timestamp>, Problem> {
    let today = app.clock.wall().as_second().div_euclid(DAY) * DAY;
    let kept = i64::from(app.retention_days.saturating_sub(1)) * DAY;
    let split = Timestamp::from_second(today - kept).map_err(Problem::internal)?;
    Ok((window.from < split).then_some(split))
}

/// The lines of an answer, untouched; more than `limit` is an error and never a shorter report.
fn rows(lines: &Bytes, limit: u64) -> Result<Vec<Box<RawValue>>, Problem> {
    let rows: Result<Vec<Box<RawValue>>, _> =
        serde_json::Deserializer::from_slice(lines).into_iter().collect();
    let rows = rows.map_err(|error| Problem::internal(format!("the store's answer is not JSON: {error}")))?;
    if rows.len() as u64 > limit {
        return Err(Problem::parameter(
            "limit",
            format!(
                "there are more than {limit} rows; ask for more (at most {MAX_ROWS}), fewer dimensions or a shorter window"
            ),
        ));
    }
    Ok(rows)
}

async fn json(
    app: &App,
    asked: Asked,
    rows: Vec<Box<RawValue>>,
    done: Completeness,
) -> Result<Response, Problem> {
    let question = asked.question;
    let mut totals = Totals::default();
    for row in &rows {
        let row: Totals = serde_json::from_str(row.get()).map_err(Problem::internal)?;
        totals.add(&row);
    }
    let charges = if asked.charges { Some(charges(app, &question).await?) } else { None };
    let mut report = Report {
        report: String::new(),
        from: utc(question.window.from),
        to: utc(question.window.to),
        zone: question.zone.name().to_owned(),
        bucket: question.bucket.name(),
        by: question.by.iter().map(|dimension| dimension.name()).collect(),
        filters: question.filters.iter().map(|(by, values)| (by.name(), values.to_vec())).collect(),
        complete: done.complete,
        complete_through: done.complete_through.map(utc),
        statement: done.statement,
        rows,
        totals,
        charges,
    };
    let contents = serde_json::to_vec(&report).map_err(Problem::internal)?;
    report.report = report_id(&[&contents]);
    Ok(Json(report).into_response())
}

impl Totals {
    fn add(&mut self, row: &Self) {
        self.requests += row.requests;
        self.errors += row.errors;
        self.refused += row.refused;
        self.admitted += row.admitted;
        self.request_bytes += row.request_bytes;
        self.response_bytes += row.response_bytes;
        self.duration_us_sum += row.duration_us_sum;
    }
}

async fn charges(app: &App, asked: &UsageQuestion) -> Result<Vec<Charge>, Problem> {
    let question = UsageQuestion {
        window: asked.window,
        zone: asked.zone.clone(),
        bucket: Bucket::Month,
        by: vec![Dimension::Consumer, Dimension::Plan, Dimension::Product],
        filters: asked.filters.clone(),
        limit: MAX_ROWS,
        rolled_before: asked.rolled_before,
    };
    if question.rolled_before.is_some() {
        question.fits_rollup().map_err(Problem::bad)?;
    }
    let used: Vec<Used> = app.store.rows(&question.statement()).await?;
    let catalog = app.catalog();
    let whole = |month: &str| covers(asked.window, month, &asked.zone);
    charge(&used, &prices(&catalog), &billing_ids(&catalog), whole)
        .map_err(|error| Problem::internal(format!("prices: {error}")))
}

fn prices(catalog: &Catalog) -> BTreeMap<String, Vec<PriceLine>> {
    let line = |price: &gateway_snapshot::Price| PriceLine {
        unit: price.unit.clone(),
        included: price.included,
        amount: price.amount.clone(),
        currency: price.currency.clone(),
        per: price.per,
    };
    catalog.plans.iter().map(|(plan, lines)| (plan.clone(), lines.iter().map(line).collect())).collect()
}

fn billing_ids(catalog: &Catalog) -> BTreeMap<String, String> {
    let id = |(name, consumer): (&String, &gateway_snapshot::CatalogConsumer)| {
        consumer.billing_id.as_ref().map(|id| (name.clone(), id.clone()))
    };
    catalog.consumers.iter().filter_map(id).collect()
}

/// Whether `window` holds the whole calendar month.
fn covers(window: Window, month: &str, zone: &Zone) -> bool {
    let Ok(start) = analytics_query::instant(month, zone, window.from) else { return false };
    let next =
        zone.at(start).last_of_month().and_then(|day| day.tomorrow()).and_then(|day| day.start_of_day());
    next.is_ok_and(|next| window.from <= start && next.timestamp() <= window.to)
}

fn file(body: Bytes, kind: &'static str, name: &str, done: &Completeness) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let disposition = format!("attachment; filename=\"{name}\"");
    let complete = HeaderValue::from_static(if done.complete { "true" } else { "false" });
    headers.insert(HeaderName::from_static("x-turnpike-complete"), complete);
    let mut text = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    text("content-disposition", disposition);
    text("x-turnpike-complete-through", done.complete_through.map(utc).unwrap_or_default());
    text("x-turnpike-statement", done.statement.clone());
    (headers, body).into_response()
}
