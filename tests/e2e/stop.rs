//! An orderly end: what runs completes, everything is handed over, and the next start goes on from there.

use std::time::Duration;

use anyhow::ensure;
use tests::load::{self, Answers};
use tests::shop::{self, Caller};
use tests::{Part, Setup, Upstream, books, eventually, free_port, kill, turn};

const REQUESTS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn running_requests_complete_and_the_next_start_goes_on() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("alice", 100, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let mut machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .start()?;
    let (http, mut answers) = (load::client(), Answers::default());
    for nth in 0..REQUESTS {
        let (id, answer) = load::request(&http, &callers[0], port, nth).await?;
        answers.note(&id, answer);
    }
    let slow = tokio::spawn({
        let (url, key) = (format!("http://127.0.0.1:{port}/delay/3000"), callers[0].key());
        let http = load::client();
        async move { anyhow::Ok(http.get(url).header("x-api-key", key).send().await?.text().await?) }
    });
    eventually("the slow request is under way", Duration::from_secs(10), || async {
        if upstream.seen() > REQUESTS { Ok(()) } else { Err(upstream.seen()) }
    })
    .await;

    let parts: Vec<u32> = Part::ALL.iter().map(|part| machine.part(*part)).collect();
    kill(machine.pid(), "TERM");
    let status = machine.down();
    ensure!(status.is_some_and(|status| status.code() == Some(0)), "{status:?}");
    ensure!(slow.await?? == "late", "the whole answer");
    let left: Vec<_> =
        parts.iter().filter(|pid| std::path::Path::new("/proc").join(pid.to_string()).exists()).collect();
    ensure!(left.is_empty(), "{left:?} outlived it");
    ensure!(load::request(&http, &callers[0], port, 0).await.is_err(), "the port is closed");

    machine.up()?;
    books::audit(&machine, &callers, &answers).await?;
    let records = machine.number("SELECT sum(n) FROM usage_records").await?;
    ensure!(records == REQUESTS + 1, "{records} records");
    let mut served = 0;
    loop {
        let (id, answer) = load::request(&http, &callers[0], port, 0).await?;
        let status = answer.status;
        answers.note(&id, answer);
        match status {
            200 => served += 1,
            429 => break,
            // The former life's lease is being settled.
            503 => tokio::time::sleep(Duration::from_millis(50)).await,
            other => anyhow::bail!("status {other}"),
        }
    }
    ensure!(served == 100 - REQUESTS - 1, "{served} more were served");
    books::audit(&machine, &callers, &answers).await
}
