//! The subcommands, one module each.

mod address;
mod check;
mod crds;
mod doctor;
mod echo;
mod explain;
mod key;
mod operator;
pub(crate) mod parts;
mod usage;
mod why;

use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::output::Output;
use crate::up;

pub(crate) use usage::{Report, table as usage_table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine from a folder of YAML files, and follow its changes.
    Up(up::Args),
    Usage(usage::Args),
    Explain(explain::Args),
    Why(why::Args),
    Doctor(doctor::Args),
    Check(check::Args),
    Key(key::Args),
    /// Run a gateway alone.
    Gateway(parts::GatewayArgs),
    /// Run the analytics service alone.
    Analytics(parts::AnalyticsArgs),
    /// Run the embedded ClickHouse engine alone.
    Engine(parts::EngineArgs),
    Operator(operator::Args),
    Crds(crds::Args),
    Echo(echo::Args),
}

pub(crate) async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => return up::run(args).await,
        Command::Usage(args) => usage::run(args, output).await?,
        Command::Explain(args) => explain::run(args, output)?,
        Command::Why(args) => why::run(args, output).await?,
        Command::Doctor(args) => return doctor::run(args, output).await,
        Command::Check(args) => return check::run(&args, output),
        Command::Key(args) => key::run(args, output)?,
        Command::Gateway(args) => parts::gateway(args).await?,
        Command::Analytics(args) => parts::analytics(args).await?,
        Command::Engine(args) => parts::engine(args).await?,
        Command::Operator(args) => operator::run(args).await?,
        Command::Crds(args) => crds::run(&args)?,
        Command::Echo(args) => echo::run(args, shutdown().cancelled_owned()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancelled by SIGTERM and Ctrl-C, and in a child of `up` when its standard input closes.
pub(crate) fn shutdown() -> CancellationToken {
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
    if std::env::var_os(up::CHILD_MARK).is_none() {
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

/// Tells the parent, or a script, where this part listens.
pub(crate) fn print_ready(address: SocketAddr) -> anyhow::Result<()> {
    let ready = up::Ready { ready: address.to_string() };
    crate::output::say(&serde_json::to_string(&ready)?)
}
