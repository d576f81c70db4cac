//! The subcommands, one module each.

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

use std::process::ExitCode;

use gateway_program::{GatewayArgs, gateway, shutdown};

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
    Gateway(GatewayArgs),
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
        Command::Gateway(args) => gateway(args).await?,
        Command::Analytics(args) => parts::analytics(args).await?,
        Command::Engine(args) => parts::engine(args).await?,
        Command::Operator(args) => operator::run(args).await?,
        Command::Crds(args) => crds::run(&args)?,
        Command::Echo(args) => echo::run(args, shutdown().cancelled_owned()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
