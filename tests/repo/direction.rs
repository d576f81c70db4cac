//! Who may depend on whom (docs/ARCHITECTURE.md), over what cargo itself resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::root;

const PURE: [&str; 8] = [
    "crds",
    "operator-compile",
    "gateway-snapshot",
    "gateway-quota",
    "gateway-pipeline",
    "analytics-record",
    "analytics-ingest",
    "analytics-query",
];
const IMPURE: [&str; 9] = [
    "tokio",
    "mio",
    "hyper",
    "axum",
    "reqwest",
    "clickhouse",
    "kube-client",
    "pingora-core",
    "pingora-proxy",
];
/// Crates used outside their own component.
const CONTRACTS: [&str; 3] = ["gateway-snapshot", "gateway-quota", "analytics-record"];
/// The only crates in which shells of several components meet.
const MEETING: [&str; 2] = ["turnpike", "tests"];
const FORBIDDEN_NAMES: [&str; 5] = ["common", "util", "utils", "types", "core"];

/// Normal (not development) dependencies of every package, by name.
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
            ])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
        let names: BTreeMap<&str, &str> = array(&metadata["packages"])
            .iter()
            .map(|package| (string(&package["id"]), string(&package["name"])))
            .collect();
        let edges = array(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let to = array(&node["deps"])
                    .iter()
                    .filter(|dep| array(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                    .map(|dep| names[string(&dep["pkg"])].to_owned())
                    .collect();
                (names[string(&node["id"])].to_owned(), to)
            })
            .collect();
        let ours =
            array(&metadata["workspace_members"]).iter().map(|id| names[string(id)].to_owned()).collect();
        Self { edges, ours }
    }

    /// Everything that `from` reaches.
    fn reach(&self, from: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            for to in self.edges.get(name).into_iter().flatten() {
                if seen.insert(to.as_str()) {
                    next.push(to);
                }
            }
        }
        seen
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn string(value: &Value) -> &str {
    value.as_str().expect("a string in cargo's output")
}

fn component(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// Everything that a crate reaches when it is built by itself. `cargo metadata` adds up the features that anybody in the
/// workspace asks of a dependency, so that a pure crate would seem to reach what a shell switched on.
fn reached_alone(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            name,
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn pure_crates_reach_no_runtime_or_socket() {
    for name in PURE {
        let reached = reached_alone(name);
        assert!(reached.contains(name), "{name} is not in the workspace");
        let impure: Vec<_> = IMPURE.iter().filter(|impure| reached.contains(**impure)).collect();
        assert!(impure.is_empty(), "{name} is pure, but reaches {impure:?}");
    }
}

#[test]
fn the_gateway_does_not_know_kubernetes() {
    let graph = Graph::read();
    for name in graph.ours.iter().filter(|name| component(name) == "gateway") {
        let reached = graph.reach(name);
        for forbidden in ["crds", "kube", "kube-core", "k8s-openapi"] {
            assert!(!reached.contains(forbidden), "{name} reaches {forbidden}");
        }
    }
}

#[test]
fn only_contracts_cross_components() {
    let graph = Graph::read();
    for (from, to) in graph.edges.iter().filter(|(from, _)| graph.ours.contains(*from)) {
        if MEETING.contains(&from.as_str()) {
            continue;
        }
        for to in to.iter().filter(|to| graph.ours.contains(*to)) {
            // `crds` is its own component, made for `operator`.
            let own = component(from) == component(to) || (component(from) == "operator" && to == "crds");
            assert!(own || CONTRACTS.contains(&to.as_str()), "{from} uses {to}, which is not a contract");
        }
    }
}

#[test]
fn names_say_what_a_crate_is() {
    let graph = Graph::read();
    for name in &graph.ours {
        let last = name.rsplit('-').next().unwrap_or(name);
        assert!(!FORBIDDEN_NAMES.contains(&last), "{name}: call it by what it is for");
    }
}
