//! A part as a program: its beginning, where it listens, and its end.

use std::io::{IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// In the environment of a child of `turnpike up`, which ends with its parent.
pub const CHILD_MARK: &str = "TURNPIKE_CHILD";

/// What a part prints once it serves.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub ready: String,
}

/// Sets up what programs of ours need: cryptography, and what `log` asks for on standard error.
pub fn begin(log: &str) {
    // Before anything else: a library that came first would choose its own provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        unreachable!("nothing has run before");
    }
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(log).unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Does `work` on a runtime of its own, with so many threads, or one for each core.
pub fn run(threads: Option<usize>, work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work));
    done.unwrap_or_else(|error| fail(&error))
}

/// Says why a program ends.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

/// Tells the parent, or a script, where this part listens.
pub fn announce(address: SocketAddr) {
    let ready = Ready { ready: address.to_string() };
    let ready = serde_json::to_string(&ready).unwrap_or_else(|error| unreachable!("plain data: {error}"));
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{ready}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "cannot print the address");
    }
}

/// Cancelled by SIGTERM and Ctrl-C, and in a child of `up` when its standard input closes.
pub fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminated() => {}
            () = input_closed() => {}
        }
        cancelled.cancel();
    });
    token
}

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Ends when the parent does; a program started by hand or by a service manager is not a child of `up`.
async fn input_closed() {
    if std::env::var_os(CHILD_MARK).is_none() {
        return std::future::pending().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own: the runtime would wait for a blocked read when it shuts down.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut byte = [0];
        while input.read(&mut byte).is_ok_and(|count| count > 0) {}
        drop(ended);
    });
    let _ = end.await;
}
