//! The embedded engine, once for all tests, as a child process that ends with them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const FOLDER: &str = "TURNPIKE_TEST_ENGINE_FOLDER";
const PARENT: &str = "TURNPIKE_TEST_ENGINE_PARENT";
const PORT: &str = "TURNPIKE_TEST_ENGINE_PORT";
/// What the child says when it takes statements.
const READY: &str = "engine at ";

/// A running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    pub(crate) folder: PathBuf,
    child: std::process::Child,
}

impl Engine {
    /// Starts an engine on `folder`.
    pub(crate) fn start(folder: PathBuf, port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["engine_process", "--exact", "--nocapture"])
            .env(FOLDER, &folder)
            .env(PARENT, std::process::id().to_string())
            .env(PORT, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once(READY).map(|(_, address)| address.trim().parse().unwrap()))
            .expect("the engine starts; run `make engine` if its library is absent");
        Self { address, folder, child }
    }

    /// Ends it without warning.
    pub(crate) fn kill(mut self) -> (PathBuf, u16) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.folder.clone(), self.address.port())
    }

    /// The engine that tests share, each with a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        SHARED.get_or_init(|| {
            let folder = std::env::temp_dir().join(format!("turnpike-test-engine-{}", std::process::id()));
            Self::start(folder, 0)
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The child's side.
pub(crate) fn serve() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut options = analytics_engine::Options::new(PathBuf::from(&folder));
    options.parent_pid = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    let port = std::env::var(PORT).ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    options.listen = SocketAddr::from(([127, 0, 0, 1], port));
    options.grace = Duration::from_millis(200);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let ready = |address: SocketAddr| println!("\n{READY}{address}");
    runtime.block_on(analytics_engine::run(options, shutdown, ready)).unwrap();
    // Only the end of the parent ends it, and nobody else is left to clean up.
    let _ = std::fs::remove_dir_all(folder);
    std::process::exit(0);
}
