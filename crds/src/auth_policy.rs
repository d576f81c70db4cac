//! AuthPolicy: how callers prove who they are, and who may pass.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PolicyStatus, PolicyTarget};

/// How callers prove who they are, and who may pass. Fails closed: where it is in force but broken, nobody
/// passes.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "AuthPolicy",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "authp",
    category = "turnpike",
    category = "gateway-api",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "How callers prove who they are, and who may pass.",
    printcolumn(name = "Anonymous", type_ = "boolean", json_path = ".spec.allowAnonymous"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AuthPolicySpec {
    /// Gateways, listeners, routes or named rules that it is in force for. The most specific policy wins.
    /// May be empty when rules name the policy in a filter of type `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<PolicyTarget>,
    /// Authentication by API key: the keys are those of the Consumers.
    #[serde(default)]
    pub api_key: ApiKeyAuth,
    /// Let callers without credentials pass as nobody. Wrong credentials never pass.
    #[serde(default)]
    pub allow_anonymous: bool,
    /// Who of the authenticated may pass.
    #[serde(default)]
    pub authorize: Authorize,
    /// Take the credential out of the request before it goes upstream.
    #[serde(default = "yes")]
    pub hide_credentials: bool,
}

fn yes() -> bool {
    true
}

/// Authentication by API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuth {
    /// Places where the key may stand; the first that is present counts.
    #[serde(default = "default_sources")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub sources: Vec<ApiKeySource>,
}

impl Default for ApiKeyAuth {
    fn default() -> Self {
        Self { sources: default_sources() }
    }
}

fn default_sources() -> Vec<ApiKeySource> {
    let header = |name: &str, scheme: Option<&str>| ApiKeySource {
        place: Place::Header,
        name: name.to_owned(),
        scheme: scheme.map(str::to_owned),
    };
    vec![header("X-API-Key", None), header("Authorization", Some("Bearer"))]
}

/// A place in a request where an API key may stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type == 'Header' || !has(self.scheme)",
        "message": "scheme is only for type Header"
    }
]))]
pub struct ApiKeySource {
    /// Kind of place.
    #[serde(rename = "type")]
    pub place: Place,
    /// Name of the header field (in any case), query parameter or cookie.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"))]
    pub name: String,
    /// Scheme in front of the key in a header field, such as `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9\-._~+/]+$"))]
    pub scheme: Option<String>,
}

/// Kind of place in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Place {
    /// A header field.
    Header,
    /// A query parameter.
    Query,
    /// A cookie.
    Cookie,
}

/// Who of the authenticated may pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Authorize {
    /// Consumers need one of these groups; any consumer may pass when empty.
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
}
