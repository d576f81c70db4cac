//! What several kinds share: references, policy targets (GEP-713) and what callers are told apart by.
//!
//! Whether a reference leads anywhere is decided in `operator-compile`, never here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object of ours by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ObjectReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; the referring object's own when absent. Another namespace must allow it with
    /// a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What a policy or product applies to, in its own namespace (GEP-713).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTarget {
    /// API group of the target.
    #[schemars(extend("enum" = ["gateway.networking.k8s.io"]))]
    pub group: String,
    /// Kind of the target.
    #[schemars(extend("enum" = ["Gateway", "HTTPRoute", "GRPCRoute"]))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Part of the target: the name of a listener of a Gateway, or of a rule of a route. The whole target when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Quotas that an alert is for, in its own namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaTarget {
    /// API group of the target.
    #[schemars(extend("enum" = ["turnpike.dev"]))]
    pub group: String,
    /// Kind of the target.
    #[schemars(extend("enum" = ["Plan", "QuotaPolicy"]))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of one quota of the target; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What requests are told apart by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dimension {
    /// All requests share one account.
    #[default]
    All,
    /// One account for each authenticated consumer; requests of nobody share one.
    Consumer,
    /// One account for each client address (IPv4 address, IPv6 /64).
    ClientAddress,
    /// One account for each value of a header field; requests without it share one.
    Header,
}

/// What requests are told apart by: one account is kept for each value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(self.type == 'Header') == has(self.header)",
        "message": "header must be set exactly when type is Header"
    }
]))]
pub struct By {
    /// `All`, `Consumer`, `ClientAddress` or `Header`.
    #[serde(rename = "type", default)]
    pub dimension: Dimension,
    /// Name of the header field, for type `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"))]
    pub header: Option<String>,
}
