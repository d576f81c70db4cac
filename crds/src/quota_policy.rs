//! QuotaPolicy: amounts per calendar window for routes that need no plan.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{By, PolicyStatus, PolicyTarget, plan::Quota};

/// Amounts per calendar window for routes that need no plan.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "QuotaPolicy",
    plural = "quotapolicies",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "qp",
    category = "turnpike",
    category = "gateway-api",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "Amounts per calendar window for routes that need no plan.",
    printcolumn(name = "Limits", type_ = "string", json_path = ".spec.limits[*].name"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by.type"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct QuotaPolicySpec {
    /// Gateways, listeners, routes or named rules that it is in force for.
    /// May be empty when rules name the policy in a filter of type `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<PolicyTarget>,
    /// What may be used. A request must pass all of them; together with those of its plan they are at most four.
    #[schemars(length(min = 1, max = 4))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub limits: Vec<Quota>,
    /// One account for each value of this.
    #[serde(default)]
    pub by: By,
}
