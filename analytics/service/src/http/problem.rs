//! Errors as problem details (RFC 9457) with one word for programs and one sentence for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::authority::AuthorityError;
use crate::dock::Gone;
use crate::store::StoreError;

/// An error as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong and how to cure it.
    detail: String,
    /// One of: bad_request, unauthorized, not_found, conflict, too_large, store_away, busy, internal.
    reason: &'static str,
    /// Seconds until it is worth another try.
    #[serde(skip)]
    retry_after: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            detail: detail.into(),
            reason,
            retry_after: None,
        }
    }

    /// The asker made a mistake.
    pub(crate) fn bad(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail.to_string())
    }

    /// A parameter is wrong.
    pub(crate) fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::bad(format!("parameter `{name}`: {detail}"))
    }

    /// No or wrong token.
    pub(crate) fn unauthorized() -> Self {
        let detail = "send the token as `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail.to_string())
    }

    /// More than is taken.
    pub(crate) fn too_large(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail.to_string())
    }

    /// Try again soon.
    pub(crate) fn busy(detail: impl std::fmt::Display) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail.to_string());
        Self { retry_after: Some(1), ..problem }
    }

    /// A fault of this process.
    pub(crate) fn internal(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(_) => {
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_away", error.to_string());
                Self { retry_after: Some(2), ..problem }
            }
            StoreError::Refused(ref text)
                if text.contains("UNKNOWN_TABLE") || text.contains("UNKNOWN_DATABASE") =>
            {
                let problem =
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_away", "the store has no tables yet");
                Self { retry_after: Some(2), ..problem }
            }
            StoreError::Refused(_) | StoreError::Answer(_) => {
                tracing::error!(%error, "a question failed");
                Self::internal(error)
            }
        }
    }
}

impl From<AuthorityError> for Problem {
    fn from(error: AuthorityError) -> Self {
        Self::busy(error)
    }
}

impl From<Gone> for Problem {
    fn from(gone: Gone) -> Self {
        Self::busy(gone)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
