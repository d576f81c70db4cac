//! `GET /v1/pipeline`: is every record on its way, and how far is the store complete?

use std::time::Duration;

use analytics_query::utc;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{App, Problem};
use crate::fleet::GatewayView;
use crate::rollup::RollupStatus;
use crate::store::StoreError;

/// The pipeline from gateways to the store.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Pipeline {
    complete_through: Option<String>,
    /// How far that is behind now.
    lag_ms: Option<i64>,
    store: StoreView,
    /// Requests whose records are lost for good, as gateways declare.
    declared_lost: u64,
    /// Segments taken in and not yet audited.
    segments_pending: u64,
    segments_audited: u64,
    /// Segments of one name with two contents, or found in part. Must be 0.
    conflicts: u64,
    gateways: Vec<GatewayView>,
    rollup: RollupStatus,
}

/// The store, as far as it answers.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct StoreView {
    up: bool,
    version: String,
    /// Rows of usage records.
    rows: u64,
    /// Their bytes on disk.
    bytes: u64,
    /// Why it is not up.
    error: Option<String>,
}

#[derive(Deserialize)]
struct Size {
    version: String,
    rows: u64,
    bytes: u64,
}

/// Longest wait for the store here: who asks wants to know what is wrong, and soon.
const STORE_WAIT: Duration = Duration::from_secs(2);

const SIZE: &str = "SELECT version() AS version, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts \
                    WHERE active AND database = currentDatabase() AND table = 'usage_records'";

/// Gateways, spools, watermark, store and rollup.
#[utoipa::path(get, path = "/v1/pipeline", tag = "pipeline", responses((status = 200, body = Pipeline)))]
pub(super) async fn get(State(app): State<App>) -> Result<Json<Pipeline>, Problem> {
    let now = app.clock.wall();
    let status = app.dock.status().await?;
    let watermark = app.watermark().await;
    Ok(Json(Pipeline {
        complete_through: watermark.map(utc),
        lag_ms: watermark.map(|mark| now.as_millisecond() - mark.as_millisecond()),
        store: store(&app).await,
        declared_lost: app.fleet.lost(),
        segments_pending: status.held,
        segments_audited: status.audited,
        conflicts: status.conflicts,
        gateways: app.fleet.view(now),
        rollup: app.rollup.borrow().clone(),
    }))
}

async fn store(app: &App) -> StoreView {
    let answer = tokio::time::timeout(STORE_WAIT, app.store.rows_of::<Size>(SIZE)).await;
    let silent = |_| Err(StoreError::Away(format!("no answer in {} s", STORE_WAIT.as_secs())));
    match answer.unwrap_or_else(silent) {
        Ok(found) => {
            let found = found.into_iter().next();
            found.map_or_else(StoreView::default, |Size { version, rows, bytes }| StoreView {
                up: true,
                version,
                rows,
                bytes,
                error: None,
            })
        }
        Err(error) => StoreView { error: Some(error.to_string()), ..StoreView::default() },
    }
}
