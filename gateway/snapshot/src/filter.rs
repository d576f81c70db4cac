//! Filters: what is done to requests and responses on the way (HTTPRouteFilter).

use serde::{Deserialize, Serialize};

use crate::BackendRef;

/// One filter. The pipeline matches on it exhaustively.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// Edits to the request's header before it goes upstream.
    RequestHeaders(HeaderEdit),
    /// Edits to the response's header before it goes downstream.
    ResponseHeaders(HeaderEdit),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Change host or path before it goes upstream.
    Rewrite(Rewrite),
    /// Send a copy elsewhere and ignore the answer.
    Mirror(Mirror),
    /// Cross-origin resource sharing (GEP-1767, WHATWG Fetch).
    Cors(Cors),
    /// Answer without an upstream (mocking).
    Direct(DirectResponse),
}

/// `set` replaces, `add` appends, `remove` deletes; names lower case, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdit {
    /// Name and value.
    pub set: Vec<(String, String)>,
    /// Name and value.
    pub add: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

/// A redirect; absent parts are taken from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Precise host name.
    pub hostname: Option<String>,
    /// Port; when absent it follows from the scheme or the listener (HTTPRequestRedirectFilter).
    pub port: Option<u16>,
    /// New path.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A rewrite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// New value of the Host field.
    pub hostname: Option<String>,
    /// New path.
    pub path: Option<PathRewrite>,
}

/// How a path is replaced; the query stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// What the rule's prefix match took.
    Prefix(String),
}

/// A mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where copies go.
    pub backend: BackendRef,
    /// Share of requests: `numerator` in `denominator`.
    pub numerator: u32,
    /// Never 0.
    pub denominator: u32,
}

/// Cross-origin resource sharing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// `*`, `scheme://host[:port]`, or with a `*.` host.
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent.
    pub allow_credentials: bool,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Request header fields, or `*`.
    pub allow_headers: Vec<String>,
    /// Response header fields, or `*`.
    pub expose_headers: Vec<String>,
    /// Life of a preflight answer, seconds.
    pub max_age: u32,
}

/// An answer of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectResponse {
    /// HTTP status.
    pub status: u16,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// UTF-8.
    pub body: String,
}
