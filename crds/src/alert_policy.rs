//! AlertPolicy: whom to tell when quotas fill.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PolicyStatus, QuotaTarget};

/// Whom to tell when quotas fill.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "AlertPolicy",
    plural = "alertpolicies",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "alertp",
    category = "turnpike",
    doc = "Whom to tell when quotas fill.",
    printcolumn(name = "Channels", type_ = "string", json_path = ".spec.channels[*].type"),
    printcolumn(name = "Forecast", type_ = "boolean", json_path = ".spec.forecast"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AlertPolicySpec {
    /// Plans and QuotaPolicies whose quotas it is for, or with `sectionName` one quota of them; every quota
    /// when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<QuotaTarget>,
    /// Percent of a quota, besides the quota's own `alertAt`. Each is told once per window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(range(min = 1, max = 200)), extend("x-kubernetes-list-type" = "set"))]
    pub thresholds: Vec<u8>,
    /// Tell also when, at the present rate, the quota will be used up before its window ends.
    #[serde(default)]
    pub forecast: bool,
    /// Where to.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub channels: Vec<Channel>,
}

/// A way to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(self.type == 'Alertmanager') == has(self.alertmanager)",
        "message": "alertmanager must be set exactly when type is Alertmanager"
    },
    {
        "rule": "(self.type == 'Webhook') == has(self.webhook)",
        "message": "webhook must be set exactly when type is Webhook"
    }
]))]
pub struct Channel {
    /// Which of the members below is set.
    #[serde(rename = "type")]
    pub kind: ChannelType,
    /// Prometheus Alertmanager, by its API v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<Alertmanager>,
    /// An HTTP endpoint, by signed webhooks (Standard Webhooks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// Kinds of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChannelType {
    /// Prometheus Alertmanager.
    Alertmanager,
    /// A signed webhook.
    Webhook,
}

/// Prometheus Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alertmanager {
    /// Base URL, without `/api/v2`.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub url: String,
}

/// A signed webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Receiver.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub url: String,
    /// A Secret in the policy's namespace with the signing secret.
    pub secret_ref: WebhookSecret,
}

/// An entry of a Secret that holds a signing secret: `whsec_` and the base64 form of 24 to 64 random bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Entry of the Secret's data.
    #[serde(default = "default_secret_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn default_secret_key() -> String {
    "secret".to_owned()
}
