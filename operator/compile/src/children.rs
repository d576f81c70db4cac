//! Fleets → Kubernetes objects (GEP-1762): what one Gateway's processes need in a cluster.
//!
//! In: a Gateway with its GatewayFleet, and the snapshot that its processes serve. Out: objects to apply as they are, with
//! only the fields that we own. Names and selectors never change while the Gateway lives; a changed listener changes the
//! Service and nothing that would restart a process.

mod certificates;

use std::collections::{BTreeMap, BTreeSet};

use crds::gateway_api::{Gateway, GatewayInfrastructure, ListenerSet};
use crds::gateway_fleet::{GatewayFleetSpec, ServiceType};
use gateway_snapshot::{Snapshot, UNPRIVILEGED};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::listener::{CompiledGateway, Gateways};
use crate::options::Runtime;
use crate::resources::ObjectName;
use crate::world::World;

/// Longest name of a Service and longest value of a label (RFC 1123), bytes.
const MAX_LABEL: usize = 63;
/// Port of health, metrics and status in a Pod. No listener is there: sockets of ports below 1024 begin above it.
pub const ADMIN_PORT: u16 = 64_512;
/// External metric: requests in a second over the whole fleet that [`FLEET_LABEL`] names.
pub const REQUESTS_PER_SECOND: &str = "turnpike_requests_per_second";
/// External metric: requests that run, likewise.
pub const REQUESTS_IN_FLIGHT: &str = "turnpike_requests_in_flight";
/// Label of external metrics: what follows the namespace in a [`crate::Fleet::key`]. The namespace is the one that is
/// asked about.
pub const FLEET_LABEL: &str = "fleet";
/// Before the name of a fleet of merged Gateways in its key. No Gateway's name has an underscore.
pub(crate) const MERGED: &str = "merged_";
/// How long a Pod that ends goes on accepting, until balancers have noticed, in seconds.
const DRAIN_DELAY: u64 = 5;
/// How long a Pod that ends hands its usage over, in seconds: its spool ends with it.
const HANDOVER: u64 = 60;
/// For the rest of its end, in seconds.
const LAST: u64 = 5;
/// Name of the volume with the spool.
const STATE: &str = "state";
/// User and group of the process.
const USER: u32 = 65_532;

/// An object to apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Kind.
    pub kind: &'static str,
    /// The object.
    pub object: Value,
}

/// The objects of the fleet of some Gateways, the oldest first.
pub(crate) fn children(
    world: &World<'_>,
    (compiled, all): (&[&CompiledGateway], &Gateways),
    snapshot: &Snapshot,
    runtime: &Runtime,
) -> Vec<Child> {
    let Some(first) = compiled.first() else { return Vec::new() };
    let parameters = first.fleet.as_ref().and_then(|name| world.resources.gateway_fleets.get(name));
    let members = compiled.iter().filter_map(|member| world.resources.gateways.get(&member.name));
    let gateways: Vec<&Gateway> = members.map(|gateway| &**gateway).collect();
    let owner = match parameters {
        Some(fleet) if first.merged => Owner::new(&**fleet),
        _ => Owner::new(gateways[0]),
    };
    let parts = Parts {
        gateways,
        merged: first.merged,
        owner,
        key: key(first),
        spec: parameters.map(|fleet| fleet.spec.clone()).unwrap_or_default(),
        name: name(first),
        ports: snapshot.listeners.values().map(|listener| listener.port).collect(),
        drain_s: snapshot.settings.drain_timeout_ms.div_ceil(1_000),
        runtime,
    };
    let mut children = vec![
        parts.child("ServiceAccount", "v1", json!({"automountServiceAccountToken": false})),
        parts.child(parts.workload(), "apps/v1", parts.processes()),
        parts.child("PodDisruptionBudget", "policy/v1", parts.disruption()),
        parts.child("NetworkPolicy", "networking.k8s.io/v1", parts.network()),
    ];
    if !parts.ports.is_empty() {
        children.push(parts.child("Service", "v1", parts.service()));
    }
    if let Some(scaler) = parts.scaler() {
        children.push(parts.child("HorizontalPodAutoscaler", "autoscaling/v2", scaler));
    }
    if runtime.certificates {
        children.extend(parts.certificates(&sets(world, compiled, all)));
    }
    children
}

