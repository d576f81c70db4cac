//! A full disk under the gateway: detail is given up, counts are exact, it says so, and it recovers by itself.

use std::time::Duration;

use anyhow::ensure;
use tests::load::Load;
use tests::shop::{self, Caller};
use tests::{Frozen, Machine, Part, Setup, Upstream, books, eventually, free_port, turn};

/// Small rings, so that they fill within seconds.
const RING_BYTES: usize = 128 * 1024;
const DISK_MEBIBYTES: u32 = 24;

async fn gateway(machine: &Machine) -> Result<serde_json::Value, String> {
    let pipeline = machine.analytics("/v1/pipeline").await.map_err(|error| format!("{error:#}"))?;
    Ok(pipeline["gateways"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_detail_and_no_count() -> anyhow::Result<()> {
    let _turn = turn().await;
    if !Machine::can_mount() {
        println!("not tested: only root may mount a small disk");
        return Ok(());
    }
    let callers = [Caller::new("free", 100_000_000, "Year"), Caller::new("limited", 300, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .env("TURNPIKE_SPOOL_RING_BYTES", RING_BYTES.to_string())
        .small_disk(DISK_MEBIBYTES)
        .start()?;
    let load = Load::start(port, &callers, 6, Duration::from_millis(5));
    let filler = machine.gateway_state().join("filler");
    fill(&filler)?;
    eventually("it says that only counts are kept", Duration::from_mins(1), || async {
        let gateway = gateway(&machine).await?;
        let counted = gateway["counted_only"].as_u64().unwrap_or_default();
        if gateway["degraded"] == true && counted > 100 { Ok(()) } else { Err(gateway.to_string()) }
    })
    .await;
    let doctor = machine.run(&["doctor"])?;
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.status.code() == Some(1) && text.contains("keeps counts only"), "{text}");
    ensure!(machine.logs().contains("No space left"), "{}", machine.logs());
    std::fs::remove_file(&filler)?;
    eventually("detail is kept again", Duration::from_secs(30), || async {
        let gateway = gateway(&machine).await?;
        if gateway["degraded"] == false { Ok(()) } else { Err(gateway.to_string()) }
    })
    .await;
    let answers = load.stop().await;
    ensure!(answers.failed == 0, "{} requests failed: {:?}", answers.failed, answers.failures);
    ensure!(answers.count("shop/limited", 200) == 300, "{:?}", answers.kinds());
    books::counts(&machine, &answers).await?;
    let charged = books::charged(&machine, "shop/limited").await?;
    ensure!(charged == 300, "{charged} units are charged to leases");
    Ok(())
}

/// The store away and a small budget: the spool gives up detail before it has no room at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_at_its_budget_costs_detail_and_no_count() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("free", 100_000_000, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .env("TURNPIKE_SPOOL_BYTES", (64 * 1024).to_string())
        .start()?;
    let load = Load::start(port, &callers, 6, Duration::from_millis(5));
    let frozen = Frozen::new(machine.part(Part::Engine));
    eventually("it says that only counts are kept", Duration::from_mins(1), || async {
        let gateway = gateway(&machine).await?;
        if gateway["degraded"] == true { Ok(()) } else { Err(gateway.to_string()) }
    })
    .await;
    drop(frozen);
    eventually("detail is kept again", Duration::from_mins(1), || async {
        let gateway = gateway(&machine).await?;
        if gateway["degraded"] == false { Ok(()) } else { Err(gateway.to_string()) }
    })
    .await;
    let answers = load.stop().await;
    ensure!(answers.failed == 0, "{} requests failed: {:?}", answers.failed, answers.failures);
    books::counts(&machine, &answers).await?;
    let rows = machine.number("SELECT count() FROM usage_records").await?;
    ensure!(rows < answers.by_id.len() as u64, "some of {rows} rows stand for several requests");
    Ok(())
}

/// Takes all the room that is left.
fn fill(path: &std::path::Path) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        let bytes = vec![0; size];
        while file.write_all(&bytes).is_ok() {}
    }
    Ok(())
}
