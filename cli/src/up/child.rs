//! Child processes of `turnpike up`: the same binary again, one process for each part, restarted when it dies.
//!
//! A child says `{"ready":"ADDRESS"}` on standard output once it serves, logs on standard error, and ends when
//! its standard input is closed: so no child outlives `up`, whatever kills it.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use gateway_program::{CHILD_MARK, Ready};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Longest time from start to `ready`: an engine may have much to read.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Longest time for an orderly end; a gateway drains its requests and its spool in it.
const STOP_WITHIN: Duration = Duration::from_secs(45);
/// A child that lived for this long is restarted at once when it dies.
const STEADY_AFTER: Duration = Duration::from_secs(10);
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// How to start a child.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// For people, and the name of its log file.
    pub(crate) name: &'static str,
    /// Subcommand and options, without `--listen`.
    pub(crate) args: Vec<String>,
    /// Options of the first start alone.
    pub(crate) first_args: Vec<String>,
    /// Where it shall listen; port 0 is chosen at the first start and kept from then on.
    pub(crate) listen: String,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
    /// Secrets, kept out of the command line that every user of the machine can read.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// A supervised child.
#[derive(Debug)]
pub(crate) struct Supervised {
    name: &'static str,
    address: String,
    pid: Arc<AtomicU32>,
    restarts: Arc<AtomicU64>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts `spec` and waits until it serves.
    pub(crate) async fn start(mut spec: Spec) -> anyhow::Result<Self> {
        let pid = Arc::new(AtomicU32::new(0));
        let restarts = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let name = spec.name;
        let log = spec.log.clone();
        let (first, address) = start(&spec, &pid)
            .await
            .with_context(|| format!("the {name} did not start; its log is {}", log.display()))?;
        spec.listen.clone_from(&address);
        spec.first_args.clear();
        let lives = Lives { pid: pid.clone(), restarts: restarts.clone() };
        let task = tokio::spawn(supervise(spec, first, lives, stop.clone()));
        Ok(Self { name, address, pid, restarts, stop, task })
    }

    /// Name for people.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Process id, 0 between two lives.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Ends it in order and waits.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(name = self.name, %error, "the supervisor of a child failed");
        }
    }
}

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    started: Instant,
}

async fn spawn(spec: &Spec, pid: &AtomicU32) -> anyhow::Result<Running> {
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let log = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)
        .await
        .with_context(|| format!("cannot write {}", spec.log.display()))?
        .into_std()
        .await;
    let mut child = Command::new(exe)
        .args(&spec.args)
        .args(&spec.first_args)
        .args(["--listen", &spec.listen])
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .env(CHILD_MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // A Ctrl-C in the terminal reaches `up` alone, which then ends its children in order.
        .process_group(0)
        .spawn()?;
    pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
    let stdin = child.stdin.take();
    Ok(Running { child, stdin, started: Instant::now() })
}

async fn await_ready(running: &mut Running) -> anyhow::Result<String> {
    let stdout = running.child.stdout.take().context("standard output is not a pipe")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(READY_WITHIN, lines.next_line())
        .await
        .with_context(|| format!("not ready within {} s", READY_WITHIN.as_secs()))??;
    let Some(line) = line else { bail!("it ended before it was ready") };
    let ready: Ready = serde_json::from_str(&line).with_context(|| format!("unexpected output `{line}`"))?;
    // The rest of its output (an access log) is passed on, so that the pipe never fills up.
    tokio::spawn(pass_on(lines));
    Ok(ready.ready)
}

async fn pass_on(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
    use tokio::io::AsyncWriteExt;
    let mut out = tokio::io::stdout();
    while let Ok(Some(line)) = lines.next_line().await {
        if out.write_all(format!("{line}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What is known of a child's lives.
struct Lives {
    pid: Arc<AtomicU32>,
    restarts: Arc<AtomicU64>,
}

async fn supervise(spec: Spec, mut running: Running, lives: Lives, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return finish(spec.name, running).await,
            status = running.child.wait() => status,
        };
        lives.pid.store(0, Ordering::Relaxed);
        failures = if running.started.elapsed() > STEADY_AFTER { 0 } else { failures + 1 };
        report_end(spec.name, ended);
        loop {
            let pause = BACKOFF[failures.min(BACKOFF.len() - 1)];
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            lives.restarts.fetch_add(1, Ordering::Relaxed);
            match start(&spec, &lives.pid).await {
                Ok((again, _)) => {
                    running = again;
                    break;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(part = spec.name, error = format!("{error:#}"), "cannot restart");
                }
            }
        }
    }
}

/// Spawns a child and waits until it serves.
async fn start(spec: &Spec, pid: &AtomicU32) -> anyhow::Result<(Running, String)> {
    let mut running = spawn(spec, pid).await?;
    match await_ready(&mut running).await {
        Ok(address) => Ok((running, address)),
        Err(error) => {
            // Ended already, or hanging: either way it must not stay.
            let _ = running.child.kill().await;
            Err(error)
        }
    }
}

fn report_end(name: &str, ended: std::io::Result<ExitStatus>) {
    match ended {
        Ok(status) => tracing::warn!(part = name, %status, "ended unexpectedly, starting it again"),
        Err(error) => tracing::warn!(part = name, %error, "lost, starting it again"),
    }
}

async fn finish(name: &str, mut running: Running) {
    drop(running.stdin.take());
    if timeout(STOP_WITHIN, running.child.wait()).await.is_err() {
        tracing::warn!(part = name, "did not end in {} s, killing it", STOP_WITHIN.as_secs());
        let _ = running.child.kill().await;
    }
}
