//! Answers of our own: refusals as problem+json (RFC 9457) or, for gRPC, as a trailers-only status.
//!
//! In: a reason with its detail, and what the exchange knows. Out: a complete response. The reason's word is
//! the same in the response, the record, the metric and the log.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use analytics_record::Reason;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// A response that the shell sends as it is. For HEAD it leaves the body out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: StatusCode,
    /// All fields, without `Content-Length` and `Connection`.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) detail: Cow<'static, str>,
    /// Name of the limit that refused.
    pub(crate) limit: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), limit: None, retry_after: None }
    }
}

/// The body of a refusal.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    request_id: &'a str,
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The HTTP status of a refusal. 499 stands for a downstream that is gone: nobody reads the answer.
pub(crate) fn status(reason: Reason) -> StatusCode {
    reason
        .status()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The refusal as problem+json.
pub(crate) fn problem(refusal: &Refusal, request_id: &str) -> LocalResponse {
    let status = status(refusal.reason);
    let problem = Problem {
        kind: format!("urn:turnpike:reason:{}", refusal.reason),
        title: refusal.reason.title(),
        status: status.as_u16(),
        detail: &refusal.detail,
        reason: refusal.reason.as_str(),
        limit: refusal.limit.as_deref(),
        request_id,
    };
    let body = serde_json::to_vec(&problem).expect("text and numbers always become JSON");
    let mut headers = fields(refusal);
    headers.insert(header::CONTENT_TYPE, PROBLEM);
    LocalResponse { status, headers, body: body.into() }
}

/// The refusal as a gRPC status without messages (gRPC over HTTP/2, "Trailers-Only").
pub(crate) fn grpc(refusal: &Refusal) -> LocalResponse {
    let mut headers = fields(refusal);
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(refusal.reason)));
    let message = format!("{}: {} ({})", refusal.reason.title(), refusal.detail, refusal.reason);
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    LocalResponse { status: StatusCode::OK, headers, body: Bytes::new() }
}

fn fields(refusal: &Refusal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    headers
}

/// Rounded up: who waits so long finds what was promised.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The gRPC status code nearest to a reason.
pub(crate) fn grpc_status(reason: Reason) -> i16 {
    match reason {
        Reason::Ok | Reason::Redirected | Reason::Mocked | Reason::CorsPreflight => 0,
        Reason::DownstreamClosed => 1,
        Reason::MalformedRequest => 3,
        Reason::RequestTimeout | Reason::BackendTimeout => 4,
        Reason::Forbidden
        | Reason::SubscriptionMissing
        | Reason::SubscriptionExpired
        | Reason::SubscriptionPending => 7,
        Reason::RateLimited
        | Reason::QuotaExceeded
        | Reason::BodyTooLarge
        | Reason::HeadersTooLarge
        | Reason::UriTooLong => 8,
        Reason::NoRoute | Reason::ProductRetired => 12,
        Reason::NoBackend | Reason::InvalidRoute | Reason::Internal => 13,
        Reason::AuthMissing | Reason::AuthInvalid | Reason::AuthExpired => 16,
        Reason::NoListenerHost
        | Reason::QuotaUnavailable
        | Reason::TooManyConnections
        | Reason::UpstreamConnect
        | Reason::UpstreamReset
        | Reason::UpstreamMalformed
        | Reason::UpstreamTls
        | Reason::NoEndpoints
        | Reason::Draining => 14,
    }
}

/// `grpc-message`: everything but printable ASCII, and the percent sign, is encoded.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string takes any text"),
        }
    }
    out
}
