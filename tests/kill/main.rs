//! The kill test: under load, `kill -9` at random moments over gateway, analytics and engine. Afterwards
//! - every answer that a client received in full has exactly one record, and no record is there twice;
//! - rollups equal records;
//! - a hard quota was never exceeded, and all of it can be used in the end.
//!
//! `KILLS` says how many (60 unless told), `SEED` which moments; a failure prints the seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tests::shop::{self, Caller};
use tests::{Machine, Part, Setup, Upstream, eventually, free_port, kill};

const WORKERS: usize = 8;
/// Pause of each worker between two requests: load that two cores carry beside restarts.
const PACE: Duration = Duration::from_millis(5);
/// The small quota that must be used up to the unit, no more and no less.
const HARD: u64 = 2_000;

/// Status of each answer received in full, by request id.
type Answers = Arc<Mutex<BTreeMap<String, (usize, u16)>>>;

#[derive(Debug, Deserialize)]
struct Row {
    request_id: String,
    status: u16,
    n: u64,
}

fn from_env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_no_quota_is_exceeded_over_kills() -> anyhow::Result<()> {
    let kills: usize = from_env("KILLS", 60);
    let seed: u64 = from_env("SEED", 20_261_123);
    println!("SEED={seed} KILLS={kills}");
    let callers = [
        Caller { name: "limited", quota: HARD, period: "Year" },
        Caller { name: "free", quota: 100_000_000, period: "Year" },
    ];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .start()?;
    let answers: Answers = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let caller = callers[worker % callers.len()].clone();
            tokio::spawn(work(worker % callers.len(), caller, port, answers.clone(), stop.clone()))
        })
        .collect();
    kill_at_random(&machine, kills, seed).await;
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await?;
    }
    use_up(&machine, &callers[0], port, &answers).await?;
    check(&machine, &answers).await.with_context(|| format!("SEED={seed} KILLS={kills}\n{}", machine.logs()))
}

async fn kill_at_random(machine: &Machine, kills: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let parts = [Part::Gateway, Part::Analytics, Part::Engine];
    for nth in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        let part = parts[random.random_range(0..parts.len())];
        let pid = eventually(&format!("a {} to kill", part.command()), Duration::from_secs(30), || async {
            Some(machine.part(part)).filter(|pid| *pid != 0).ok_or("it does not run")
        })
        .await;
        kill(pid, "KILL");
        println!("{:>4} of {kills}: killed {} {pid}", nth + 1, part.command());
    }
}

async fn work(index: usize, caller: Caller, port: u16, answers: Answers, stop: Arc<AtomicBool>) {
    let http = client();
    while !stop.load(Ordering::Relaxed) {
        // A refused or broken connection is no answer: only what was received in full must be recorded.
        if let Ok((id, status)) = request(&http, &caller, port).await {
            let former = answers.lock().expect("no worker panics").insert(id.clone(), (index, status));
            assert!(former.is_none(), "the request id {id} was given twice");
        }
        tokio::time::sleep(PACE).await;
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client needs no file")
}

async fn request(http: &reqwest::Client, caller: &Caller, port: u16) -> anyhow::Result<(String, u16)> {
    let url = format!("http://127.0.0.1:{port}/bytes/100");
    let response = http.get(url).header("x-api-key", caller.key()).send().await?;
    let status = response.status().as_u16();
    let id = response.headers().get("x-request-id").context("no x-request-id")?.to_str()?.to_owned();
    response.bytes().await?;
    Ok((id, status))
}

/// Goes on until the hard quota is used up: leases of killed gateways must come back, to the unit.
async fn use_up(machine: &Machine, caller: &Caller, port: u16, answers: &Answers) -> anyhow::Result<()> {
    let http = client();
    eventually("the whole quota can be used", Duration::from_secs(120), || async {
        loop {
            let (id, status) = request(&http, caller, port).await.map_err(|error| format!("{error:#}"))?;
            answers.lock().expect("no worker panics").insert(id, (0, status));
            if status != 200 {
                break;
            }
        }
        let used = machine
            .number(&format!(
                "SELECT sum(n) FROM usage_records WHERE consumer = 'shop/{}' AND status = 200",
                caller.name
            ))
            .await
            .map_err(|error| format!("{error:#}"))?;
        if used == HARD { Ok(()) } else { Err(format!("{used} of {HARD} used")) }
    })
    .await;
    Ok(())
}

async fn check(machine: &Machine, answers: &Answers) -> anyhow::Result<()> {
    let answers = answers.lock().expect("no worker panics").clone();
    eventually("all records are in the store", Duration::from_secs(60), || async {
        let pipeline = machine.analytics("/v1/pipeline").await.map_err(|error| format!("{error:#}"))?;
        let waiting: Vec<_> = pipeline["gateways"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|gateway| gateway["appended"] != gateway["audited"])
            .cloned()
            .collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await;
    let rows: Vec<Row> = machine
        .query("SELECT toString(request_id) AS request_id, status, toUInt64(n) AS n FROM usage_records")
        .await?;
    let mut recorded: BTreeMap<&str, u16> = BTreeMap::new();
    for row in &rows {
        assert_eq!(row.n, 1, "{row:?}: no disk was full, so every record is in detail");
        assert!(recorded.insert(&row.request_id, row.status).is_none(), "{} is recorded twice", row.request_id);
    }
    let missing: Vec<_> = answers.iter().filter(|(id, (_, status))| recorded.get(id.as_str()) != Some(status)).collect();
    assert!(missing.is_empty(), "{} of {} answers have no record: {missing:?}", missing.len(), answers.len());
    let admitted =
        machine.number("SELECT sum(n) FROM usage_records WHERE consumer = 'shop/limited' AND status = 200").await?;
    assert_eq!(admitted, HARD, "a hard quota is used to the unit, never more");
    let kinds = answers.values().fold(BTreeMap::<u16, u64>::new(), |mut kinds, (_, status)| {
        *kinds.entry(*status).or_default() += 1;
        kinds
    });
    println!("answers {} by status {kinds:?}; records {}; missing 0, twice 0", answers.len(), rows.len());
    Ok(())
}
