//! Health for supervisors, and the answer to paths that do not exist.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{App, Problem};
use crate::ready::Readiness;

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The process can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200), (status = 503)))]
pub(super) async fn ready(State(app): State<App>) -> Response {
    match &*app.ready.borrow() {
        Readiness::Ready if app.authority.is_learning() => {
            let why = "quotas are being rebuilt from records";
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "detail": why}))).into_response()
        }
        Readiness::Ready => Json(json!({"ready": true})).into_response(),
        Readiness::Waiting(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "detail": why}))).into_response()
        }
    }
}

/// No such path.
pub(super) async fn nothing() -> Problem {
    Problem::not_found("no such path; see /openapi.json")
}
