//! The kill test: under load, `kill -9` at random moments over gateway, analytics and engine. Afterwards
//! - every answer that a client received in full has exactly one record, and no record is there twice;
//! - hourly totals and reports equal records;
//! - no hard quota, in requests or bytes, was ever exceeded, and all of it can be used in the end.
//!
//! `KILLS` says how many (60 unless told), `SEED` which moments; a failure prints the seed.

#![expect(clippy::print_stdout, reason = "who runs it wants to see how far it is")]

use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::load::{self, Answers, Load};
use tests::shop::{self, Caller};
use tests::{Machine, Part, Setup, Upstream, books, eventually, free_port, kill};

const WORKERS: usize = 8;
/// Pause of each worker between two requests: load that two cores carry beside restarts.
const PACE: Duration = Duration::from_millis(10);
/// Units of the small quotas for each kill: they run out while the killing goes on.
const PER_KILL: u64 = 80;
/// Bytes that no request of 100 uses up. Kills leave such remainders, too: the byte that a request deposits stays
/// charged when its lease is closed before the answer fails.
const ODD_BYTES: u64 = 37;
/// From the last kill until the last unit of a quota could be used.
const USED_UP_WITHIN: Duration = Duration::from_mins(1);

fn from_env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn callers(kills: u64) -> [Caller; 4] {
    [
        Caller::new("limited", PER_KILL * kills, "Year"),
        Caller::new("bytes", 100 * PER_KILL * kills + ODD_BYTES, "Year").in_bytes(),
        Caller::new("minute", 500, "Minute"),
        Caller::new("free", 100_000_000, "Year"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_no_quota_is_exceeded_over_kills() -> anyhow::Result<()> {
    let kills: u64 = from_env("KILLS", 60);
    let seed: u64 = from_env("SEED", 20_261_123);
    println!("SEED={seed} KILLS={kills}");
    let callers = callers(kills);
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .start()?;
    let load = Load::start(port, &callers, WORKERS, PACE);
    kill_at_random(&machine, kills, seed).await;
    let mut answers = load.stop().await;
    println!("{} answers, {} broken off by kills", answers.by_id.len(), answers.failed);
    // 503 says that the authority is away and the lease in hand is spent; nothing else may go wrong.
    let odd: Vec<_> =
        answers.kinds().into_keys().filter(|status| ![200, 429, 503].contains(status)).collect();
    assert!(odd.is_empty(), "SEED={seed} KILLS={kills}: answers with status {odd:?}");
    for caller in &callers[..2] {
        use_up(&machine, caller, port, &mut answers).await;
    }
    books::audit(&machine, &callers, &answers)
        .await
        .with_context(|| format!("SEED={seed} KILLS={kills}\n{}", machine.logs()))
}

async fn kill_at_random(machine: &Machine, kills: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let parts = [Part::Gateway, Part::Analytics, Part::Engine];
    for nth in 1..=kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..700))).await;
        let part = parts[random.random_range(0..parts.len())];
        let pid = eventually(&format!("a {} to kill", part.command()), Duration::from_secs(30), || async {
            Some(machine.part(part)).filter(|pid| *pid != 0).ok_or("it does not run")
        })
        .await;
        kill(pid, "KILL");
        println!("{nth:>4} of {kills}: killed {} {pid}", part.command());
        // Now and then the next one strikes while this one still starts.
        if random.random_ratio(3, 4) {
            eventually(&format!("{} answers again", part.command()), Duration::from_secs(30), || async {
                machine.alive(part).await.map_err(|error| format!("{error:#}"))
            })
            .await;
        }
    }
}

/// Goes on until a hard quota is used up: leases of killed gateways must come back, to the unit.
async fn use_up(machine: &Machine, caller: &Caller, port: u16, answers: &mut Answers) {
    let http = load::client();
    let answers = std::sync::Mutex::new(answers);
    let consumer = format!("shop/{}", caller.name);
    eventually(&format!("the whole quota of {consumer} can be used"), USED_UP_WITHIN, || async {
        let mut smallest = false;
        loop {
            let sent = if smallest {
                load::smallest(&http, caller, port).await
            } else {
                load::request(&http, caller, port, 0).await
            };
            let (id, answer) = sent.map_err(|error| format!("{error:#}"))?;
            let served = answer.status == 200;
            answers.lock().expect("nobody panics with it").note(&id, answer);
            match (served, smallest) {
                // A large one may have been refused only because a lease came back a moment later.
                (true, _) => smallest = false,
                (false, false) => smallest = true,
                (false, true) => break,
            }
        }
        let used = books::charged(machine, &consumer).await.map_err(|error| format!("{error:#}"))?;
        if used == caller.quota { Ok(()) } else { Err(format!("{used} of {} used", caller.quota)) }
    })
    .await;
}