/// ListenerSets of which listeners belong to these Gateways.
fn sets<'a>(world: &World<'a>, compiled: &[&CompiledGateway], all: &Gateways) -> Vec<&'a ListenerSet> {
    let ours = |gateway: &ObjectName| compiled.iter().any(|member| member.name == *gateway);
    let theirs = all.listeners.iter().filter(|listener| ours(&listener.gateway));
    let names: BTreeSet<&ObjectName> = theirs.filter_map(|listener| listener.set.as_ref()).collect();
    let found = names.into_iter().filter_map(|name| world.resources.listener_sets.get(name));
    found.map(|set| &**set).collect()
}

/// Key of the fleet of a Gateway, see [`crate::Fleet::key`].
pub(crate) fn key(gateway: &CompiledGateway) -> String {
    let (owner, _) = gateway.owner();
    if gateway.merged {
        format!("{}/{MERGED}{}", owner.name.namespace, name(gateway))
    } else {
        owner.name.to_string()
    }
}

/// Name of the objects of a Gateway's fleet: `gateway-class` (GEP-1762), as a name that a Service can have. A merged one is
/// called after its GatewayFleet, and not as a Gateway's of that name.
pub(crate) fn name(gateway: &CompiledGateway) -> String {
    let (owner, class) = gateway.owner();
    let mut whole = format!("{}-{class}", owner.name.name).replace('.', "-");
    if !whole.starts_with(|first: char| first.is_ascii_lowercase()) {
        whole.insert_str(0, "gw-");
    }
    // With what makes a key of it, a merged one's is a label, too.
    let (prefix, room) = if gateway.merged { (MERGED, MAX_LABEL - MERGED.len()) } else { ("", MAX_LABEL) };
    shortened(&whole, &format!("{prefix}{}-{class}", owner.name.name), room)
}

/// `text`, cut and with a hash of `identity` when it is longer than `room` or differs from it.
fn shortened(text: &str, identity: &str, room: usize) -> String {
    if text == identity && text.len() <= room {
        return text.to_owned();
    }
    let hash = format!("{:08x}", xxh3_64(identity.as_bytes()) as u32);
    let kept = text.get(..room - 9).unwrap_or(text).trim_end_matches('-');
    format!("{kept}-{hash}")
}

/// Where objects are, and to what they belong: the cluster deletes them with it.
struct Owner {
    namespace: Option<String>,
    reference: Value,
}

impl Owner {
    fn new<K: kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        let metadata = object.meta();
        let reference = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "name": metadata.name,
            "uid": metadata.uid,
            "controller": true,
        });
        Self { namespace: metadata.namespace.clone(), reference }
    }

    fn write(&self, metadata: &mut Value) {
        metadata["namespace"] = json!(self.namespace);
        metadata["ownerReferences"] = json!([self.reference]);
    }
}

/// Socket of a listener's port in a Pod.
fn socket(port: u16) -> u16 {
    if port < 1024 { port + UNPRIVILEGED } else { port }
}

struct Parts<'a> {
    /// Whom it serves, the oldest first.
    gateways: Vec<&'a Gateway>,
    merged: bool,
    owner: Owner,
    key: String,
    spec: GatewayFleetSpec,
    name: String,
    ports: BTreeSet<u16>,
    drain_s: u64,
    runtime: &'a Runtime,
}

