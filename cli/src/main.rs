//! `turnpike`: the one binary. It parses options, builds the parts and runs them; what they do is in their crates.

mod client;
mod commands;
mod output;
#[cfg(test)]
mod reference;
mod state;
mod up;

use std::process::ExitCode;

use clap::Parser;
use gateway_program::{BESIDE_REQUESTS, begin, fail, run};

use commands::Command;
use output::Output;

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
    let cli = Cli::parse();
    begin(&cli.log);
    if let Command::Engine(args) = &cli.command
        && let Err(error) = commands::parts::confine_engine(args)
    {
        return fail(&error);
    }
    let threads = matches!(cli.command, Command::Gateway(_)).then_some(BESIDE_REQUESTS);
    run(threads, commands::run(cli.command, cli.output))
}
