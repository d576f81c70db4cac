//! clickhouse-go, the driver under Grafana's ClickHouse plug-in, reads the usage records of a running machine as they are.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;
use tests::shop::{self, Caller};
use tests::{Setup, Upstream, eventually, free_port};

use crate::partner::{STORED_WITHIN, built};

/// What the partner reads, in ClickHouse's own JSON.
const RECORDS: &str = "SELECT toString(request_id) AS request_id, lower(hex(trace_id)) AS trace_id, consumer, route, \
     status, grpc_status, attempts, duration_us, response_bytes, charge_units, n, path \
     FROM turnpike.usage_records ORDER BY ts, usage_records.request_id";

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_go_reads_usage_records() -> anyhow::Result<()> {
    let records = built("clickhouse-go")?.join("records");
    let callers = [Caller::new("alice", 20, "Year"), Caller::new("bob", 1_000, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .start()?;
    for nth in 0..30 {
        for key in [callers[0].key(), callers[1].key(), "wrong".to_owned()] {
            let url = format!("http://127.0.0.1:{port}/bytes/{}", nth * 100);
            machine.http().get(url).header("x-api-key", key).send().await?.bytes().await?;
        }
    }
    let ours: Vec<Value> = eventually("all records are in the store", STORED_WITHIN, || async {
        match machine.query(RECORDS).await {
            Ok(rows) if rows.len() == 90 => Ok(rows),
            Ok(rows) => Err(format!("{} rows", rows.len())),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await;
    let engine = machine.info()?["engine"].as_str().context("run.json names no engine")?.to_owned();
    let output = Command::new(records)
        .args([engine.trim_start_matches("http://"), "turnpike"])
        .env("CLICKHOUSE_PASSWORD", machine.token()?.trim())
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line)?;
            let time = row.as_object_mut().and_then(|row| row.remove("ts"));
            anyhow::ensure!(
                time.is_some_and(|time| time.as_str().is_some_and(|time| time.ends_with('Z'))),
                "{line}"
            );
            Ok(row)
        })
        .collect::<anyhow::Result<Vec<Value>>>()?;
    assert_eq!(theirs, ours);
    let charged =
        theirs.iter().filter(|row| row["charge_units"].as_array().is_some_and(|units| !units.is_empty()));
    assert_eq!(charged.count(), 50, "admitted requests charge their leases");
    Ok(())
}