impl Parts<'_> {
    /// `body` with kind, names and the owner.
    fn child(&self, kind: &'static str, api: &str, mut body: Value) -> Child {
        body["apiVersion"] = api.into();
        body["kind"] = kind.into();
        body["metadata"] =
            json!({"name": self.name, "labels": self.labels(), "annotations": self.annotations()});
        self.owner.write(&mut body["metadata"]);
        Child { kind, object: body }
    }

    /// Those of the Gateways, and of `sets` of theirs: each belongs to the object that asks for it.
    fn certificates(&self, sets: &[&ListenerSet]) -> Vec<Child> {
        let gateways = self
            .gateways
            .iter()
            .map(|gateway| (Owner::new(*gateway), &gateway.metadata, &gateway.spec.listeners));
        let sets = sets.iter().map(|set| (Owner::new(*set), &set.metadata, &set.spec.listeners));
        let mut children = Vec::new();
        for (owner, metadata, listeners) in gateways.chain(sets) {
            for (name, spec) in certificates::certificates(metadata, listeners) {
                let mut child = self.child("Certificate", "cert-manager.io/v1", json!({"spec": spec}));
                owner.write(&mut child.object["metadata"]);
                child.object["metadata"]["name"] = name.into();
                children.push(child);
            }
        }
        children
    }

    /// What tells the Pods of this fleet from all others.
    fn selector(&self) -> Value {
        json!({"turnpike.dev/fleet": self.name})
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.infrastructure().map(|infra| infra.labels.clone()).unwrap_or_default();
        if let Some(name) = self.only().and_then(|gateway| gateway.metadata.name.as_deref()) {
            let name = shortened(name, name, MAX_LABEL);
            labels.insert("gateway.networking.k8s.io/gateway-name".to_owned(), name);
        }
        let class = &self.gateways[0].spec.gateway_class_name;
        let ours = [
            ("gateway.networking.k8s.io/gateway-class-name", shortened(class, class, MAX_LABEL)),
            ("app.kubernetes.io/name", "turnpike-gateway".to_owned()),
            ("app.kubernetes.io/managed-by", "turnpike".to_owned()),
            ("turnpike.dev/fleet", self.name.clone()),
        ];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
        labels
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        self.infrastructure().map(|infra| infra.annotations.clone()).unwrap_or_default()
    }

    /// The Gateway, where it is not one of several.
    fn only(&self) -> Option<&Gateway> {
        self.gateways.first().filter(|_| !self.merged).copied()
    }

    fn infrastructure(&self) -> Option<&GatewayInfrastructure> {
        self.only()?.spec.infrastructure.as_ref()
    }

    /// What runs the Pods: where each has a volume, that stays with its number.
    fn workload(&self) -> &'static str {
        if self.spec.spool.volume.is_some() { "StatefulSet" } else { "Deployment" }
    }

    fn processes(&self) -> Value {
        let mut spec = json!({
            "selector": {"matchLabels": self.selector()},
            "template": {
                "metadata": {"labels": self.labels(), "annotations": self.annotations()},
                "spec": self.pod(),
            },
        });
        if let Some(volume) = &self.spec.spool.volume {
            spec["podManagementPolicy"] = "Parallel".into();
            spec["updateStrategy"] = json!({"type": "RollingUpdate"});
            let mut claim = json!({
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": volume.size}},
            });
            if let Some(class) = &volume.storage_class {
                claim["storageClassName"] = class.as_str().into();
            }
            spec["volumeClaimTemplates"] = json!([{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": STATE}, "spec": claim,
            }]);
        } else {
            // A new process serves before an old one goes.
            spec["strategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        }
        // Where something scales, the number is not ours.
        if self.spec.autoscaling.is_none() {
            spec["replicas"] = self.spec.replicas.into();
        }
        json!({"spec": spec})
    }

    fn pod(&self) -> Value {
        let mut volumes = vec![json!({
            "name": "identity",
            "secret": {"secretName": format!("{}-identity", self.name), "defaultMode": 0o440},
        })];
        if self.spec.spool.volume.is_none() {
            volumes.insert(0, json!({"name": STATE, "emptyDir": {}}));
        }
        json!({
            "serviceAccountName": self.name,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": DRAIN_DELAY + self.drain_s + HANDOVER + LAST,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            // Over nodes, and where there are zones over these. As a second constraint, zones would make the scheduler
            // forget both on nodes that are in none.
            "topologySpreadConstraints": [self.apart("kubernetes.io/hostname", json!({
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
            }))],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "podAffinityTerm": self.apart("topology.kubernetes.io/zone", json!({})),
            }]}},
            "containers": [self.container()],
            "volumes": volumes,
        })
    }

    /// `rule` for Pods of this fleet in one domain of a topology. Only those of the same revision count: ones that are being
    /// replaced must not push all of the new ones elsewhere.
    fn apart(&self, topology: &str, mut rule: Value) -> Value {
        let revision = match self.workload() {
            "StatefulSet" => "controller-revision-hash",
            _ => "pod-template-hash",
        };
        rule["topologyKey"] = topology.into();
        rule["labelSelector"] = json!({"matchLabels": self.selector()});
        rule["matchLabelKeys"] = json!([revision]);
        rule
    }

    fn container(&self) -> Value {
        let probe = |path: &str| json!({"path": path, "port": ADMIN_PORT});
        json!({
            "name": "gateway",
            "image": self.runtime.image,
            "imagePullPolicy": "IfNotPresent",
            "args": self.arguments(),
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "TURNPIKE_TOKEN", "valueFrom": {"secretKeyRef": {"name": format!("{}-identity", self.name), "key": "token"}}},
            ],
            "ports": [{"name": "admin", "containerPort": ADMIN_PORT}],
            "startupProbe": {"httpGet": probe("/readyz"), "periodSeconds": 1, "failureThreshold": 120},
            "readinessProbe": {"httpGet": probe("/readyz"), "periodSeconds": 1, "failureThreshold": 1},
            "livenessProbe": {"httpGet": probe("/healthz"), "periodSeconds": 10, "failureThreshold": 6},
            "resources": {"requests": self.spec.resources.requests, "limits": self.spec.resources.limits},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": STATE, "mountPath": "/var/lib/turnpike"},
                {"name": "identity", "mountPath": "/var/run/turnpike/identity", "readOnly": true},
            ],
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "gateway".to_owned(),
            format!("--operator={}", self.runtime.operator),
            format!("--fleet={}", self.key),
            "--replica=$(POD_NAME)".to_owned(),
            "--identity=/var/run/turnpike/identity".to_owned(),
            "--state=/var/lib/turnpike".to_owned(),
            format!("--listen=[::]:{ADMIN_PORT}"),
            "--bind=::".to_owned(),
            "--unprivileged-ports".to_owned(),
            format!("--drain-delay={DRAIN_DELAY}"),
            format!("--handover={HANDOVER}"),
        ];
        arguments.extend(self.runtime.analytics.iter().map(|url| format!("--analytics={url}")));
        arguments
    }

    fn service(&self) -> Value {
        let kind = self.spec.service.r#type;
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| json!({"name": format!("port-{port}"), "port": port, "targetPort": socket(*port), "protocol": "TCP"}))
            .collect();
        let mut spec = json!({
            "type": kind,
            "selector": self.selector(),
            "ports": ports,
            "ipFamilyPolicy": "PreferDualStack",
        });
        let addresses = self.gateways.iter().flat_map(|gateway| &gateway.spec.addresses);
        let wanted = addresses.into_iter().find_map(|address| {
            let ip = address.r#type.as_deref().unwrap_or("IPAddress") == "IPAddress";
            address.value.as_deref().filter(|value| ip && !value.is_empty())
        });
        if let (ServiceType::LoadBalancer, Some(address)) = (kind, wanted) {
            spec["loadBalancerIP"] = address.into();
        }
        json!({"spec": spec})
    }

    fn disruption(&self) -> Value {
        json!({"spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": self.selector()},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }})
    }

    /// Callers reach listeners; metrics and health are where everybody expects them; nothing else is open.
    fn network(&self) -> Value {
        let sockets = self.ports.iter().map(|port| socket(*port)).chain([ADMIN_PORT]);
        let ports: Vec<Value> = sockets.map(|port| json!({"protocol": "TCP", "port": port})).collect();
        json!({"spec": {
            "podSelector": {"matchLabels": self.selector()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": ports}],
        }})
    }

    fn scaler(&self) -> Option<Value> {
        let scaling = self.spec.autoscaling.as_ref()?;
        let mut metrics = vec![json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent}},
        })];
        let wanted = [
            (REQUESTS_PER_SECOND, scaling.requests_per_second),
            (REQUESTS_IN_FLIGHT, scaling.requests_in_flight),
        ];
        for (name, most) in wanted.into_iter().filter(|_| self.runtime.external_metrics) {
            let fleet = self.key.split_once('/').map_or(&*self.key, |(_, fleet)| fleet);
            let selector = json!({"matchLabels": {FLEET_LABEL: fleet}});
            metrics.extend(most.map(|most| {
                json!({"type": "External", "external": {
                    "metric": {"name": name, "selector": selector},
                    "target": {"type": "AverageValue", "averageValue": most.to_string()},
                }})
            }));
        }
        Some(json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": self.workload(), "name": self.name},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": metrics,
        }}))
    }
}
