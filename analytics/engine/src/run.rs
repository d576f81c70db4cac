//! The life of an engine process: lock, boot, serve, drain, stop.
//!
//! In: options, a token that asks for the end. Out: a bound endpoint told through `ready`, and the reason when it cannot
//! run. Ends by itself when the watched parent ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::auth::Keys;
use crate::ffi::LoadError;
use crate::lanes::Lanes;
use crate::locate::{LocateError, locate};
use crate::lock::{DataLock, LockError};
use crate::options::Options;
use crate::parent;
use crate::server::{Server, router};
use crate::store::{BootError, Store};

/// How long cancelled statements may take to end before the process ends without them.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Why an engine process cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Options that do not go together.
    #[error("{0}")]
    Options(&'static str),
    /// The library is not there.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The library is there and cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Another process holds the data folder, or it cannot be used.
    #[error("{0}")]
    Folder(String),
    /// The kernel refuses to confine the process.
    #[error("cannot confine the engine to its data folder: {0}")]
    Confine(String),
    /// The engine does not open the data folder.
    #[error("{0}")]
    Boot(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for a free port")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The parent's process id cannot be watched.
    #[error("cannot watch the parent process {pid}: {source}")]
    Parent {
        /// The process id.
        pid: u32,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Accepting connections failed.
    #[error("the endpoint stopped: {0}")]
    Serve(std::io::Error),
    /// A thread of ours panicked.
    #[error("a part of the engine process stopped unexpectedly: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        Self::Folder(error.to_string())
    }
}

impl From<BootError> for Error {
    fn from(error: BootError) -> Self {
        match error {
            BootError::Load(error) => Self::Load(error),
            other => Self::Boot(other.to_string()),
        }
    }
}

/// Runs the engine until `shutdown` is cancelled or the parent ends, then lets running statements finish within
/// [`Options::grace`]. Calls `ready` once with the bound address when statements are accepted.
///
/// One call per process: the engine cannot be booted twice. Needs a multi-thread runtime. After it returns, the process
/// should exit.
pub async fn run(
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    check(&options)?;
    let library = locate(options.lib.as_deref())?;
    let shutdown = shutdown.child_token();
    if let Some(pid) = options.parent_pid {
        watch_parent(pid, shutdown.clone())?;
    }
    let (folder, patience) = (options.path.clone(), options.lock_wait);
    let lock = spawn_blocking(move || DataLock::take(&folder, patience)).await??;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| Error::Listen { address: options.listen, source })?;
    let address = listener.local_addr().map_err(Error::Serve)?;
    let (folder, limits): (PathBuf, _) = (options.path.clone(), options.limits);
    let store = Arc::new(spawn_blocking(move || Store::boot(&library, &folder, &limits)).await??);
    tracing::info!(version = store.version(), %address, path = %options.path.display(), "engine is ready");
    ready(address);
    let outcome = serve(listener, Arc::clone(&store), &options, shutdown).await;
    let stopped = spawn_blocking(move || store.stop()).await?;
    if !stopped {
        tracing::warn!("the engine still ran a statement when it was stopped");
    }
    drop(lock);
    outcome
}

fn check(options: &Options) -> Result<(), Error> {
    if !options.listen.ip().is_loopback() && options.token.is_none() {
        return Err(Error::Options(
            "listening outside loopback needs a token: set one, or listen on 127.0.0.1",
        ));
    }
    if options.read_token.is_some() && options.token.is_none() {
        return Err(Error::Options("a read token without a token protects nothing: set both"));
    }
    Ok(())
}

fn watch_parent(pid: u32, shutdown: CancellationToken) -> Result<(), Error> {
    parent::watch(pid, move || {
        tracing::info!(pid, "the parent process has ended");
        shutdown.cancel();
    })
    .map_err(|source| Error::Parent { pid, source })
}

async fn serve(
    listener: TcpListener,
    store: Arc<Store>,
    options: &Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let lanes = Arc::new(Lanes::new(&options.limits));
    let server = Server {
        store: Arc::clone(&store),
        keys: Keys::new(options.token.as_deref(), options.read_token.as_deref()),
        lanes: Arc::clone(&lanes),
        limits: options.limits,
        stop: stop.clone(),
    };
    let serving =
        axum::serve(listener, router(server)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let mut serving = tokio::spawn(serving.into_future());
    let ended = tokio::select! {
        ended = &mut serving => Some(ended?),
        () = shutdown.cancelled() => None,
    };
    if let Some(Err(error)) = ended {
        return Err(Error::Serve(error));
    }
    if tokio::time::timeout(options.grace, lanes.drain()).await.is_err() {
        tracing::warn!("giving up statements that are still running");
        stop.cancel();
        let _ = spawn_blocking(move || store.kill_all()).await?;
        let _ = tokio::time::timeout(GIVE_UP, lanes.drain()).await;
    }
    if ended.is_none() {
        // Answers that are still on their way to slow clients.
        let _ = tokio::time::timeout(options.grace, &mut serving).await;
        serving.abort();
    }
    Ok(())
}
