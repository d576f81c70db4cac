//! What is wrong in a cluster, where, and the cure: read once, changed nothing.
//!
//! In: what an API server says. Out: findings on definitions, objects, certificates, operators, analytics and scaling.

use std::collections::BTreeMap;

use crds::gateway_fleet::GatewayFleetSpec;
use crds::k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use crds::k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use gateway_snapshot::{Certificate, Key, Snapshot};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use operator_compile::resources::{ObjectName, Resources};
use operator_compile::{ObjectRef, Options, compile};
use serde::Serialize;
use serde_json::Value;

use crate::watch::{json, name};
use crate::{Error, OURS};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Of what it is.
    pub what: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do; empty when it is well.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cure: &'static str,
}

impl Check {
    /// `cure`: what to do when it is not well.
    pub fn new(what: &'static str, ok: bool, found: impl Into<String>, cure: &'static str) -> Self {
        Self { what, ok, found: found.into(), cure: if ok { "" } else { cure } }
    }
}

/// How long the certificates of `snapshot` hold.
pub fn certificates(snapshot: &Snapshot, now: Timestamp) -> Vec<Check> {
    let check = |(key, certificate): (&Key, &Certificate)| {
        let days = (certificate.not_after - now.as_second()).div_euclid(86_400);
        let found = format!("{key} (serial {}) ends in {days} days", certificate.serial);
        Check::new(
            "certificate",
            !certificate.ends_soon(now.as_second()),
            found,
            "renew the certificate in its Secret",
        )
    };
    snapshot.certificates.iter().map(check).collect()
}

/// Looks at the cluster of the environment, as of `now`.
///
/// # Errors
/// When there is no cluster, or it does not let us read.
pub async fn examine(controller_name: &str, now: Timestamp) -> Result<Vec<Check>, Error> {
    let config = kube::Config::infer().await.map_err(|error| Error::Config(Box::new(error)))?;
    let client = Client::try_from(config).map_err(|error| failed("client", error))?;
    let mut findings = Vec::new();
    let cluster = Cluster::read(&client, &mut findings).await?;
    let options =
        Options { controller_name: controller_name.to_owned(), now: Some(now.as_second()), runtime: None };
    let compiled = compile(&cluster.resources, &options);
    let before = findings.len();
    for (object, status) in &compiled.statuses {
        let live = cluster.statuses.get(&(object.kind, object.name.clone())).unwrap_or(&Value::Null);
        findings.extend(wrong(object, status.generation, live, controller_name));
    }
    for (name, fleet) in &cluster.resources.gateway_fleets {
        let live = cluster.statuses.get(&("GatewayFleet", name.clone())).unwrap_or(&Value::Null);
        findings.extend(by_cpu_only(name, &fleet.spec, live));
    }
    if findings.len() == before {
        let found = format!("nothing wrong with {} objects of ours", compiled.statuses.len());
        findings.push(Check::new("resources", true, found, ""));
    }
    findings.extend(certificates(&compiled.snapshot, now));
    findings.extend(workloads(&client).await?);
    findings.extend(scaling(&client).await?);
    Ok(findings)
}

fn failed(what: &str, error: kube::Error) -> Error {
    Error::Api { what: what.to_owned(), error: Box::new(error) }
}

/// What there is.
#[derive(Default)]
struct Cluster {
    resources: Resources,
    statuses: BTreeMap<(&'static str, ObjectName), Value>,
}

impl Cluster {
    async fn read(client: &Client, findings: &mut Vec<Check>) -> Result<Self, Error> {
        let mut cluster = Self::default();
        let mut missing = Vec::new();
        for (kind, resource) in Resources::apis() {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = match api.list(&ListParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    missing.push(kind);
                    continue;
                }
                list => list.map_err(|error| failed(kind, error))?,
            };
            for object in list {
                let (name, mut object) = (name(&object), json(object));
                let status = object.as_object_mut().and_then(|object| object.remove("status"));
                cluster.statuses.insert((kind, name.clone()), status.unwrap_or_default());
                if let Err(error) = cluster.resources.put(kind, &name, object) {
                    let found = format!("{kind} {name} does not fit its type: {error}");
                    findings.push(Check::new("resources", false, found, "upgrade the chart turnpike-crds"));
                }
            }
        }
        let found = match missing.as_slice() {
            [] => "every kind is known to the API server".to_owned(),
            missing => format!("the API server does not know {}", missing.join(", ")),
        };
        let cure = "install or upgrade the chart turnpike-crds";
        findings.push(Check::new("definitions", missing.is_empty(), found, cure));
        Ok(cluster)
    }
}

