//! Programs of partners: built once, started on free ports of the loopback interface, ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// For a partner to say that it listens.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// For records to reach the store: after its start, analytics counts inserts of an earlier life as alive for a while.
pub(crate) const STORED_WITHIN: Duration = Duration::from_mins(1);

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Partner {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// The folder with the programs of the partner `name`, built now if they are not there yet.
pub(crate) fn built(name: &str) -> anyhow::Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("partners/build.sh");
    // Its progress goes past the test's captured output: a build takes minutes.
    let output = Command::new(&script).arg(name).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} {name} failed: {}", script.display(), output.status);
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

impl Partner {
    /// Starts `program`.
    pub(crate) fn start(program: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            follow(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            follow(stderr, sender);
        }
        Ok(Self { child, lines })
    }

    /// Waits for a line that contains `part`, and returns it.
    pub(crate) fn line(&self, part: &str) -> anyhow::Result<String> {
        let end = Instant::now() + READY_WITHIN;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return Ok(line);
            }
            seen.push(line);
        }
        bail!("no line with `{part}` within {READY_WITHIN:?}; there were:\n{}", seen.join("\n"))
    }
}

/// Reads to the end, so that the pipe never fills up.
fn follow(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody may listen any more.
            let _ = lines.send(line);
        }
    });
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands in `text` between `before` and `after`.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> anyhow::Result<&'a str> {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(found, _)| found)
        .with_context(|| format!("`{text}` has nothing between `{before}` and `{after}`"))
}
