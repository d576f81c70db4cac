//! Subscription: a consumer on a plan of a product.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectReference, UsageStatus};

/// A consumer on a plan of a product.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "Subscription",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    shortname = "tpsub",
    category = "turnpike",
    doc = "A consumer on a plan of a product.",
    printcolumn(name = "Consumer", type_ = "string", json_path = ".spec.consumerRef.name"),
    printcolumn(name = "Product", type_ = "string", json_path = ".spec.productRef.name"),
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.planRef.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Used %", type_ = "integer", json_path = ".status.usage[0].percent"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter",
        "message": "notAfter must be later than notBefore"
    }
]))]
pub struct SubscriptionSpec {
    /// Who.
    pub consumer_ref: ObjectReference,
    /// To what.
    pub product_ref: ObjectReference,
    /// On which terms; one of the plans that the product offers.
    pub plan_ref: ObjectReference,
    /// Whether it may be used.
    #[serde(default)]
    pub state: State,
    /// Valid from this moment on; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Refused from this moment on; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// Whether a subscription may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// In use.
    #[default]
    Active,
    /// Waits for approval; refused until then.
    Pending,
    /// Switched off.
    Suspended,
}

/// What Turnpike says about a subscription.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionStatus {
    /// Whether the subscription is valid (`Accepted`) and what it names exists (`ResolvedRefs`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Quotas of the plan, the fullest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub usage: Vec<UsageStatus>,
}
