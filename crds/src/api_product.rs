//! ApiProduct: routes under one name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectReference, PolicyStatus, PolicyTarget};

/// Routes under one name, for which callers need a Subscription.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "ApiProduct",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "product",
    category = "turnpike",
    doc = "Routes under one name, for which callers need a Subscription.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "Plans", type_ = "string", json_path = ".spec.plans[*].name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.deprecatedAt) || !has(self.sunsetAt) || self.deprecatedAt <= self.sunsetAt",
        "message": "sunsetAt must not be before deprecatedAt"
    }
]))]
pub struct ApiProductSpec {
    /// Name for people; the object's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub display_name: Option<String>,
    /// What the product does, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Routes, named rules of routes, or Gateways and their listeners that make up the product. The most
    /// specific product wins.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<PolicyTarget>,
    /// Plans on offer: a Subscription to this product must name one of them. Any plan when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub plans: Vec<ObjectReference>,
    /// Stage of its life.
    #[serde(default)]
    pub stage: Stage,
    /// Since when new use is discouraged: the `Deprecation` field of responses (RFC 9745), in stage
    /// `Deprecated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_at: Option<Time>,
    /// When it will be gone: the `Sunset` field of responses (RFC 8594), in stage `Deprecated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset_at: Option<Time>,
    /// Refuse callers without a subscription.
    #[serde(default = "yes")]
    pub subscription_required: bool,
}

fn yes() -> bool {
    true
}

/// Stage of a product's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Served to its subscribers, but not in the catalogue.
    Draft,
    /// In use.
    #[default]
    Published,
    /// In use, with `Deprecation` and `Sunset` fields in every response.
    Deprecated,
    /// Refused with 410.
    Retired,
}
