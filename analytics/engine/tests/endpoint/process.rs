//! Starts and ends engine processes for tests.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use analytics_engine::Options;
use clickhouse::Client;
use tokio_util::sync::CancellationToken;

const FOLDER: &str = "TURNPIKE_TEST_FOLDER";
const READY: &str = "engine is ready at ";
const FAILED: &str = "engine failed: ";

/// What a test changes in the options, as environment variables of the child.
#[derive(Default)]
pub(crate) struct Tweaks(Vec<(&'static str, OsString)>);

impl Tweaks {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.0.push((name, value.into()));
        self
    }
}

/// A running engine process; killed when dropped.
pub(crate) struct Engine {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Engine {
    /// Starts an engine on a folder. Panics with the engine's own words when it cannot run.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, Tweaks::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn start_with(folder: &Path, tweaks: Tweaks) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["process::engine_process", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .env("TURNPIKE_TEST_PARENT", std::process::id().to_string())
            .envs(tweaks.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, address)) = line.split_once(READY) {
                // Keeps the pipe from filling up or breaking.
                let address = address.trim().parse().unwrap();
                std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
                return Ok(Self { child, address });
            }
            if let Some((_, error)) = line.split_once(FAILED) {
                child.wait().unwrap();
                return Err(error.trim().to_owned());
            }
            line.clear();
        }
        Err(format!("the engine process ended: {}", child.wait().unwrap()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::default().with_url(self.url())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends one statement and returns status and text.
    pub(crate) async fn ask(&self, sql: &str) -> (u16, String) {
        self.post("", sql.as_bytes().to_vec()).await
    }

    /// Posts a body with a query string.
    pub(crate) async fn post(&self, query: &str, body: Vec<u8>) -> (u16, String) {
        let response =
            reqwest::Client::new().post(format!("{}?{query}", self.url())).body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The text of a statement that succeeds.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let (status, text) = self.ask(sql).await;
        assert_eq!(status, 200, "{sql}: {text}");
        text.trim_end().to_owned()
    }

    /// Ends the process without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the process's end.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the engine process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn options(folder: &Path) -> Options {
    let text = |name: &str| std::env::var(name).ok();
    let number = |name: &str| text(name).map(|value| value.parse::<u64>().unwrap());
    let mut options = Options::new(folder);
    options.token = text("TURNPIKE_TEST_TOKEN");
    options.read_token = text("TURNPIKE_TEST_READ_TOKEN");
    options.parent_pid = number("TURNPIKE_TEST_PARENT").map(|pid| pid as u32);
    if let Some(wait) = number("TURNPIKE_TEST_LOCK_WAIT_MS") {
        options.lock_wait = Duration::from_millis(wait);
    }
    let limits = &mut options.limits;
    if let Some(readers) = number("TURNPIKE_TEST_READERS") {
        limits.readers = readers as usize;
        limits.waiting = 0;
    }
    if let Some(writers) = number("TURNPIKE_TEST_WRITERS") {
        limits.writers = writers as usize;
    }
    if let Some(run) = number("TURNPIKE_TEST_RUN_S") {
        limits.run = Duration::from_secs(run);
    }
    if let Some(bytes) = number("TURNPIKE_TEST_RESULT_BYTES") {
        limits.result_bytes = bytes;
    }
    if let Some(bytes) = number("TURNPIKE_TEST_INSERT_BYTES") {
        limits.insert_bytes = bytes;
    }
    if let Some(idle) = number("TURNPIKE_TEST_IDLE_MS") {
        limits.idle = Duration::from_millis(idle);
    }
    options
}

#[test]
fn engine_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let say = |text: String| {
        let mut output = std::io::stdout().lock();
        writeln!(output, "\n{text}").and_then(|()| output.flush()).unwrap();
    };
    // Before the runtime has threads: only those that come later are confined.
    if let Err(error) = analytics_engine::confine(&options(folder.as_ref())) {
        say(format!("{FAILED}{error}"));
        std::process::exit(1);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    let outcome = runtime.block_on(async {
        tokio::spawn(async move {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            term.recv().await;
            asked.cancel();
        });
        analytics_engine::run(options(folder.as_ref()), shutdown, |address| say(format!("{READY}{address}")))
            .await
    });
    if let Err(error) = outcome {
        say(format!("{FAILED}{error}"));
        std::process::exit(1);
    }
}
