//! Who calls: consumers, what they subscribed to, and what that allows.

use gateway_quota::Limit;
use serde::{Deserialize, Serialize};

use crate::Key;

/// A caller with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// For AuthPolicy.
    #[serde(deserialize_with = "crate::tight")]
    pub groups: Vec<String>,
    /// Any of them proves the consumer.
    #[serde(deserialize_with = "crate::tight")]
    pub credentials: Vec<Credential>,
    /// A disabled consumer is refused.
    pub disabled: bool,
}

/// Proof of being a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// A random key of at least 128 bits, known only by its hash.
    ApiKey {
        /// SHA-256 of the key's bytes, 64 hex digits.
        sha256: String,
        /// Refused from this second since 1970 on.
        not_after: Option<i64>,
    },
}

/// Routes under one name, for which callers need a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Stage of its life.
    pub stage: Stage,
    /// `Deprecation` field (RFC 9745), seconds since 1970.
    pub deprecated_at: Option<i64>,
    /// `Sunset` field (RFC 8594), seconds since 1970.
    pub sunset_at: Option<i64>,
    /// Callers without a subscription are refused.
    pub subscription_required: bool,
}

/// Stage of a product's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Served only to its subscribers, not in the catalogue.
    Draft,
    /// In use.
    Published,
    /// In use, with `Deprecation` and `Sunset` fields.
    Deprecated,
    /// Refused with 410.
    Retired,
}

/// What a subscriber may use. The subject of all of its limits is the subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Short windows, as token buckets.
    pub rates: Vec<Rate>,
    /// Calendar windows.
    pub limits: Vec<Limit>,
}

/// A token bucket of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// `plan/namespace/name/rate-name`: what the answer to a refused request names.
    pub id: String,
    /// Requests per period.
    pub requests: u64,
    /// Period in milliseconds, never 0.
    pub period_ms: u64,
    /// Size of the bucket.
    pub burst: u64,
}

/// Consumer × product × plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Who.
    pub consumer: Key,
    /// To what.
    pub product: Key,
    /// On which terms.
    pub plan: Key,
    /// Whether it may be used.
    pub state: SubscriptionState,
    /// Valid from, seconds since 1970.
    pub not_before: Option<i64>,
    /// Refused from this second since 1970 on.
    pub not_after: Option<i64>,
}

/// Whether a subscription may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubscriptionState {
    /// In use.
    Active,
    /// Waits for approval.
    Pending,
    /// Switched off.
    Suspended,
}
