//! What gateways tell: segments, heartbeats, who they are.

use analytics_record::segment::{MAX_SEGMENT_BYTES, Segment};
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer};
use analytics_record::{GatewayId, SegmentName};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::{App, Problem};
use crate::authority::settle;
use crate::fleet::GatewayStatus;

/// The body limit of segments.
pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MAX_SEGMENT_BYTES)
}

/// Takes in a sealed segment. Repeating it is harmless and answers the present state.
#[utoipa::path(put, path = "/v1/segments/{gateway}/{epoch}/{shard}/{seq}", tag = "gateways",
    params(("gateway" = String, Path, description = "UUID of the spool"), ("epoch" = u32, Path), ("shard" = u8, Path), ("seq" = u32, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The segment as it lies in the spool"),
    responses((status = 200, description = "`analytics_record::wire::PutAnswer`", body = Object), (status = 400, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn put(
    State(app): State<App>,
    Path((gateway, epoch, shard, seq)): Path<(String, String, String, String)>,
    request: Request,
) -> Result<Json<PutAnswer>, Problem> {
    let name: SegmentName = format!("{gateway}/{epoch}/{shard}/{seq}").parse().map_err(Problem::bad)?;
    let Ok(_permit) = app.segments.try_acquire() else {
        return Err(Problem::busy("too many segments at once; send it again"));
    };
    let body = Bytes::from_request(request, &()).await.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::too_large(format!("a segment has at most {MAX_SEGMENT_BYTES} bytes"))
        }
        other => Problem::bad(other.body_text()),
    })?;
    let bytes = body.clone();
    let parsed =
        tokio::task::spawn_blocking(move || Segment::parse(&bytes).map(|segment| *segment.header())).await;
    let header = parsed.map_err(Problem::internal)?.map_err(Problem::bad)?;
    if header.name != name {
        return Err(Problem::bad(format!("the body is segment {}, not {name}", header.name)));
    }
    let state = app.dock.put(header, body).await?;
    Ok(Json(PutAnswer { name, state, boot: app.dock.boot().to_owned() }))
}

/// A gateway's facts about its streams and its spool.
#[utoipa::path(post, path = "/v1/spool/heartbeat", tag = "gateways",
    request_body(content = Object, description = "`analytics_record::wire::Heartbeat`"),
    responses((status = 200, description = "`analytics_record::wire::HeartbeatAnswer`", body = Object)))]
pub(super) async fn heartbeat(
    State(app): State<App>,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Json<HeartbeatAnswer>, Problem> {
    app.fleet.heartbeat(&heartbeat, app.clock.wall()).await;
    Ok(Json(app.dock.heartbeat(heartbeat).await?))
}

/// Who a gateway is, for people.
#[utoipa::path(post, path = "/v1/gateways/{gateway}/status", tag = "gateways", request_body = GatewayStatus,
    params(("gateway" = String, Path, description = "UUID of the spool")), responses((status = 204)))]
pub(super) async fn status(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Json(status): Json<GatewayStatus>,
) -> Result<StatusCode, Problem> {
    let gateway: GatewayId = gateway.parse().map_err(Problem::bad)?;
    app.fleet.status(gateway, status.cut(), app.clock.wall()).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What giving up came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct GivenUp {
    /// Streams that no longer hold back completeness.
    streams: usize,
    /// Lives whose leases were settled; what no record shows stays charged and is never billed.
    lives: usize,
}

/// Declares that a gateway's spool is gone for good. What it had not handed over is lost; nothing waits for it any more.
#[utoipa::path(post, path = "/v1/gateways/{gateway}/give-up", tag = "gateways",
    params(("gateway" = String, Path, description = "UUID of the spool")),
    responses((status = 200, body = GivenUp), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn give_up(
    State(app): State<App>,
    Path(gateway): Path<String>,
) -> Result<Json<GivenUp>, Problem> {
    let gateway: GatewayId = gateway.parse().map_err(Problem::bad)?;
    let streams = app.dock.give_up(gateway).await?;
    let lives = settle::give_up(&app.authority, &app.store, gateway).await.map_err(Problem::busy)?;
    tracing::warn!(%gateway, streams, lives, "a gateway was given up");
    Ok(Json(GivenUp { streams, lives }))
}

/// What is known of a gateway's streams.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Marks {
    gateway: String,
    boot: String,
    streams: Vec<Mark>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Mark {
    epoch: u32,
    shard: u8,
    /// Segments 0..audited are in the store.
    audited: u32,
    finished: bool,
}

/// High-water marks of a gateway's streams.
#[utoipa::path(get, path = "/v1/segments/{gateway}", tag = "gateways",
    params(("gateway" = String, Path, description = "UUID of the spool")), responses((status = 200, body = Marks)))]
pub(super) async fn marks(
    State(app): State<App>,
    Path(gateway): Path<String>,
) -> Result<Json<Marks>, Problem> {
    let gateway: GatewayId = gateway.parse().map_err(Problem::bad)?;
    let marks = app.dock.streams(app.fleet.streams(gateway)).await?;
    let streams = marks
        .into_iter()
        .map(|mark| Mark {
            epoch: mark.stream.epoch,
            shard: mark.stream.shard,
            audited: mark.audited,
            finished: mark.finished,
        })
        .collect();
    Ok(Json(Marks { gateway: gateway.to_string(), boot: app.dock.boot().to_owned(), streams }))
}
