//! Consumer: who calls.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UsageStatus;

/// A caller with a name, and how it proves to be that caller.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "Consumer",
    namespaced,
    status = "ConsumerStatus",
    derive = "PartialEq",
    shortname = "csm",
    category = "turnpike",
    doc = "A caller with a name, and how it proves to be that caller.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "Used %", type_ = "integer", json_path = ".status.usage[0].percent"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerSpec {
    /// Name for people; the object's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub display_name: Option<String>,
    /// Groups that an AuthPolicy may ask for.
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// Labels for grouping in reports, such as a department.
    #[schemars(extend("maxProperties" = 32))]
    pub tags: BTreeMap<String, String>,
    /// Customer number of the invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub billing_id: Option<String>,
    /// Refuse this consumer everywhere, whatever it presents.
    pub disabled: bool,
    /// Any one of them proves the consumer.
    pub credentials: Credentials,
}

/// Proofs of being a consumer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// Random keys of at least 128 bits, such as `turnpike key new` makes.
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub api_keys: Vec<ApiKey>,
}

/// An API key. Only its hash is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.sha256) != has(self.secretRef)",
        "message": "exactly one of sha256 and secretRef must be set"
    }
]))]
pub struct ApiKey {
    /// Name within the consumer, so that keys can be rotated one by one.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// SHA-256 of the key's bytes, as 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// A Secret in the consumer's namespace that holds the hash or the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ApiKeySecret>,
    /// The key is refused from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// An entry of a Secret that holds an API key's hash or the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Entry of the Secret's data.
    #[serde(default = "default_secret_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// What the entry holds.
    #[serde(default)]
    pub holds: SecretContent,
}

/// What an entry of a Secret holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretContent {
    /// SHA-256 of the key, as 64 hexadecimal digits.
    #[default]
    Sha256,
    /// The key itself; it is hashed when it is read and goes no further.
    Key,
}

fn default_secret_key() -> String {
    "apiKey".to_owned()
}

/// What Turnpike says about a consumer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatus {
    /// Whether the consumer is valid (`Accepted`) and its Secrets exist (`ResolvedRefs`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Quotas of the consumer's subscriptions, the fullest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub usage: Vec<UsageStatus>,
}
