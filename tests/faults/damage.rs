//! Damaged files, as a bad disk leaves them: a clear message, and the rest intact.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use tests::load::{self, Answers, Load};
use tests::shop::{self, Caller};
use tests::{Frozen, Machine, Part, Setup, Upstream, books, eventually, free_port, kill, turn};

const WITHIN: Duration = Duration::from_secs(30);
/// Records of the last moments before a crash lie in the ring; older ones are in segments.
const UNSEALED: Duration = Duration::from_secs(3);

async fn start(callers: &[Caller]) -> anyhow::Result<(Machine, u16, Upstream)> {
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), callers))
        .file("callers.yaml", shop::callers(callers))
        .start()?;
    Ok((machine, port, upstream))
}

/// Flips bits in the middle of a file.
fn flip(path: &Path) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| path.display().to_string())?;
    let middle = file.metadata()?.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)?;
    Ok(file.write_all_at(&[byte[0] ^ 0x55], middle)?)
}

/// Overwrites the beginning of a file.
fn smash(path: &Path) -> anyhow::Result<()> {
    let file =
        std::fs::OpenOptions::new().write(true).open(path).with_context(|| path.display().to_string())?;
    Ok(file.write_all_at(&[0xA5; 4096], 0)?)
}

/// Files below `folder` whose name begins so, the first first.
fn files(folder: &Path, prefix: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, prefix)?);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// How messages name a segment: its stream and number, here without the gateway's id.
fn name_of(segment: &Path) -> anyhow::Result<String> {
    let stem = segment.file_stem().context("a name")?.to_string_lossy().into_owned();
    let numbers: Vec<u32> = stem.split('-').map(str::parse).collect::<Result<_, _>>()?;
    Ok(numbers.iter().fold(String::new(), |name, number| format!("{name}/{number}")))
}

fn log(machine: &Machine, part: Part) -> String {
    std::fs::read_to_string(machine.state().join("log").join(format!("{}.log", part.command())))
        .unwrap_or_default()
}

async fn served(caller: &Caller, port: u16, answers: &mut Answers) {
    let http = load::client();
    let (id, answer) = eventually("requests are served", WITHIN, || async {
        let (id, answer) =
            load::request(&http, caller, port, 2).await.map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok((id, answer)) } else { Err(format!("status {}", answer.status)) }
    })
    .await;
    answers.note(&id, answer);
}

#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_and_ring_cost_only_what_was_in_them() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("free", 100_000_000, "Year").observed()];
    let (mut machine, port, _upstream) = start(&callers).await?;
    let load = Load::start(port, &callers, 4, Duration::from_millis(10));
    let frozen = Frozen::new(machine.part(Part::Engine));
    let spool = machine.state().join("gateway/spool");
    eventually("segments wait for the store", WITHIN, || async {
        let count = files(&spool.join("segments"), "").map_err(|error| error.to_string())?.len();
        if count >= 6 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    let crashed = Timestamp::now();
    machine.crash();
    drop(frozen);
    let mut answers = load.stop().await;
    let segment = files(&spool.join("segments"), "")?.swap_remove(2);
    let ring = files(&spool.join("epochs"), "ring")?.swap_remove(0);
    flip(&segment)?;
    smash(&ring)?;

    machine.up()?;
    served(&callers[0], port, &mut answers).await;
    books::complete(&machine, answers.last().context("answers")?).await;
    let text = log(&machine, Part::Gateway);
    for told in [format!("{} is damaged", name_of(&segment)?), format!("{} is damaged", ring.display())] {
        ensure!(text.contains(&told), "`{told}` is not said:\n{text}");
    }
    let rows: Vec<Id> = machine.query("SELECT toString(request_id) AS id FROM usage_records").await?;
    let stored: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    ensure!(stored.len() == rows.len(), "nothing is there twice");
    let missing: Vec<_> = answers.by_id.iter().filter(|(id, _)| !stored.contains(id.as_str())).collect();
    let pipeline = machine.analytics("/v1/pipeline").await?;
    let declared = pipeline["declared_lost"].as_u64().context("declared_lost")?;
    let late = missing.iter().filter(|(_, answer)| answer.received > crashed - UNSEALED).count() as u64;
    let early = missing.len() as u64 - late;
    ensure!(
        declared > 0 && early <= declared,
        "{early} of {} are missing, {declared} are declared lost",
        answers.by_id.len()
    );
    ensure!(missing.len() as u64 >= declared, "{} are missing, {declared} are declared lost", missing.len());
    let doctor = machine.run(&["doctor"])?;
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(
        doctor.status.code() == Some(1) && text.contains("declared lost") && text.contains("damaged files"),
        "{text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_snapshots_are_refused_and_the_last_good_one_serves() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("alice", 1_000_000, "Year")];
    let (machine, port, _upstream) = start(&callers).await?;
    let mut answers = Answers::default();
    served(&callers[0], port, &mut answers).await;
    let snapshot = machine.state().join("snapshot.json");
    let text = std::fs::read(&snapshot)?;
    std::fs::write(&snapshot, &text[..text.len() / 2])?;
    eventually("the damaged snapshot is refused", WITHIN, || async {
        let text = log(&machine, Part::Gateway);
        if text.contains("refused") { Ok(()) } else { Err(text) }
    })
    .await;
    served(&callers[0], port, &mut answers).await;

    kill(machine.part(Part::Gateway), "KILL");
    served(&callers[0], port, &mut answers).await;
    ensure!(log(&machine, Part::Gateway).contains("serving the last good snapshot"), "{}", machine.logs());

    smash(&machine.state().join("gateway/last-good-snapshot.json"))?;
    let former = machine.part(Part::Gateway);
    kill(former, "KILL");
    eventually("the gateway runs again and says what is wrong", WITHIN, || async {
        machine.alive(Part::Gateway).await.map_err(|error| format!("{error:#}"))?;
        let text = log(&machine, Part::Gateway);
        let told = text.lines().any(|line| line.contains("the last good snapshot cannot be served"));
        if told { Ok(()) } else { Err(text) }
    })
    .await;
    // A change of the folder is all it takes.
    machine.write("callers.yaml", &shop::callers(&[Caller::new("alice", 2_000_000, "Year")]))?;
    served(&callers[0], port, &mut answers).await;
    books::audit(&machine, &[], &answers).await
}

/// The quota store is rebuilt from records: nothing that was used is given out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_quota_store_is_named_and_relearned_from_records() -> anyhow::Result<()> {
    let _turn = turn().await;
    let callers = [Caller::new("alice", 60, "Year")];
    let (mut machine, port, _upstream) = start(&callers).await?;
    let mut answers = Answers::default();
    for _ in 0..40 {
        served(&callers[0], port, &mut answers).await;
    }
    books::audit(&machine, &callers, &answers).await?;
    machine.down();
    let store = machine.state().join("analytics/analytics.redb");
    smash(&store)?;
    let error = machine.up().err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(error.contains("analytics.redb") && error.contains("damaged"), "the file is named: {error}");
    machine.down();
    std::fs::remove_file(&store)?;
    machine.up()?;
    let http = load::client();
    let mut served = 0;
    loop {
        let (_, answer) = load::request(&http, &callers[0], port, 2).await?;
        match answer.status {
            200 => served += 1,
            429 => break,
            503 => tokio::time::sleep(Duration::from_millis(100)).await,
            other => anyhow::bail!("status {other}"),
        }
    }
    ensure!(served == 20, "{served} more were served, 20 were left");
    Ok(())
}
