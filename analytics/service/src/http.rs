//! The HTTP API, version 1: what gateways, the CLI and the console speak to.
//!
//! In: requests, checked here: size, token, parameters. Out: JSON, CSV, Parquet, problems (RFC 9457).
//! Handlers hold no state of their own and decide nothing about money, quotas or segments.

mod alerts;
mod auth;
mod console;
mod consumers;
mod health;
mod live;
mod metrics;
pub(crate) mod openapi;
mod params;
mod pipeline;
mod problem;
mod quotas;
mod records;
mod spool;
mod traffic;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};
use gateway_snapshot::Catalog;
use tokio::sync::{Semaphore, watch};

use crate::alerts::Outbox;
use crate::authority::AuthorityHandle;
use crate::clock::Clock;
use crate::dock::Dock;
use crate::fleet::Fleet;
use crate::ready::Readiness;
use crate::rollup::RollupStatus;
use crate::store::Store;

pub(crate) use problem::Problem;

/// Largest JSON body.
const MAX_JSON_BYTES: usize = 4 << 20;
/// Segments that are read from the network at once; each may take [`analytics_record::segment::MAX_SEGMENT_BYTES`].
const SEGMENTS_AT_ONCE: usize = 8;

/// What handlers need; cheap to clone.
pub(crate) type App = Arc<Parts>;

/// The parts of the running service.
#[derive(Debug)]
pub(crate) struct Parts {
    pub clock: Clock,
    pub token: auth::Token,
    pub store: Store,
    pub dock: Dock,
    pub fleet: Fleet,
    pub authority: AuthorityHandle,
    pub outbox: Outbox,
    pub catalog: watch::Receiver<Arc<Catalog>>,
    pub ready: watch::Receiver<Readiness>,
    pub rollup: watch::Receiver<RollupStatus>,
    pub live: live::Cache,
    pub segments: Semaphore,
    /// Days that records are kept in detail.
    pub retention_days: u16,
}

impl Parts {
    /// The part of the state that only HTTP has, fresh.
    pub(crate) fn http_parts(token: &str) -> (auth::Token, live::Cache, Semaphore) {
        (auth::Token::new(token), live::Cache::default(), Semaphore::new(SEGMENTS_AT_ONCE))
    }

    /// The catalog in force.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    /// Every record that ended before this is in the store, as far as is known now.
    pub(crate) async fn watermark(&self) -> Option<jiff::Timestamp> {
        let micros = self.dock.status().await.ok()?.complete_through_us?;
        // The mark names the last complete microsecond; windows end before the first incomplete one.
        jiff::Timestamp::from_microsecond(i64::try_from(micros).ok()?.saturating_add(1)).ok()
    }
}

/// What gateways speak to.
fn of_gateways() -> Router<App> {
    Router::new()
        .route("/v1/segments/{gateway}/{epoch}/{shard}/{seq}", put(spool::put).layer(spool::body_limit()))
        .route("/v1/segments/{gateway}", get(spool::marks))
        .route("/v1/spool/heartbeat", post(spool::heartbeat))
        .route("/v1/gateways/{gateway}/status", post(spool::status))
        .route("/v1/quota", post(quotas::batch))
}

/// The routes of gateways, for callers that have shown a certificate.
pub(crate) fn gateway_router(app: App) -> Router {
    of_gateways().layer(DefaultBodyLimit::max(MAX_JSON_BYTES)).with_state(app)
}

/// The routes of operators, for callers that have shown a certificate.
pub(crate) fn operator_router(app: App) -> Router {
    Router::new().route("/v1/quotas", get(quotas::list)).with_state(app)
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let guarded = of_gateways()
        .route("/v1/gateways/{gateway}/give-up", post(spool::give_up))
        .route("/v1/quotas", get(quotas::list))
        .route("/v1/usage", get(usage::get))
        .route("/v1/timeseries", get(traffic::series))
        .route("/v1/top", get(traffic::top))
        .route("/v1/consumers", get(consumers::list))
        .route("/v1/consumers/{namespace}/{name}", get(consumers::one))
        .route("/v1/records", get(records::list))
        .route("/v1/records/{request_id}", get(records::one))
        .route("/v1/pipeline", get(pipeline::get))
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/live", get(live::get))
        .route("/openapi.json", get(openapi::get))
        .route("/metrics", get(metrics::get))
        .route("/v1/{*rest}", get(health::nothing).post(health::nothing).put(health::nothing))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), auth::check));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .merge(guarded)
        .fallback(console::get)
        .with_state(app)
}
