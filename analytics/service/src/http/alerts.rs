//! `GET /v1/alerts`: what was raised, and whether it has arrived.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::params::Params;
use super::{App, Problem};
use crate::alerts::{Alert, DeliveryState};

/// Alerts, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Alerts {
    alerts: Vec<Alert>,
}

/// The newest alerts.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts",
    params(("state" = Option<String>, Query, description = "pending, delivered or failed: with a delivery in this state"),
        ("consumer" = Option<String>, Query), ("limit" = Option<u64>, Query)),
    responses((status = 200, body = Alerts)))]
pub(super) async fn list(State(app): State<App>, mut params: Params) -> Result<Json<Alerts>, Problem> {
    let state = match params.take("state")?.as_deref() {
        None => None,
        Some("pending") => Some(DeliveryState::Pending),
        Some("delivered") => Some(DeliveryState::Delivered),
        Some("failed") => Some(DeliveryState::Failed),
        Some(_) => return Err(Problem::parameter("state", "use pending, delivered or failed")),
    };
    let consumer = params.take("consumer")?;
    let limit = params.limit(100, 1_000)?;
    params.finish()?;
    let wanted = |alert: &Alert| {
        state.is_none_or(|state| alert.deliveries.iter().any(|delivery| delivery.state == state))
            && consumer.as_ref().is_none_or(|consumer| alert.consumer == *consumer)
    };
    Ok(Json(Alerts { alerts: app.outbox.newest(limit as usize, wanted) }))
}
