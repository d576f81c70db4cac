//! grpc-go's interop client and server, with the gateway between them: every case passes, and each call has one record
//! with its gRPC status. Each case calls with the key of a consumer of its own, so that its records can be told apart.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tests::shop::{self, Caller};
use tests::{Machine, Setup, eventually, free_port};

use crate::partner::{Partner, STORED_WITHIN, built};
use crate::resources;

const UNARY: &str = "TestService/UnaryCall";
const DUPLEX: &str = "TestService/FullDuplexCall";
const UPLOAD: &str = "TestService/StreamingInputCall";

/// A case of the interop suite.
struct Case {
    name: &'static str,
    /// Its consumer: the name as Kubernetes wants names.
    consumer: &'static str,
    /// Method and gRPC status of each call, in any order.
    calls: &'static [(&'static str, i16)],
    /// The caller gives up at once, so that a call may end before it has reached the gateway, or anyone.
    hasty: bool,
}

const fn case(name: &'static str, consumer: &'static str, calls: &'static [(&'static str, i16)]) -> Case {
    Case { name, consumer, calls, hasty: false }
}

const fn hasty(name: &'static str, consumer: &'static str, calls: &'static [(&'static str, i16)]) -> Case {
    Case { name, consumer, calls, hasty: true }
}

const CASES: [Case; 14] = [
    case("empty_unary", "empty-unary", &[("TestService/EmptyCall", 0)]),
    case("large_unary", "large-unary", &[(UNARY, 0)]),
    case("client_streaming", "client-streaming", &[(UPLOAD, 0)]),
    case("server_streaming", "server-streaming", &[("TestService/StreamingOutputCall", 0)]),
    case("ping_pong", "ping-pong", &[(DUPLEX, 0)]),
    case("empty_stream", "empty-stream", &[(DUPLEX, 0)]),
    case("status_code_and_message", "status-code", &[(UNARY, 2), (DUPLEX, 2)]),
    case("special_status_message", "special-status", &[(UNARY, 2)]),
    case("unimplemented_method", "unimplemented-method", &[("TestService/UnimplementedCall", 12)]),
    case("unimplemented_service", "unimplemented-service", &[("UnimplementedService/UnimplementedCall", 12)]),
    hasty("cancel_after_begin", "cancel-begin", &[(UPLOAD, 1)]),
    case("cancel_after_first_response", "cancel-first", &[(DUPLEX, 1)]),
    hasty("timeout_on_sleeping_server", "timeout", &[(DUPLEX, 1), (DUPLEX, 4)]),
    case("custom_metadata", "custom-metadata", &[(UNARY, 0), (DUPLEX, 0)]),
];

#[derive(Debug, Deserialize)]
struct Row {
    consumer: String,
    path: String,
    grpc_status: i16,
    protocol: String,
    listener: String,
    n: u64,
}

fn callers() -> Vec<Caller> {
    CASES.iter().map(|case| Caller::new(case.consumer, 1_000, "Year")).collect()
}

/// The route, and keys for whoever comes in.
fn route() -> String {
    let plans: Vec<String> = CASES.iter().map(|case| format!("{{ name: {} }}", case.consumer)).collect();
    let plans = plans.join(", ");
    format!(
        r"---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{ name: interop, namespace: shop }}
spec:
  parentRefs: [{{ name: web }}]
  rules:
    - matches:
        - {{ method: {{ service: grpc.testing.TestService }} }}
        - {{ method: {{ service: grpc.testing.UnimplementedService }} }}
      backendRefs: [{{ name: interop, port: 80 }}]
---
apiVersion: turnpike.dev/v1alpha1
kind: AuthPolicy
metadata: {{ name: keys, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: web }}]
---
apiVersion: turnpike.dev/v1alpha1
kind: ApiProduct
metadata: {{ name: shop, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: GRPCRoute, name: interop }}]
  stage: Published
  plans: [{plans}]
"
    )
}

