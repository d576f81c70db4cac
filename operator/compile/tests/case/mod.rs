//! Golden cases as resources, and single objects as JSON, for every test of the whole compiler.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; a broken case must stop it")]

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use analytics_record::NameId;
use gateway_pipeline::Prepared;
use gateway_snapshot::Snapshot;
use operator_compile::resources::{self, Diagnostic, Object, ObjectName, Origin, Resources};
use operator_compile::{Options, Runtime};
use serde_json::Value;

/// 2027-01-15: the present in every case.
const NOW: i64 = 1_800_000_000;

/// One folder of `testdata`.
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    pub(crate) resources: Resources,
    pub(crate) lines: Vec<Diagnostic>,
    pub(crate) options: Options,
}

/// All cases, in order of their names.
pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

/// A line `# separate processes` compiles each Gateway for a process of its own. Objects in `unchecked.yaml` skip
/// the schema: an API server that was upgraded may hold such objects.
fn read(path: PathBuf) -> Case {
    let text = fs::read_to_string(path.join("in.yaml")).unwrap();
    let runtime = text.contains("# separate processes").then(|| Runtime {
        image: "turnpike-gateway:1".to_owned(),
        operator: "https://operator:9443".to_owned(),
        analytics: Some("https://analytics:9443".to_owned()),
        certificates: true,
        external_metrics: text.contains("# external metrics"),
    });
    let options = Options { now: Some(NOW), runtime, ..Options::default() };
    let (mut resources, lines) = resources::read(&[("in.yaml".to_owned(), text)]);
    for document in fs::read_to_string(path.join("unchecked.yaml")).unwrap_or_default().split("---\n") {
        if document.trim().is_empty() {
            continue;
        }
        let raw: Value = serde_saphyr::from_str(document).unwrap();
        let field = |name: &str| raw["metadata"][name].as_str().unwrap_or_default().to_owned();
        let (kind, name) =
            (raw["kind"].as_str().unwrap(), ObjectName::new(field("namespace"), field("name")));
        assert!(put(&mut resources, kind, &name, &raw), "{} {kind} {name}", path.display());
    }
    Case { path, resources, lines, options }
}

/// A gateway takes the snapshot: nothing that one object says may keep it from all the others.
pub(crate) fn assert_servable(snapshot: &Snapshot, at: &dyn Display) {
    let prepared = Prepared::new(snapshot, None, &mut |_| NameId::NONE);
    if let Err(findings) = prepared {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{at}: {findings:#?}");
    }
}

macro_rules! kinds {
    ($($kind:literal = $field:ident,)+) => {
        /// Every object as kind, name and JSON.
        pub(crate) fn objects(resources: &Resources) -> Vec<(&'static str, ObjectName, Value)> {
            let mut all = Vec::new();
            $(for (name, object) in &resources.$field {
                all.push(($kind, name.clone(), serde_json::to_value(&**object).unwrap()));
            })+
            all
        }

        /// Puts an object in place of the one of its name; `false` when it does not fit the type.
        pub(crate) fn put(resources: &mut Resources, kind: &str, name: &ObjectName, raw: &Value) -> bool {
            let origin = Origin { file: "unchecked.yaml".to_owned(), line: 1 };
            let mut raw = raw.clone();
            // The map's key and the object's metadata always agree, as the reader promises.
            let Some(meta) = raw.get_mut("metadata").and_then(Value::as_object_mut) else { return false };
            meta.insert("name".to_owned(), name.name.clone().into());
            if !name.namespace.is_empty() {
                meta.insert("namespace".to_owned(), name.namespace.clone().into());
            }
            match kind {
                $($kind => serde_json::from_value(raw).is_ok_and(|value| {
                    resources.$field.insert(name.clone(), Object::new(origin, value));
                    true
                }),)+
                _ => false,
            }
        }

        /// Takes an object away.
        pub(crate) fn take(resources: &mut Resources, kind: &str, name: &ObjectName) {
            match kind {
                $($kind => drop(resources.$field.remove(name)),)+
                _ => {}
            }
        }
    };
}

kinds! {
    "GatewayClass" = gateway_classes,
    "Gateway" = gateways,
    "ListenerSet" = listener_sets,
    "HTTPRoute" = http_routes,
    "GRPCRoute" = grpc_routes,
    "ReferenceGrant" = reference_grants,
    "BackendTLSPolicy" = backend_tls_policies,
    "XBackend" = backends,
    "XTelemetryPolicy" = telemetry_policies,
    "Secret" = secrets,
    "Service" = services,
    "EndpointSlice" = endpoint_slices,
    "ConfigMap" = config_maps,
    "Namespace" = namespaces,
    "GatewayFleet" = gateway_fleets,
    "Consumer" = consumers,
    "Plan" = plans,
    "ApiProduct" = api_products,
    "Subscription" = subscriptions,
    "AuthPolicy" = auth_policies,
    "RateLimitPolicy" = rate_limit_policies,
    "QuotaPolicy" = quota_policies,
    "AlertPolicy" = alert_policies,
    "TransformPolicy" = transform_policies,
}
