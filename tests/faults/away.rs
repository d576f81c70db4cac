//! A part is away, frozen in the middle of whatever it did, while requests run.
//!
//! `AWAY` says for how many seconds (10 unless told).

#![expect(clippy::print_stdout, reason = "how much slower it got is of use beside the result")]

use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use tests::load::{Answers, Load};
use tests::shop::{self, Caller};
use tests::{Frozen, Machine, Part, Setup, Upstream, books, eventually, free_port, turn};

const WORKERS: usize = 6;
const PACE: Duration = Duration::from_millis(10);
/// Load before a part goes away, to compare with.
const BEFORE: Duration = Duration::from_secs(3);
/// How much the slowest percent of answers may slow down: wide, as other programs use this machine, too.
const SLOWER: Duration = Duration::from_millis(500);

fn away() -> Duration {
    let seconds = std::env::var("AWAY").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

async fn start(callers: &[Caller]) -> anyhow::Result<(Machine, u16)> {
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), callers))
        .file("callers.yaml", shop::callers(callers))
        .start()?;
    Ok((machine, port))
}

/// Load with a part away in the middle of it; what clients saw, and when the part was away.
async fn outage(
    machine: &Machine,
    load: Load,
    part: Part,
    meanwhile: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Answers, [Timestamp; 3])> {
    let began = Timestamp::now();
    tokio::time::sleep(BEFORE).await;
    let gone = Timestamp::now();
    let frozen = Frozen::new(machine.part(part));
    meanwhile().await?;
    let left = away().saturating_sub(Timestamp::now().duration_since(gone).unsigned_abs());
    tokio::time::sleep(left).await;
    let back = Timestamp::now();
    drop(frozen);
    tokio::time::sleep(BEFORE).await;
    Ok((load.stop().await, [began, gone, back]))
}

fn unnoticed(answers: &Answers, [began, gone, back]: [Timestamp; 3]) -> anyhow::Result<()> {
    ensure!(answers.failed == 0, "{} requests failed: {:?}", answers.failed, answers.failures);
    let kinds = answers.kinds();
    ensure!(kinds.keys().all(|status| *status == 200), "answers by status: {kinds:?}");
    let (before, during) = (answers.latency(99, began, gone), answers.latency(99, gone, back));
    ensure!(during <= before + SLOWER, "99 % of answers took {before:?} before, {during:?} in the meantime");
    println!("99 % of answers within {before:?} before, {during:?} in the meantime");
    Ok(())
}

/// What `turnpike doctor` prints; it must find something wrong.
fn doctor(machine: &Machine) -> anyhow::Result<String> {
    let output = machine.run(&["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1), "doctor finds nothing wrong: {text}");
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_the_store_is_away() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("free", 100_000_000, "Year"), Caller::new("small", 300, "Year")];
    let (machine, port) = start(&callers).await?;
    let load = Load::start(port, &callers[..1], WORKERS, PACE);
    let (answers, times) = outage(&machine, load, Part::Engine, async || {
        let text = doctor(&machine)?;
        ensure!(text.contains("✗ store"), "{text}");
        let pipeline = machine.analytics("/v1/pipeline").await?;
        ensure!(pipeline["store"]["up"] == false, "{pipeline}");
        Ok(())
    })
    .await?;
    unnoticed(&answers, times)?;
    books::audit(&machine, &callers, &answers).await?;
    eventually("doctor is content", Duration::from_secs(20), || async {
        let output = machine.run(&["doctor"]).map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_analytics_is_away() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("seen", 1_000_000, "Year").observed()];
    let (machine, port) = start(&callers).await?;
    let load = Load::start(port, &callers, WORKERS, PACE);
    let (answers, times) = outage(&machine, load, Part::Analytics, async || {
        let text = doctor(&machine)?;
        ensure!(text.contains("✗ analytics"), "{text}");
        Ok(())
    })
    .await?;
    unnoticed(&answers, times)?;
    books::audit(&machine, &[], &answers).await
}

/// Without the authority, a hard quota is spent as far as the lease in hand goes, and never beyond.
#[tokio::test(flavor = "multi_thread")]
async fn a_hard_quota_outlives_the_authority_on_its_lease() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("hard", 100_000, "Year")];
    let (machine, port) = start(&callers).await?;
    let load = Load::start(port, &callers, 2, PACE);
    let (answers, [_, gone, back]) = outage(&machine, load, Part::Analytics, async || Ok(())).await?;
    ensure!(answers.failed == 0, "{} requests failed: {:?}", answers.failed, answers.failures);
    let kinds = answers.kinds();
    ensure!(kinds.keys().all(|status| [200, 503].contains(status)), "answers by status: {kinds:?}");
    let served = |from: Timestamp, to: Timestamp| {
        answers
            .by_id
            .values()
            .filter(|answer| answer.status == 200 && from <= answer.sent && answer.sent < to)
            .count()
    };
    let later = back + Duration::from_secs(2);
    ensure!(served(gone, gone + Duration::from_secs(1)) > 0, "the lease in hand is spent");
    ensure!(served(later, later + BEFORE) > 0, "leases come again: {kinds:?}");
    books::audit(&machine, &callers, &answers).await
}
