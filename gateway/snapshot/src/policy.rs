//! Policies that rules refer to: who may call, and how often.

use gateway_quota::Limit;
use serde::{Deserialize, Serialize};

/// How callers prove who they are, and who may pass. Fails closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthPolicy {
    /// Places to look for an API key, in order; the first present counts.
    pub api_key: Vec<ApiKeySource>,
    /// Let callers without credentials pass as nobody. Wrong credentials never pass.
    pub allow_anonymous: bool,
    /// Consumers need one of these groups; empty: any consumer.
    pub groups: Vec<String>,
    /// Take the credential out of the request before it goes upstream.
    pub hide_credentials: bool,
}

/// Where an API key stands in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApiKeySource {
    /// A header field; `scheme` (such as `Bearer`) is taken off its front, case-insensitively.
    Header {
        /// Lower case.
        name: String,
        /// Required scheme, if any.
        scheme: Option<String>,
    },
    /// A query parameter.
    Query {
        /// Case sensitive.
        name: String,
    },
    /// A cookie.
    Cookie {
        /// Case sensitive.
        name: String,
    },
}

/// A token bucket for the rules it is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitPolicy {
    /// Requests per period.
    pub requests: u64,
    /// Period in milliseconds, never 0.
    pub period_ms: u64,
    /// Size of the bucket.
    pub burst: u64,
    /// One bucket for each value of this.
    pub by: Dimension,
}

/// A quota for the rules it is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaPolicy {
    /// What may be used; its id is the policy's name.
    pub limits: Vec<Limit>,
    /// One account for each value of this.
    pub by: Dimension,
}

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// All requests together.
    All,
    /// By authenticated consumer; requests of nobody share one account.
    Consumer,
    /// By client address (IPv4 address, IPv6 /64).
    ClientAddress,
    /// By the value of a header field, lower-case name; requests without it share one account.
    Header(String),
}
