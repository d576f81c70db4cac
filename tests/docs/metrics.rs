//! The reference page of metrics equals what a running gateway and analytics show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::root;
use super::terminal::Desk;

const HEAD: &str = "# Metrics

<!-- Generated from a running machine; do not edit. UPDATE_GOLDEN=1 cargo test -p tests --test docs -->

`GET /metrics` in the OpenMetrics text format, with the token as `Authorization: Bearer`: on the gateway's admin
address and on the analytics address, as `run.json` in the state folder names them. Counters end in `_total`. The
number of series does not depend on how many routes and consumers there are: what they used is in the store.
A gateway with TLS listeners also shows when each certificate that it serves ends, seconds since 1970: the gauge
`turnpike_gateway_certificate_not_after_seconds` with the labels `certificate` and `serial`.
[Operations](../operations.md) says which ones to watch.
";

/// `UPDATE_GOLDEN=1` rewrites the page instead.
pub(crate) fn compare(desk: &mut Desk) {
    let info: Value =
        serde_json::from_str(&desk.run("cat .turnpike/run.json").output).expect("run.json is JSON");
    let mut page = HEAD.to_owned();
    for (title, part) in [("Gateway", "admin"), ("Analytics", "analytics")] {
        let base = info[part].as_str().expect("run.json names every part");
        let text =
            desk.run(&format!("curl -sf -H \"authorization: Bearer $(cat .turnpike/token)\" {base}/metrics"));
        assert_eq!(text.code, 0, "{base}/metrics: {}", text.output);
        table(&mut page, title, &text.output);
    }
    let path = root().join("docs/reference/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "metrics.md is stale: UPDATE_GOLDEN=1 cargo test -p tests --test docs");
}

fn table(page: &mut String, title: &str, text: &str) {
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    write!(page, "\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
        .expect("a string");
    for (name, help) in text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')) {
        let labels: Vec<String> = labels(text, name).into_iter().map(|label| format!("`{label}`")).collect();
        let kind = kinds.get(name).copied().unwrap_or_default();
        writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).expect("a string");
    }
}

/// Names of the labels that series of a metric carry.
fn labels<'a>(text: &'a str, name: &str) -> BTreeSet<&'a str> {
    let series = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| {
        let (head, rest) = line.split_once('{')?;
        let suffix = head.strip_prefix(name)?;
        ["", "_total", "_bucket", "_sum", "_count"].contains(&suffix).then(|| rest.split('}').next())?
    });
    series.flat_map(|labels| labels.split(',')).filter_map(|label| Some(label.split_once('=')?.0)).collect()
}
