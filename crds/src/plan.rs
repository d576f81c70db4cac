//! Plan: what a subscriber may use, and what it costs.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, ObjectStatus};

/// What a subscriber may use, and what it costs. All limits of a plan are counted per Subscription.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "Plan",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "turnpike",
    doc = "What a subscriber may use, and what it costs.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Quotas", type_ = "string", json_path = ".spec.quotas[*].name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanSpec {
    /// Name for people; the object's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub display_name: Option<String>,
    /// What the plan is for, in a sentence or two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Limits over short times, as token buckets. A request must pass all of them.
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rates: Vec<Rate>,
    /// Limits over calendar times. A request must pass all of them.
    #[schemars(length(max = 4))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub quotas: Vec<Quota>,
    /// Price lines of the usage report, at most one for each unit.
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["unit"]))]
    pub prices: Vec<Price>,
}

/// A token bucket: `burst` tokens at first, `requests` new ones every `period`, one taken by each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Name within the plan; a refused request is told it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Requests per period.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: u64,
    /// Length of the period.
    #[serde(default = "one_second")]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.matches('[1-9]')", "message": "period must not be 0"}
    ]))]
    pub period: Duration,
    /// Requests that may come at once; as many as `requests` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u64>,
}

/// Period of a rate that does not say one.
pub(crate) fn one_second() -> Duration {
    "1s".into()
}

/// An amount per calendar window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.mode == 'Soft' || !has(self.overdraft) || self.overdraft == 0",
        "message": "overdraft is only for mode Soft"
    }
]))]
pub struct Quota {
    /// Name within the plan or policy; a refused request is told it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is counted.
    #[serde(default)]
    pub unit: Unit,
    /// Units per window.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub quantity: u64,
    /// Length of the window; it begins where the calendar's does.
    pub period: Period,
    /// Time zone of the calendar, such as `Europe/Berlin` (IANA).
    #[serde(default = "utc")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+){0,2}$")
    )]
    pub zone: String,
    /// What happens at the limit.
    #[serde(default)]
    pub mode: Mode,
    /// Units beyond `quantity` that mode `Soft` lets through, counted and priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000_000_000_u64))]
    pub overdraft: Option<u64>,
    /// Percent of `quantity` at which alerts are raised, once per window each.
    #[serde(default = "default_alerts")]
    #[schemars(length(max = 8), inner(range(min = 1, max = 200)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub alert_at: Vec<u8>,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn default_alerts() -> Vec<u8> {
    vec![50, 80, 100]
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Requests that were let through.
    #[default]
    Requests,
    /// Bytes of request and response bodies.
    Bytes,
}

/// Length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Period {
    /// 60 seconds, from second 0.
    Minute,
    /// 60 minutes, from minute 0.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
    /// From 1 January to 1 January.
    Year,
}

/// What happens at the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Requests are refused; the quantity is never exceeded.
    #[default]
    Hard,
    /// Requests go on into the overdraft, and are refused at its end.
    Soft,
    /// Nothing is refused; the use is counted and alerts are raised.
    Observe,
}

/// A price line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// What is priced.
    pub unit: Unit,
    /// Units per reporting period that cost nothing.
    #[serde(default)]
    pub included: u64,
    /// Price of `per` units, as a decimal number such as `0.25`.
    #[schemars(regex(pattern = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"))]
    pub amount: String,
    /// Currency (ISO 4217), such as `EUR`.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    pub currency: String,
    /// Units that `amount` buys.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub per: u64,
}

fn one() -> u64 {
    1
}
