//! What is wrong in a cluster, where, and the cure: read once, changed nothing.
//!
//! In: what an API server says. Out: findings on definitions, objects, certificates, operators, analytics and scaling.

use std::collections::BTreeMap;

use crds::k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use crds::k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use operator_compile::resources::{ObjectName, Resources};
use operator_compile::{ObjectRef, Options, compile};
use serde_json::Value;

use crate::watch::{json, name};
use crate::{Error, OURS};

/// Certificates that end within this many days are wrong.
const CERTIFICATE_DAYS: i64 = 21;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Of what it is.
    pub what: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do when it is not well.
    pub cure: &'static str,
}

impl Finding {
    fn new(what: &'static str, ok: bool, found: impl Into<String>, cure: &'static str) -> Self {
        Self { what, ok, found: found.into(), cure }
    }
}

/// Looks at the cluster of the environment, as of `now`.
///
/// # Errors
/// When there is no cluster, or it does not let us read.
pub async fn examine(controller_name: &str, now: Timestamp) -> Result<Vec<Finding>, Error> {
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
    if findings.len() == before {
        let found = format!("nothing wrong with {} objects of ours", compiled.statuses.len());
        findings.push(Finding::new("resources", true, found, ""));
    }
    for (key, certificate) in &compiled.snapshot.certificates {
        let days = (certificate.not_after - now.as_second()).div_euclid(86_400);
        let found = format!("{key} (serial {}) ends in {days} days", certificate.serial);
        let cure = "renew the certificate in its Secret";
        findings.push(Finding::new("certificate", days >= CERTIFICATE_DAYS, found, cure));
    }
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
    async fn read(client: &Client, findings: &mut Vec<Finding>) -> Result<Self, Error> {
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
                    findings.push(Finding::new("resources", false, found, "upgrade the chart turnpike-crds"));
                }
            }
        }
        let found = match missing.as_slice() {
            [] => "every kind is known to the API server".to_owned(),
            missing => format!("the API server does not know {}", missing.join(", ")),
        };
        let cure = "install or upgrade the chart turnpike-crds";
        findings.push(Finding::new("definitions", missing.is_empty(), found, cure));
        Ok(cluster)
    }
}

/// What an object's status says that is not well.
fn wrong(object: &ObjectRef, generation: Option<i64>, live: &Value, controller: &str) -> Vec<Finding> {
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
        findings.push(Finding::new(
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
        findings.push(Finding::new("resources", false, found, "correct what the message names"));
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
async fn workloads(client: &Client) -> Result<Vec<Finding>, Error> {
    let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    let operators: Api<Deployment> = Api::all(client.clone());
    let operators =
        operators.list(&named("turnpike-operator")).await.map_err(|error| failed("Deployment", error))?;
    let analytics: Api<StatefulSet> = Api::all(client.clone());
    let analytics =
        analytics.list(&named("turnpike-analytics")).await.map_err(|error| failed("StatefulSet", error))?;
    let operators = operators.iter().map(|found| {
        let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        (ready, found.spec.replicas.unwrap_or(1))
    });
    let analytics = analytics.iter().map(|found| {
        let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        (ready, found.spec.replicas.unwrap_or(1))
    });
    let told = |what, counts: Vec<(i32, i32)>, cure| {
        let (ready, wanted) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let ok = wanted > 0 && ready >= wanted;
        Finding::new(what, ok, format!("{ready} of {wanted} are ready"), cure)
    };
    Ok(vec![
        told(
            "operators",
            operators.collect(),
            "install the chart turnpike, or look at the log of its operator",
        ),
        told("analytics", analytics.collect(), "install the chart turnpike, or look at the log of analytics"),
    ])
}

/// Whether fleets that are to scale can.
async fn scaling(client: &Client) -> Result<Vec<Finding>, Error> {
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
        findings.push(Finding::new("scaling", false, found, cure));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests;
