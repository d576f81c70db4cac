//! TransformPolicy: an answer without an upstream, referred to by an `ExtensionRef` filter of a route.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectStatus;

/// An edit beyond the standard filters. A rule of a route uses it by a filter of type `ExtensionRef`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "TransformPolicy",
    plural = "transformpolicies",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "turnpike",
    doc = "An edit beyond the standard filters, used by a filter of type ExtensionRef.",
    printcolumn(name = "Mock Status", type_ = "integer", json_path = ".spec.mock.status"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TransformPolicySpec {
    /// Answer with this instead of asking a backend.
    pub mock: Mock,
}

/// An answer without an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mock {
    /// HTTP status.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Fields of the answer's header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub headers: Vec<MockHeader>,
    /// Body, in UTF-8.
    #[serde(default)]
    #[schemars(length(max = 65_536))]
    pub body: String,
}

fn ok() -> u16 {
    200
}

/// A field of a mock answer's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MockHeader {
    /// Name, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"))]
    pub name: String,
    /// Value.
    #[schemars(length(max = 4096), regex(pattern = r"^[ -~\t]*$"))]
    pub value: String,
}
