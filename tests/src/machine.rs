//! One `turnpike up` of a test.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use rand::RngExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Part, kill};
use crate::until;

const SERVING_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_mins(1);

/// What a machine is made of.
#[derive(Debug, Default)]
pub struct Setup {
    files: Vec<(String, String)>,
    env: Vec<(&'static str, String)>,
    /// Size of the disk of the gateway's state, in MiB.
    small_disk: Option<u32>,
}

/// A running `turnpike up`.
#[derive(Debug)]
pub struct Machine {
    root: TempDir,
    env: Vec<(&'static str, String)>,
    small_disk: Option<u32>,
    child: Option<Child>,
    lines: mpsc::Receiver<String>,
    http: reqwest::Client,
}

/// Ports that Linux gives to nobody who asks for any: those begin at 32768.
const ASKED_FOR: Range<u16> = 20_000..32_768;

/// A port that is free now. What is started before it is taken, and asks for any port, is not given it.
///
/// # Panics
/// When none is free.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok();
    let mut ports = std::iter::repeat_with(|| rand::rng().random_range(ASKED_FOR)).take(1_000);
    ports.find(free).expect("the loopback interface has a free port")
}

impl Setup {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of resources.
    #[must_use]
    pub fn file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), text.into()));
        self
    }

    /// An environment variable of `turnpike up` and its parts.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Puts the gateway's state on a disk of its own of this size. Needs root: see [`Machine::can_mount`].
    #[must_use]
    pub fn small_disk(mut self, mebibytes: u32) -> Self {
        self.small_disk = Some(mebibytes);
        self
    }

    /// Starts it and waits until it serves.
    pub fn start(self) -> anyhow::Result<Machine> {
        let root = tempfile::tempdir()?;
        let folder = root.path().join("resources");
        std::fs::create_dir(&folder)?;
        for (name, text) in &self.files {
            std::fs::write(folder.join(name), text)?;
        }
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let (_, lines) = mpsc::channel();
        let Self { env, small_disk, .. } = self;
        let mut machine = Machine { root, env, small_disk, child: None, lines, http };
        machine.up()?;
        Ok(machine)
    }
}

/// The program under test: the one of this build (`cargo build -p turnpike`), or the file that `TURNPIKE_PROGRAM`
/// names.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("TURNPIKE_PROGRAM") {
        return Ok(program.into());
    }
    let exe = std::env::current_exe()?;
    let folder = exe.parent().and_then(Path::parent).context("tests run from the target folder")?;
    let program = folder.join("turnpike");
    if !program.exists() {
        bail!("{} is missing: build it with `cargo build -p turnpike`", program.display());
    }
    Ok(program)
}

