//! One run of `turnpike up`: start, publish, follow changes, send the demo's traffic, end in order.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::demo::{self, Traffic};
use super::parts::{Parts, Plan};
use super::publish::Publisher;
use super::watch::FolderWatch;
use super::{follow, receiver};
use crate::client::Analytics;
use crate::output::{Style, paint, say};
use crate::state::{self, State};

/// Run everything on this machine from a folder of YAML files, and follow its changes.
///
/// Starts the store, analytics with its console, and a gateway for the Gateways in DIR, prints where they are, and
/// stays until Ctrl-C. Mistakes are printed with file, line and cure; what is right is served all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of YAML files: Gateway API kinds and those of `turnpike.dev`.
    dir: PathBuf,
    /// Folder for usage data, tokens, certificates and logs; other commands look here for the running parts.
    #[arg(long, default_value = state::DEFAULT, env = "TURNPIKE_STATE")]
    state: PathBuf,
    /// Address of the analytics API and the console.
    #[arg(long, default_value = "127.0.0.1:9090", env = "TURNPIKE_LISTEN")]
    listen: String,
    /// Address that the Gateways' listeners bind.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Bind port SOCKET for listeners of port LISTENER, such as 443=8443 to run without privileges; may be repeated.
    #[arg(long = "port", value_name = "LISTENER=SOCKET", value_parser = gateway_program::port_pair)]
    ports: Vec<(u16, u16)>,
    /// Use this ClickHouse instead of the embedded engine.
    #[arg(long, value_name = "URL")]
    clickhouse: Option<String>,
    /// User of that ClickHouse; its password is read from `TURNPIKE_CLICKHOUSE_PASSWORD`.
    #[arg(long, value_name = "USER", default_value = "default")]
    clickhouse_user: String,
    /// The embedded engine's library, when it is not where `make engine` puts it.
    #[arg(long, env = "TURNPIKE_ENGINE_LIB")]
    engine_lib: Option<PathBuf>,
    /// Send the traffic that this file describes, receive alerts, and compare usage with the sender's own count.
    #[arg(long, value_name = "FILE")]
    demo: Option<PathBuf>,
    /// With --demo: stop when its usage is complete and an alert has arrived.
    #[arg(long, requires = "demo")]
    once: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = gateway_program::shutdown();
    let traffic = args.demo.as_deref().map(Traffic::read).transpose()?;
    let state = State::create(&args.state)?;
    let _lock = state.lock()?;
    let folder = std::fs::canonicalize(&args.dir)
        .with_context(|| format!("{} cannot be read: name a folder of YAML files", args.dir.display()))?;
    let mut publisher = Publisher::new(folder.clone(), state.clone())?;
    let watch = FolderWatch::new(&folder)?;
    say(&paint(Style::Strong, &format!("Compiling {}", args.dir.display())))?;
    let first = publisher.publish()?;
    follow::report(&first)?;
    say(&paint(Style::Strong, "Starting"))?;
    let alerts = match &traffic {
        Some(traffic) => Some(receiver::listen(&traffic.receiver).await?),
        None => None,
    };
    let plan = Plan {
        state: &state,
        snapshot: publisher.snapshot_path(),
        catalog: publisher.catalog_path(),
        listen: args.listen.clone(),
        bind: args.bind,
        ports: args.ports.clone(),
        clickhouse: args.clickhouse.clone(),
        clickhouse_user: args.clickhouse_user.clone(),
        engine_lib: args.engine_lib.clone(),
        upstream: traffic.as_ref().map(|traffic| traffic.upstream.to_string()),
    };
    let parts = plan.start().await?;
    let info = parts.info(&folder);
    state.write_run_info(&info)?;
    let admin = Analytics::new(&info.admin, state.token()?)?;
    follow::confirm(&publisher, &admin, &first).await?;
    say(&addresses(&parts, &state)?)?;
    let demo = async {
        match (&traffic, alerts) {
            (Some(traffic), Some(alerts)) => demo::run(traffic, alerts, &state, args.once).await,
            _ => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = follow::follow(&mut publisher, &admin, watch) => result.map(|()| ExitCode::SUCCESS),
        result = demo => result,
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
    };
    say("Stopping: draining requests, handing over usage records")?;
    parts.stop().await;
    result
}

fn addresses(parts: &Parts, state: &State) -> anyhow::Result<String> {
    let info = state.run_info()?;
    Ok(format!(
        "\n{}\n  console    {}/#token={}\n  admin      {}\n  CA         {}\n\nAsk in another terminal: turnpike usage | \
         turnpike explain URL | turnpike doctor\n{}",
        paint(Style::Good, "Serving. Ctrl-C stops."),
        info.analytics,
        state.token()?,
        info.admin,
        state.path("ca/ca.pem").display(),
        parts.summary(),
    ))
}
