//! The HTTP side: ClickHouse's interface on `/`, a health check on `/ping`.
//!
//! In: requests. Out: answers with the statuses and headers that ClickHouse's clients read. Decides who may ask and where
//! statement and data stand in the request; the rest is the job's.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::auth::{Keys, Role};
use crate::encoding::{Encoder, Encoding};
use crate::failure::{Failure, code};
use crate::ffi::Counts;
use crate::hello;
use crate::job::{Answer, Head, Job, Reply, Watch};
use crate::lanes::Lanes;
use crate::options::Limits;
use crate::request::Ask;
use crate::statement::Statement;
use crate::store::Store;

const EXCEPTION_TAG: HeaderName = HeaderName::from_static("x-clickhouse-exception-tag");
const FORMAT: HeaderName = HeaderName::from_static("x-clickhouse-format");
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
const SUMMARY: HeaderName = HeaderName::from_static("x-clickhouse-summary");
const TIMEZONE: HeaderName = HeaderName::from_static("x-clickhouse-timezone");

/// What every request needs.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    pub(crate) keys: Keys,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) limits: Limits,
    /// Cancelled when running statements are to be given up.
    pub(crate) stop: CancellationToken,
}

/// The endpoint's routes.
pub(crate) fn router(server: Server) -> Router {
    let limit = server.limits.sql_bytes;
    Router::new()
        .route("/", get(handle).post(handle))
        .route("/ping", get(|| async { "Ok.\n" }))
        .layer(DefaultBodyLimit::max(limit))
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .with_state(Arc::new(server))
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Failure> {
    let (limits, arrived) = (&server.limits, Instant::now());
    let mut ask = Ask::from_query(request.uri().query().unwrap_or_default(), limits)?;
    let role = server.keys.role(request.headers(), ask.password.as_deref())?;
    let writable = role == Role::Writer && request.method() == Method::POST;
    let encoding = encoding(&ask, request.headers());
    let (sql, body) = read(&mut ask, request, limits).await?;
    if sql.trim().is_empty() {
        return Ok("Ok.\n".into_response());
    }
    if hello::asks(&sql, &ask.format, ask.revision) {
        let mut encoder = Encoder::new(encoding);
        let head = encoder.chunk(hello::answer(server.store.version()).into());
        return Ok([head, encoder.end()].concat().into_response());
    }
    let statement = Statement::read(&sql)?;
    let reads = matches!(statement, Statement::Rows { .. } | Statement::Command { reads: true });
    let body = match (&statement, body) {
        (Statement::Insert { .. }, body) => body.unwrap_or_default(),
        (_, body) => no_data(body).await?,
    };
    let deadline = arrived + ask.run;
    let turn = server.lanes.enter(reads, deadline).await?;
    let tag = format!("turnpike-{:032x}", rand::random::<u128>());
    let query_id = ask.query_id.clone().unwrap_or_else(|| tag.clone());
    let exception_tag = format!("{:016x}", rand::random::<u64>());
    let runtime = Handle::current();
    let (answer, reply) = Answer::channel(encoding, &exception_tag, limits.idle, runtime.clone());
    let watch = reads.then(|| Watch {
        store: Arc::clone(&server.store),
        tag: tag.clone(),
        finished: Arc::clone(&reply.finished),
        runtime: runtime.clone(),
    });
    let (store, stop) = (Arc::clone(&server.store), server.stop.clone());
    let job = Job { store, turn, tag, sql, ask, writable, body, deadline, limits: *limits, stop };
    tokio::task::spawn_blocking(move || job.run(answer, &runtime));
    let mut response = respond(reply, watch, encoding).await?;
    let headers = response.headers_mut();
    headers.insert(EXCEPTION_TAG, text(&exception_tag));
    headers.insert(QUERY_ID, text(&query_id));
    Ok(response)
}

/// Finds the statement: in the query string, in a form, or as the body. Returns the body when it was not used up.
async fn read(ask: &mut Ask, request: Request, limits: &Limits) -> Result<(String, Option<Body>), Failure> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        read_form(ask, request, limits).await?;
        return Ok((std::mem::take(&mut ask.sql), None));
    }
    let body = request.into_body();
    if !ask.sql.is_empty() {
        return Ok((std::mem::take(&mut ask.sql), Some(body)));
    }
    let body = to_bytes(body, limits.sql_bytes).await.map_err(|error| {
        Failure::new(
            code::TOO_MANY_BYTES,
            format!(
                "a statement in a request body may have {} bytes ({error}): put it into ?query= and its data into the body. (TOO_MANY_BYTES)",
                limits.sql_bytes
            ),
        )
    })?;
    let sql = String::from_utf8(body.into())
        .map_err(|_| bad("the statement is not UTF-8: put it into ?query= and its data into the body"))?;
    Ok((sql, None))
}

