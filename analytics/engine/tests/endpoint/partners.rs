//! clickhouse-go, the driver under Grafana's ClickHouse plug-in.

use std::path::Path;
use std::process::Command;

use crate::process::{Engine, Tweaks};

#[test]
fn clickhouse_go_reads_and_writes() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/partners/clickhouse-go");
    let folder = tempfile::tempdir().unwrap();
    let engine =
        Engine::start_with(folder.path(), Tweaks::default().with("TURNPIKE_TEST_TOKEN", "secret")).unwrap();
    let output = Command::new("go")
        .args(["run", "."])
        .arg(engine.address.to_string())
        .arg("secret")
        .current_dir(program)
        .output()
        .unwrap_or_else(|error| panic!("go cannot be run: {error}; install Go 1.25 or newer"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for compression in ["none", "lz4", "gzip"] {
        assert!(text.contains(&format!("ok {compression}\n")), "{text}");
    }
}
