//! `turnpike-gateway`: the gateway alone, with the command line that the one binary has for it.

use std::process::ExitCode;

use clap::Parser;
use gateway_program::{BESIDE_REQUESTS, GatewayArgs, begin, gateway, run};

/// The gateway of Turnpike alone.
#[derive(Debug, Parser)]
#[command(name = "turnpike", version, propagate_version = true)]
struct Cli {
    /// What to log on standard error, as in `info` or `gateway_proxy=debug`.
    #[arg(long, global = true, default_value = "info", env = "TURNPIKE_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a gateway alone.
    Gateway(GatewayArgs),
}

fn main() -> ExitCode {
    let Cli { log, command: Command::Gateway(args) } = Cli::parse();
    begin(&log);
    run(Some(BESIDE_REQUESTS), async { gateway(args).await.map(|()| ExitCode::SUCCESS) })
}
