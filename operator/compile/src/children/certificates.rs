//! cert-manager Certificates for a Gateway or ListenerSet with cert-manager's annotations, where its own Gateway API support is
//! off.
//!
//! In: its metadata and listeners. Out: one Certificate for each Secret of its namespace that its HTTPS listeners refer to, with the
//! hostnames of those listeners, as cert-manager's gateway-shim makes them.

use std::collections::{BTreeMap, BTreeSet};

use crds::gateway_api::{Listener, TlsMode};
use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

const ISSUER: &str = "cert-manager.io/issuer";
const CLUSTER_ISSUER: &str = "cert-manager.io/cluster-issuer";
/// Annotations that become a field of the Certificate.
const FIELDS: [(&str, &str); 3] = [
    ("cert-manager.io/common-name", "commonName"),
    ("cert-manager.io/duration", "duration"),
    ("cert-manager.io/renew-before", "renewBefore"),
];

/// Name and `spec` of each Certificate; none without the annotations.
pub(super) fn certificates(metadata: &ObjectMeta, listeners: &[Listener]) -> Vec<(String, Value)> {
    let annotation = |key: &str| metadata.annotations.as_ref()?.get(key);
    let issuer = annotation(ISSUER).map(|name| (name, "Issuer"));
    let Some((name, kind)) = issuer.or_else(|| Some((annotation(CLUSTER_ISSUER)?, "ClusterIssuer"))) else {
        return Vec::new();
    };
    let kind = annotation("cert-manager.io/issuer-kind").map_or(kind, String::as_str);
    let group = annotation("cert-manager.io/issuer-group").map_or("cert-manager.io", String::as_str);
    let issuer = json!({"name": name, "kind": kind, "group": group});
    let fields = FIELDS.iter().filter_map(|(key, field)| Some((*field, annotation(key)?)));
    let spec = |secret: &str, names: &BTreeSet<&str>| {
        let mut spec = json!({"secretName": secret, "dnsNames": names, "issuerRef": issuer});
        for (field, value) in fields.clone() {
            spec[field] = value.as_str().into();
        }
        spec
    };
    let secrets = secrets(metadata.namespace.as_deref(), listeners);
    secrets.iter().map(|(secret, names)| ((*secret).to_owned(), spec(secret, names))).collect()
}

/// Secrets of the listeners' own namespace, with the hostnames of those that refer to them.
fn secrets<'a>(own: Option<&str>, listeners: &'a [Listener]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut secrets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for listener in listeners {
        let hostname = listener.hostname.as_deref().filter(|name| !name.is_empty());
        let tls = listener.tls.as_ref().filter(|tls| tls.mode.is_none_or(|mode| mode == TlsMode::Terminate));
        let (Some(hostname), Some(tls)) = (hostname, tls) else { continue };
        for reference in &tls.certificate_refs {
            let secret = reference.group.as_deref().unwrap_or_default().is_empty()
                && reference.kind.as_deref().unwrap_or("Secret") == "Secret"
                && reference.namespace.as_deref().is_none_or(|namespace| Some(namespace) == own);
            if secret {
                secrets.entry(&reference.name).or_default().insert(hostname);
            }
        }
    }
    secrets
}
