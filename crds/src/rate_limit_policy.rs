//! RateLimitPolicy: a limit over a short time for routes that need no plan.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{By, Duration, PolicyStatus, PolicyTarget, plan::one_second};

/// A limit over a short time, as a token bucket, for routes that need no plan.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "rlp",
    category = "turnpike",
    category = "gateway-api",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "A limit over a short time, as a token bucket, for routes that need no plan.",
    printcolumn(name = "Requests", type_ = "integer", json_path = ".spec.requests"),
    printcolumn(name = "Period", type_ = "string", json_path = ".spec.period"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by.type"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPolicySpec {
    /// Gateways, listeners, routes or named rules that it is in force for.
    /// May be empty when rules name the policy in a filter of type `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<PolicyTarget>,
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
    /// One bucket for each value of this.
    #[serde(default)]
    pub by: By,
}
