//! GatewayFleet: parameters of a GatewayClass or Gateway.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, ObjectStatus};

/// How the gateways of a GatewayClass or Gateway behave. Refer to it from `parametersRef` of a GatewayClass, or
/// from `infrastructure.parametersRef` of a Gateway.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "GatewayFleet",
    namespaced,
    status = "ObjectStatus",
    derive = "PartialEq",
    shortname = "gwfleet",
    category = "turnpike",
    doc = "How the gateways of a GatewayClass or Gateway behave.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayFleetSpec {
    /// In a cluster, all Gateways of one GatewayClass with this GatewayFleet share one fleet, in its namespace, with one
    /// address. Hostnames tell their listeners apart; what two Gateways claim is the older one's, and so is a static
    /// address. Their own labels and annotations for infrastructure are not used.
    pub merge_gateways: bool,
    /// Sizes that a gateway accepts; each has a default and none is infinite.
    pub limits: Limits,
    /// Times that a gateway waits; each has a default and none is infinite.
    pub timeouts: Timeouts,
    /// Addresses (CIDR) of proxies in front of the gateway, whose `X-Forwarded-*` and `X-Request-Id` fields are
    /// believed. Nobody's when empty.
    #[schemars(
        length(max = 256),
        inner(length(min = 3, max = 49), regex(pattern = r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"))
    )]
    pub trusted_proxies: Vec<String>,
    /// The short path of plain exchanges.
    pub fast_path: FastPath,
    /// One line for each request on standard output.
    pub access_log: AccessLog,
    /// Signals besides metrics, which are always there.
    pub telemetry: Telemetry,
    /// How many gateways run in a cluster when nothing scales them.
    #[schemars(range(max = 1_000))]
    pub replicas: u32,
    /// Scaling in a cluster; without it, `replicas` run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What each gateway asks of its node, and may take at most.
    pub resources: Resources,
    /// How a cluster makes the gateways reachable.
    pub service: ServiceSettings,
    /// Where each gateway in a cluster keeps usage that is not handed over yet.
    pub spool: Spool,
}

impl Default for GatewayFleetSpec {
    fn default() -> Self {
        Self {
            merge_gateways: false,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            trusted_proxies: Vec::new(),
            fast_path: FastPath::default(),
            access_log: AccessLog::default(),
            telemetry: Telemetry::default(),
            replicas: 1,
            autoscaling: None,
            resources: Resources::default(),
            service: ServiceSettings::default(),
            spool: Spool::default(),
        }
    }
}

/// Between how many gateways a cluster scales, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.minReplicas <= self.maxReplicas",
    "message": "minReplicas must not be above maxReplicas",
}]))]
pub struct Autoscaling {
    /// Fewest gateways.
    #[schemars(range(min = 1, max = 1_000))]
    pub min_replicas: u32,
    /// Most gateways.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_replicas: u32,
    /// Use of the requested CPU that is aimed at, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: u32,
    /// Requests in a second that each gateway is to have at most; whichever asks for more gateways counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u32>,
    /// Running requests that each gateway is to have at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_in_flight: Option<u32>,
}

impl Autoscaling {
    /// Whether it scales by what gateways tell of their requests.
    pub fn by_requests(&self) -> bool {
        self.requests_per_second.is_some() || self.requests_in_flight.is_some()
    }
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            min_replicas: 1,
            max_replicas: 10,
            cpu_percent: 70,
            requests_per_second: None,
            requests_in_flight: None,
        }
    }
}

/// Where usage waits until analytics has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spool {
    /// A volume for each gateway, which outlives its Pod; the gateways are a StatefulSet then. Without it, what a Pod
    /// cannot hand over within a minute of its end is lost with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// A volume that the cluster provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Size, such as `2Gi`.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub size: String,
    /// StorageClass; the cluster's default one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class: Option<String>,
}

/// CPU and memory in the words of Kubernetes, such as `cpu: 500m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What a node must have left.
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, String>,
    /// What a gateway may take at most.
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, String>,
}

impl Default for Resources {
    fn default() -> Self {
        let requests = [("cpu", "100m"), ("memory", "128Mi")];
        let owned = |(name, quantity): (&str, &str)| (name.to_owned(), quantity.to_owned());
        Self { requests: requests.into_iter().map(owned).collect(), limits: BTreeMap::new() }
    }
}

/// The Service in front of the gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettings {
    /// Type of the Service.
    pub r#type: ServiceType,
}

/// Type of a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable from outside at an address that the cluster's load balancer gives.
    #[default]
    LoadBalancer,
    /// Reachable from outside at a port of every node.
    NodePort,
    /// Reachable from inside the cluster.
    ClusterIP,
}

/// Sizes that a gateway accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Open downstream connections over all listeners.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: u32,
    /// Sum of the lengths of all request header names and values, in bytes.
    #[schemars(range(min = 1_024, max = 1_048_576))]
    pub max_header_bytes: u32,
    /// Number of request header fields.
    #[schemars(range(min = 8, max = 4_096))]
    pub max_headers: u32,
    /// Length of the request target, in bytes.
    #[schemars(range(min = 256, max = 65_536))]
    pub max_uri_bytes: u32,
    /// Request body, in bytes.
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub max_body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_header_bytes: 65_536,
            max_headers: 128,
            max_uri_bytes: 8_192,
            max_body_bytes: 67_108_864,
        }
    }
}

/// Times that a gateway waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// For the TLS handshake, and for each request head.
    pub header: Duration,
    /// For the next request on a downstream keep-alive connection.
    pub idle: Duration,
    /// For a request whose route says nothing else.
    pub request: Duration,
    /// For an upstream connection.
    pub connect: Duration,
    /// For running requests to end after SIGTERM.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: "10s".into(),
            idle: "75s".into(),
            request: "60s".into(),
            connect: "2s".into(),
            drain: "30s".into(),
        }
    }
}

/// The short path of plain exchanges; behaviour is the same without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FastPath {
    /// Use it.
    pub enabled: bool,
}

impl Default for FastPath {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The access log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLog {
    /// Write one JSON object for each request.
    pub enabled: bool,
}

/// Signals besides metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// Spans, by OTLP over HTTP; none when absent. An XTelemetryPolicy on the Gateway takes precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Base URL of an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub endpoint: String,
    /// Share of requests that get a span when the caller did not decide, in thousandths.
    #[serde(default = "default_sampling")]
    #[schemars(range(max = 1000))]
    pub sampling_per_mille: u16,
}

fn default_sampling() -> u16 {
    10
}
