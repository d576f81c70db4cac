//! `turnpike`: the one binary. It parses options, builds the parts and runs them; what they do is in their crates.

mod client;
mod commands;
mod output;
#[cfg(test)]
mod reference;
mod state;
mod up;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use commands::Command;
use output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An API gateway that knows who uses what.
///
/// Start with `turnpike up DIR`, where DIR holds YAML files (see examples/shop), then ask `turnpike usage`,
/// `turnpike explain URL`, `turnpike why REQUEST-ID` and `turnpike doctor` in the same folder.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Form of results.
    #[arg(short, long, global = true, default_value = "text")]
    output: Output,
    /// What to log on standard error, as in `info` or `gateway_proxy=debug`.
    #[arg(long, global = true, default_value = "info", env = "TURNPIKE_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Before anything else: a library that came first would choose its own provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        unreachable!("nothing has run before main");
    }
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    if let Command::Engine(args) = &cli.command
        && let Err(error) = commands::parts::confine_engine(args)
    {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(commands::run(cli.command, cli.output)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}