/// What an object's status says that is not well.
fn wrong(object: &ObjectRef, generation: Option<i64>, live: &Value, controller: &str) -> Vec<Check> {
    let name = format!("{} {}", object.kind, object.name);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut conditions = list(&live["conditions"]);
    conditions.extend(list(&live["listeners"]).iter().flat_map(|entry| list(&entry["conditions"])));
    let entries = list(&live["parents"]).into_iter().chain(list(&live["ancestors"]));
    let ours = entries.filter(|entry| entry["controllerName"] == controller);
    conditions.extend(ours.flat_map(|entry| list(&entry["conditions"])));
    if conditions.is_empty() {
        // Nothing is attached to it, or nobody has looked at it.
        return Vec::new();
    }
    let late = generation.is_some_and(|generation| {
        conditions.iter().any(|told| told["observedGeneration"].as_i64().is_some_and(|at| at < generation))
    });
    let mut findings = Vec::new();
    if late {
        let cure = "look at the operator's log; it writes statuses within a second";
        findings.push(Check::new(
            "resources",
            false,
            format!("{name}: its status is of an older generation"),
            cure,
        ));
    }
    for told in conditions.iter().filter(|told| is_bad(told)) {
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        let found = format!(
            "{name}: {} is {} ({}): {}",
            text("type"),
            text("status"),
            text("reason"),
            text("message")
        );
        findings.push(Check::new("resources", false, found, "correct what the message names"));
    }
    findings.dedup();
    findings
}

fn is_bad(condition: &Value) -> bool {
    let status = condition["status"].as_str().unwrap_or_default();
    match condition["type"].as_str().unwrap_or_default() {
        "Accepted" | "ResolvedRefs" | "Programmed" => status != "True",
        "PartiallyInvalid" | "Conflicted" | "OverlappingTLSConfig" | "InsecureFrontendValidationMode" => {
            status == "True"
        }
        _ => false,
    }
}

/// Operators and analytics.
async fn workloads(client: &Client) -> Result<Vec<Check>, Error> {
    let operators = ApiResource::erase::<Deployment>(&());
    let analytics = ApiResource::erase::<StatefulSet>(&());
    let mut checks = Vec::new();
    for (what, resource, name, cure) in [
        (
            "operators",
            operators,
            "turnpike-operator",
            "install the chart turnpike, or look at the log of its operator",
        ),
        (
            "analytics",
            analytics,
            "turnpike-analytics",
            "install the chart turnpike, or look at the log of analytics",
        ),
    ] {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let list = api.list(&named).await.map_err(|error| failed(&resource.kind, error))?;
        let sum = |field: &str| list.iter().filter_map(|found| found.data.pointer(field)?.as_i64()).sum();
        let (ready, wanted): (i64, i64) = (sum("/status/readyReplicas"), sum("/spec/replicas"));
        let found = format!("{ready} of {wanted} are ready");
        checks.push(Check::new(what, wanted > 0 && ready >= wanted, found, cure));
    }
    Ok(checks)
}

/// A fleet that is to scale by its requests and does not, as its status says.
fn by_cpu_only(name: &ObjectName, spec: &GatewayFleetSpec, live: &Value) -> Option<Check> {
    spec.autoscaling.as_ref().filter(|scaling| scaling.by_requests())?;
    let accepted = live["conditions"].as_array()?.iter().find(|told| told["type"] == "Accepted")?;
    let message = accepted["message"].as_str().filter(|text| text.contains("external.metrics.k8s.io"))?;
    let cure = "remove what else serves external.metrics.k8s.io (kubectl get apiservice v1beta1.external.metrics.k8s.io), or scale by CPU";
    Some(Check::new("scaling", false, format!("GatewayFleet {name}: {message}"), cure))
}

/// Whether fleets that are to scale can.
async fn scaling(client: &Client) -> Result<Vec<Check>, Error> {
    let api: Api<HorizontalPodAutoscaler> = Api::all(client.clone());
    let ours = api
        .list(&ListParams::default().labels(OURS))
        .await
        .map_err(|error| failed("HorizontalPodAutoscaler", error))?;
    let mut findings = Vec::new();
    for scaler in ours {
        let status = scaler.status.unwrap_or_default();
        let active = status.conditions.into_iter().flatten().find(|told| told.type_ == "ScalingActive");
        let Some(told) = active.filter(|told| told.status == "False") else { continue };
        let name = format!(
            "{}/{}",
            scaler.metadata.namespace.unwrap_or_default(),
            scaler.metadata.name.unwrap_or_default()
        );
        let found = format!("{name} does not scale: {}", told.message.unwrap_or_default());
        let cure = "install metrics-server, and request CPU in the resources of the GatewayFleet";
        findings.push(Check::new("scaling", false, found, cure));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests;