async fn read_form(ask: &mut Ask, request: Request, limits: &Limits) -> Result<(), Failure> {
    let broken = |error: &dyn std::fmt::Display| bad(&format!("the form cannot be read: {error}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(&error))?;
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "query" && !name.starts_with("param_") {
            return Err(Failure::new(
                code::NOT_IMPLEMENTED,
                format!("form field {name:?}: external tables are not taken. (NOT_IMPLEMENTED)"),
            ));
        }
        let value = field.text().await.map_err(|error| broken(&error))?;
        ask.take(&name, value, limits)?;
    }
    Ok(())
}

/// Only inserts take data: bytes after another statement would be a part of its text, or lost.
async fn no_data(body: Option<Body>) -> Result<Body, Failure> {
    const BLANK: usize = 1024;
    if let Some(body) = body {
        let rest = to_bytes(body, BLANK).await.map_err(|_| bad("only an INSERT takes data in the body"))?;
        if !rest.trim_ascii().is_empty() {
            return Err(bad(
                "a statement stands either in ?query= or in the body; only an INSERT takes data there",
            ));
        }
    }
    Ok(Body::empty())
}

/// Waits for the answer's head and puts the rest behind it.
async fn respond(reply: Reply, watch: Option<Watch>, encoding: Encoding) -> Result<Response, Failure> {
    let Reply { head, mut chunks, .. } = reply;
    let Head { format, counts, whole } = head
        .await
        .map_err(|_| Failure::new(code::LOGICAL_ERROR, "the statement was given up. (LOGICAL_ERROR)"))??;
    let body = match whole {
        Some(data) => Body::from(data),
        None => Body::from_stream(futures::stream::poll_fn(move |context| {
            let _while_the_client_reads = &watch;
            chunks.poll_recv(context).map(|chunk| chunk.map(Ok::<_, std::convert::Infallible>))
        })),
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&format)));
    headers.insert(FORMAT, text(&format));
    headers.insert(TIMEZONE, HeaderValue::from_static("UTC"));
    headers.insert(SUMMARY, text(&summary(counts)));
    if encoding == Encoding::Lz4Frame {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("lz4"));
    }
    Ok(response)
}

fn encoding(ask: &Ask, headers: &HeaderMap) -> Encoding {
    let accepts_lz4 = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("lz4"));
    match (ask.compress, accepts_lz4) {
        (true, _) => Encoding::Blocks,
        (false, true) => Encoding::Lz4Frame,
        (false, false) => Encoding::Plain,
    }
}

fn content_type(format: &str) -> &'static str {
    match format {
        "TabSeparated" | "TSV" => "text/tab-separated-values; charset=UTF-8",
        "CSV" | "CSVWithNames" => "text/csv; charset=UTF-8; header=absent",
        "JSON" | "JSONCompact" => "application/json; charset=UTF-8",
        "JSONEachRow" | "NDJSON" | "JSONLines" => "application/x-ndjson; charset=UTF-8",
        _ => "application/octet-stream",
    }
}

/// Counts as ClickHouse writes them: numbers as strings.
fn summary(counts: Counts) -> String {
    serde_json::json!({
        "read_rows": counts.rows_read.to_string(),
        "read_bytes": counts.bytes_read.to_string(),
        "written_rows": counts.rows_written.to_string(),
        "written_bytes": counts.bytes_written.to_string(),
    })
    .to_string()
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn bad(text: &str) -> Failure {
    Failure::new(code::BAD_ARGUMENTS, format!("{text}. (BAD_ARGUMENTS)"))
}
