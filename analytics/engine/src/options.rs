//! What an engine process is told at start.
//!
//! In: values from flags or a parent process. Out: checked options. Holds no secrets beyond the two tokens, which never
//! appear in `Debug` output.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How one engine process runs.
#[derive(Clone)]
pub struct Options {
    /// Data folder; created when missing. One process at a time may hold it.
    pub path: PathBuf,
    /// The engine's library. `None` searches as [`crate::locate`] says.
    pub lib: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one. An address outside loopback needs a `token`.
    pub listen: SocketAddr,
    /// Secret for every request but `/ping`, as a bearer token, a basic password or `X-ClickHouse-Key`. `None` admits
    /// every local process.
    pub token: Option<String>,
    /// Second secret, good for reading statements only. Needs a `token`.
    pub read_token: Option<String>,
    /// Process whose end stops this one, usually the one that started it. Watched through a pidfd, so a reused id is not
    /// mistaken for it and it does not matter which of its threads did the starting.
    pub parent_pid: Option<u32>,
    /// How long to wait for another process to let go of `path`, such as one that was just killed.
    pub lock_wait: Duration,
    /// How long running requests may take to finish after shutdown was asked for.
    pub grace: Duration,
    /// Bounds on what requests may use.
    pub limits: Limits,
}

impl Options {
    /// Options for a data folder, on a free loopback port, without tokens.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            lib: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            read_token: None,
            parent_pid: None,
            lock_wait: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("path", &self.path)
            .field("lib", &self.lib)
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("read_token", &self.read_token.as_ref().map(|_| "…"))
            .field("parent_pid", &self.parent_pid)
            .field("lock_wait", &self.lock_wait)
            .field("grace", &self.grace)
            .field("limits", &self.limits)
            .finish()
    }
}

/// Bounds on what requests may use. A request may ask for less in its settings, never for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Reading statements that run at once.
    pub readers: usize,
    /// Other statements that run at once: inserts, DDL, mutations.
    pub writers: usize,
    /// Requests of each sort that may wait for their turn; more are refused with 503.
    pub waiting: usize,
    /// Longest wait for a turn.
    pub wait: Duration,
    /// Longest run of one statement.
    pub run: Duration,
    /// Longest pause of a client while it sends an insert or reads an answer.
    pub idle: Duration,
    /// Memory for one statement, in bytes.
    pub statement_memory: u64,
    /// Memory for all statements and caches, in bytes.
    pub engine_memory: u64,
    /// Largest result of one statement, in bytes before compression.
    pub result_bytes: u64,
    /// Largest insert of one request, in bytes after decompression.
    pub insert_bytes: u64,
    /// Largest statement text in a request body, in bytes.
    pub sql_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            readers: 4,
            writers: 2,
            waiting: 64,
            wait: Duration::from_secs(30),
            run: Duration::from_mins(5),
            idle: Duration::from_secs(30),
            statement_memory: 1024 * MIB,
            engine_memory: 3072 * MIB,
            result_bytes: 512 * MIB,
            insert_bytes: 1024 * MIB,
            sql_bytes: 4 * MIB as usize,
        }
    }
}