/// Runs a case; what the client printed if it failed.
fn run(client: &Path, name: &str, key: &str, to: &[&str]) -> anyhow::Result<Result<(), String>> {
    let metadata = format!("x-api-key:{key}");
    let output = Command::new("timeout")
        .arg("30")
        .arg(client)
        .args(["--test_case", name, "--additional_metadata", &metadata])
        .args(to)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(text) })
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_go_speaks_with_grpc_go_through_the_gateway() -> anyhow::Result<()> {
    let programs = built("grpc")?;
    let (http, https, backend) = (free_port(), free_port(), free_port());
    let server = Partner::start(&programs.join("server"), &["--port", &backend.to_string()])?;
    let machine = Setup::new()
        .file("gateway.yaml", resources::gateway(http, https, None))
        .file("backend.yaml", resources::service("interop", backend, "kubernetes.io/h2c"))
        .file("route.yaml", route())
        .file("callers.yaml", shop::callers(&callers()))
        .start()?;
    let client = programs.join("client");
    let ca = machine.state().join("ca/ca.pem").display().to_string();
    let (http, https) = (http.to_string(), https.to_string());
    let plain = ["--server_host", "127.0.0.1", "--server_port", &http];
    let tls = [
        "--server_host",
        "localhost",
        "--server_port",
        &https,
        "--use_tls",
        "--use_test_ca",
        "--ca_file",
        &ca,
    ];
    let mut failed = Vec::new();
    for (listener, to) in [("plain", &plain[..]), ("tls", &tls[..])] {
        for (case, caller) in CASES.iter().zip(callers()) {
            if let Err(text) = run(&client, case.name, &caller.key(), to)? {
                failed.push(format!("{} by {listener}: {text}", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), machine.logs());

    // A refusal is an answer in gRPC's own words.
    let refused = run(&client, "empty_unary", "not-a-key", &plain)?.expect_err("a wrong key does not pass");
    assert!(refused.contains("Unauthenticated"), "{refused}");
    drop(server);
    check_records(&machine).await
}

async fn check_records(machine: &Machine) -> anyhow::Result<()> {
    let sure: usize = CASES.iter().filter(|case| !case.hasty).map(|case| 2 * case.calls.len()).sum();
    let rows = eventually("every call has its record", STORED_WITHIN, || async {
        let rows: Vec<Row> = machine
            .query(
                "SELECT consumer, path, grpc_status, protocol, listener, toUInt64(n) AS n \
                 FROM turnpike.usage_records WHERE consumer != ''",
            )
            .await
            .map_err(|error| format!("{error:#}"))?;
        let hasty = |row: &&Row| CASES.iter().any(|case| case.hasty && row.consumer.ends_with(case.consumer));
        let there = rows.len() - rows.iter().filter(hasty).count();
        if there >= sure { Ok(rows) } else { Err(format!("{there} of {sure}")) }
    })
    .await;
    for case in &CASES {
        for listener in ["http", "https"] {
            let mut calls = BTreeMap::<(&str, i16), u64>::new();
            let name = format!("shop/{}", case.consumer);
            for row in rows.iter().filter(|row| row.consumer == name && row.listener.ends_with(listener)) {
                assert_eq!(row.protocol, "grpc", "{row:?}");
                let method = row.path.trim_start_matches("/grpc.testing.");
                *calls.entry((method, row.grpc_status)).or_default() += row.n;
            }
            let wanted: BTreeMap<_, _> = case.calls.iter().map(|call| (*call, 1)).collect();
            if case.hasty {
                let known =
                    calls.keys().all(|call| wanted.contains_key(call)) && calls.values().sum::<u64>() <= 1;
                assert!(known, "{} by {listener}: {calls:?}", case.name);
            } else {
                assert_eq!(calls, wanted, "{} by {listener}", case.name);
            }
        }
    }
    let refused =
        "SELECT toUInt64(sum(n)) FROM turnpike.usage_records WHERE grpc_status = 16 AND consumer = ''";
    eventually("the refusal has its record", STORED_WITHIN, || async {
        match machine.number(refused).await {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    Ok(())
}
