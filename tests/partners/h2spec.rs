//! h2spec, strict, against both ways into HTTP/2. What fails is listed in `h2spec-failing.txt` with its reason; the test
//! fails when a case joins that list, and when one leaves it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use tests::{Part, Setup, free_port, program};

use crate::partner::{Partner, between, built};
use crate::resources;

/// `LISTENER | SECTION | CASE | why`, one a line.
const FAILING: &str = include_str!("h2spec-failing.txt");
/// All cases of h2spec 2.2.1, strict ones included.
const CASES: usize = 146;

#[test]
fn both_listeners_speak_http2_as_h2spec_wants_it() -> anyhow::Result<()> {
    let h2spec = built("h2spec")?.join("h2spec");
    let echo = Partner::start(&program()?, &["echo"])?;
    let upstream = echo.line("ready")?;
    let upstream: u16 = between(&upstream, "127.0.0.1:", "\"")?.parse()?;
    let (http, https) = (free_port(), free_port());
    let machine = Setup::new()
        .file("gateway.yaml", resources::gateway(http, https, None))
        .file("upstream.yaml", resources::service("echo", upstream, "http"))
        .file("route.yaml", resources::http_route("all", "/", "echo"))
        .start()?;
    let gateway = machine.part(Part::Gateway);
    let report = machine.state().join("h2spec.xml");
    let mut failing = BTreeSet::new();
    for (listener, args) in
        [("plain", vec!["-p", &http.to_string()]), ("tls", vec!["-t", "-k", "-p", &https.to_string()])]
    {
        let output = Command::new(&h2spec)
            .args(["-S", "-o", "3", "-h", "localhost", "-j"])
            .arg(&report)
            .args(args)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (cases, failed) = read(&report).with_context(|| format!("{text}\n{}", machine.logs()))?;
        assert_eq!(cases, CASES, "h2spec ran other cases than those known here: {text}");
        failing.extend(failed.into_iter().map(|case| format!("{listener} | {case}")));
    }
    assert_eq!(machine.part(Part::Gateway), gateway, "the gateway died of it\n{}", machine.logs());
    let known: BTreeSet<String> = FAILING
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            line.rsplit_once(" | ").map(|(case, _)| case.to_owned()).context("a case without a reason")
        })
        .collect::<anyhow::Result<_>>()?;
    let fresh: Vec<_> = failing.difference(&known).collect();
    assert!(fresh.is_empty(), "these cases fail: {fresh:#?}");
    let cured: Vec<_> = known.difference(&failing).collect();
    assert!(cured.is_empty(), "these cases pass now; take them out of h2spec-failing.txt: {cured:#?}");
    Ok(())
}

/// Number of cases in a JUnit report, and those that did not pass as `SECTION | CASE`.
fn read(report: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let text = std::fs::read_to_string(report)?;
    let cases: Vec<&str> = text.split("<testcase ").skip(1).collect();
    let bad = |case: &&&str| ["<error", "<failure", "<skipped"].iter().any(|mark| case.contains(mark));
    let failed = cases
        .iter()
        .filter(bad)
        .map(|case| {
            Ok(format!("{} | {}", between(case, "package=\"", "\"")?, between(case, "classname=\"", "\"")?))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok((cases.len(), failed))
}