impl Machine {
    /// Starts `turnpike up` again after [`Machine::down`], on the same folders.
    pub fn up(&mut self) -> anyhow::Result<()> {
        let mut child = self
            .command()?
            .args(["up", "--listen", "127.0.0.1:0", "--state"])
            .args([self.state(), self.folder()])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    // Nobody listens any more; reading on keeps the pipe from filling up.
                }
            }
        });
        self.child = Some(child);
        self.lines = lines;
        self.expect_line("Serving", SERVING_WITHIN)?;
        Ok(())
    }

    /// The program, below a mount of its own if the test wants a small disk: it ends with the last process that sees it.
    fn command(&self) -> anyhow::Result<Command> {
        let Some(size) = self.small_disk else { return Ok(Command::new(program()?)) };
        let disk = self.state().join("gateway");
        std::fs::create_dir_all(&disk)?;
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size={size}m tmpfs \"$1\" && shift && exec \"$@\"");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(disk).arg(program()?);
        Ok(command)
    }

    /// Whether this user may mount a disk for [`Setup::small_disk`].
    pub fn can_mount() -> bool {
        let tried =
            Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        tried.is_ok_and(|output| output.status.success())
    }

    /// The gateway's state folder as its processes see it.
    pub fn gateway_state(&self) -> PathBuf {
        let folder = self.state().join("gateway");
        match (self.small_disk, self.child.as_ref()) {
            (Some(_), Some(child)) => {
                let seen = folder.strip_prefix("/").expect("the state folder is absolute");
                Path::new("/proc").join(child.id().to_string()).join("root").join(seen)
            }
            _ => folder,
        }
    }

    /// Waits for a line of standard output that contains `part`, and returns it.
    pub fn expect_line(&self, part: &str, within: Duration) -> anyhow::Result<String> {
        let end = std::time::Instant::now() + within;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(std::time::Instant::now()))
        {
            if line.contains(part) {
                return Ok(line);
            }
            seen.push(line);
        }
        bail!("no line with `{part}` within {within:?}; there were:\n{}\n{}", seen.join("\n"), self.logs())
    }

    /// Ends it in order, and tells how it ended.
    pub fn down(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        kill(child.id(), "TERM");
        until("`turnpike up` ends", STOPPED_WITHIN, || child.try_wait().is_ok_and(|status| status.is_some()));
        child.wait().ok()
    }

    /// Kills it and all its parts at one instant, as a power cut does, but for what the system still writes.
    pub fn crash(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let parts: Vec<u32> = Part::ALL.iter().filter_map(|part| part.pid(child.id())).collect();
        // Stopped first, so that none of them sees another one end.
        for pid in parts.iter().chain([&child.id()]) {
            kill(*pid, "STOP");
        }
        for pid in parts.iter().chain([&child.id()]) {
            kill(*pid, "KILL");
        }
        let _ = child.wait();
        until("all parts are gone", STOPPED_WITHIN, || {
            parts.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        });
    }

    /// Process id of `turnpike up`.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Process id of a part, 0 between two lives.
    pub fn part(&self, part: Part) -> u32 {
        part.pid(self.pid()).unwrap_or(0)
    }

    /// Folder of resources.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("resources")
    }

    /// State folder.
    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Writes a file of resources, in one step.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let hidden = self.folder().join(format!(".{name}.new"));
        std::fs::write(&hidden, text)?;
        std::fs::rename(hidden, self.folder().join(name))?;
        Ok(())
    }

    /// A client without limits of a proxy.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The token of this machine.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.state().join("token"))?)
    }

    /// `run.json`.
    pub fn info(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.state().join("run.json"))?)?)
    }

    /// An answer of analytics.
    pub async fn analytics(&self, path: &str) -> anyhow::Result<Value> {
        let base = self.info()?["analytics"].as_str().context("run.json names no analytics")?.to_owned();
        let response = self.http.get(format!("{base}{path}")).bearer_auth(self.token()?).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// Whether a part answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn alive(&self, part: Part) -> anyhow::Result<()> {
        let info = self.info()?;
        let (base, path) = match part {
            Part::Gateway => ("admin", "/healthz"),
            Part::Analytics => ("analytics", "/healthz"),
            Part::Engine => ("engine", "/ping"),
        };
        let base = info[base].as_str().with_context(|| format!("run.json names no {base}"))?;
        self.http.get(format!("{base}{path}")).bearer_auth(self.token()?).send().await?.error_for_status()?;
        Ok(())
    }

    /// Runs another command of the program on this machine's state, and returns what it printed.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<std::process::Output> {
        Ok(Command::new(program()?).args(args).env("TURNPIKE_STATE", self.state()).output()?)
    }

    /// The last lines of all parts' logs, for messages.
    pub fn logs(&self) -> String {
        ["engine", "analytics", "gateway"]
            .iter()
            .map(|name| {
                let path = self.state().join("log").join(format!("{name}.log"));
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let lines: Vec<_> = text.lines().rev().take(15).collect();
                format!("--- {name}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its children end when their standard input closes.
            let _ = child.kill();
            let _ = child.wait();
        }
        // For a look at what a failed test left behind.
        if std::env::var_os("KEEP_STATE").is_some() {
            self.root.disable_cleanup(true);
            println!("kept {}", self.root.path().display());
        }
    }
}
