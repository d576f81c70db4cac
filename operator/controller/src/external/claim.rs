//! Whose `external.metrics.k8s.io` is: one of a cluster can serve it, and it is ours only where nobody else's.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crds::k8s_openapi::api::core::v1::ConfigMap;
use crds::k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::children::MANAGER;

const NAME: &str = "v1beta1.external.metrics.k8s.io";
/// Of the Service by which the API server reaches us.
pub(crate) const SERVICE: &str = "turnpike-external-metrics";

/// By what the API server is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aggregator {
    /// PEM.
    pub(crate) ca: String,
    /// Common names; empty: any.
    pub(crate) names: Vec<String>,
}

impl Aggregator {
    /// As the API server publishes it for those whom it passes requests to.
    pub(crate) async fn read(client: &Client) -> Result<Self, String> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        let found = api.get("extension-apiserver-authentication").await.map_err(|error| error.to_string())?;
        let data = found.data.unwrap_or_default();
        let ca = data.get("requestheader-client-ca-file").cloned();
        let names = data.get("requestheader-allowed-names").map_or("[]", String::as_str);
        Ok(Self {
            ca: ca.ok_or("the API server has no aggregator: requestheader-client-ca-file is not set")?,
            names: serde_json::from_str(names).map_err(|error| error.to_string())?,
        })
    }
}

/// Makes the API ours, by [`SERVICE`] in `namespace`, with certificates that `ca` (PEM) has issued.
///
/// # Errors
/// Why it is not ours.
pub(crate) async fn claim(client: &Client, namespace: &str, ca: &str) -> Result<(), String> {
    let api: Api<APIService> = Api::all(client.clone());
    let wanted = wanted(namespace, ca);
    let failed = |error: kube::Error| error.to_string();
    let Some(there) = api.get_opt(NAME).await.map_err(failed)? else {
        let made = serde_json::from_value(wanted).map_err(|error| error.to_string())?;
        return api.create(&PostParams::default(), &made).await.map(drop).map_err(failed);
    };
    let spec = there.spec.unwrap_or_default();
    let service = spec.service.unwrap_or_default();
    let owner = (service.namespace.unwrap_or_default(), service.name.unwrap_or_default());
    if owner != (namespace.to_owned(), SERVICE.to_owned()) {
        return Err(format!("Service {}/{} serves external.metrics.k8s.io", owner.0, owner.1));
    }
    if spec.ca_bundle.is_none_or(|bundle| bundle.0 != ca.as_bytes()) {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(NAME, &params, &Patch::Merge(&wanted)).await.map_err(failed)?;
    }
    Ok(())
}

fn wanted(namespace: &str, ca: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": namespace, "name": SERVICE, "port": 443},
            "caBundle": BASE64_STANDARD.encode(ca),
        },
    })
}
