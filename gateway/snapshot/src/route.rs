//! Routes: which requests they take and where these go (Gateway API HTTPRoute and GRPCRoute).

use serde::{Deserialize, Serialize};

use crate::{Filter, Key};

/// A lower-case DNS name, or `*.` and a DNS name, which stands for one or more labels in front of it.
pub type Hostname = String;

/// One HTTPRoute or GRPCRoute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// HTTP or gRPC.
    pub kind: RouteKind,
    /// `namespace/name`.
    pub name: Key,
    /// Creation of the resource, seconds since 1970: the older of two equal matches wins.
    pub created: i64,
    /// Listeners that accepted it, with the intersection of both sides' hostnames. An empty list of
    /// hostnames stands for every host.
    #[serde(deserialize_with = "crate::tight")]
    pub attachments: Vec<Attachment>,
    /// In the order written: the first of equally specific matches wins.
    #[serde(deserialize_with = "crate::tight")]
    pub rules: Vec<Rule>,
}

/// Where a route is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `namespace/gateway/listener`.
    pub listener: Key,
    /// Hostnames served there; empty: all.
    #[serde(deserialize_with = "crate::tight")]
    pub hostnames: Vec<Hostname>,
}

/// Kind of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
}

/// One rule of a route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Name in the resource, if it has one.
    pub name: Option<String>,
    /// Any of them; never empty (the compiler writes the default `/` prefix out).
    #[serde(deserialize_with = "crate::tight")]
    pub matches: Vec<Match>,
    /// In the order written.
    #[serde(deserialize_with = "crate::tight")]
    pub filters: Vec<Filter>,
    /// Weighted choice; weight 0 is never chosen. All 0 or none: 500, as the specification says.
    #[serde(deserialize_with = "crate::tight")]
    pub backends: Vec<BackendChoice>,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Option<Retry>,
    /// AuthPolicy in force.
    pub auth: Option<Key>,
    /// RateLimitPolicies in force.
    pub rate_limits: Vec<Key>,
    /// QuotaPolicies in force.
    pub quotas: Vec<Key>,
    /// ApiProduct that the rule belongs to: callers need a subscription to it.
    pub product: Option<Key>,
    /// Request body limit in bytes, when other than the process's.
    pub max_body_bytes: Option<u64>,
}

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// On the path without its query.
    pub path: PathMatch,
    /// Lower-case names.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// On query parameters, names case sensitive, first occurrence counts.
    #[serde(default)]
    pub query: Vec<QueryMatch>,
    /// Exact method.
    #[serde(default)]
    pub method: Option<String>,
}

/// Path condition, in the order of precedence of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// By path elements: `/a` takes `/a` and `/a/b`, not `/ab`. No trailing slash but for `/`.
    Prefix(String),
    /// Linear-time regular expression (syntax of the `regex` crate) over the whole path.
    Regex(String),
}

/// Condition on a header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// Several fields of one name are joined by commas first.
    pub value: StringMatch,
}

/// Condition on a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryMatch {
    /// Percent-decoded name.
    pub name: String,
    /// On the percent-decoded value.
    pub value: StringMatch,
}

/// Condition on a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StringMatch {
    /// Equal, byte for byte.
    Exact(String),
    /// Linear-time regular expression over the whole value.
    Regex(String),
}

/// One of a rule's backends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendChoice {
    /// Where to.
    pub backend: BackendRef,
    /// Share among the rule's backends.
    pub weight: u32,
    /// Applied after the rule's filters, to requests that go here.
    #[serde(default, deserialize_with = "crate::tight")]
    pub filters: Vec<Filter>,
}

/// A backend, or the reason why there is none: requests for it get a 500.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendRef {
    /// Key in [`crate::Snapshot::backends`].
    To(Key),
    /// For people; for example `Service shop/orders does not exist`.
    Invalid(String),
}

/// Milliseconds; `None` is the process's default, `Some(0)` is no limit (GEP-1742).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Whole request, retries included.
    pub request_ms: Option<u64>,
    /// One attempt at a backend.
    pub backend_request_ms: Option<u64>,
}

/// Retries (GEP-1731). Connection failures are retried whether or not codes are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Statuses of the upstream that are tried again.
    pub codes: Vec<u16>,
    /// Attempts after the first.
    pub attempts: u8,
    /// Smallest pause between attempts, milliseconds.
    pub backoff_ms: u64,
}
