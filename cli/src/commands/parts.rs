//! The parts as programs of their own: `turnpike gateway`, `turnpike analytics`, `turnpike engine`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;

use super::{print_ready, shutdown};

/// Secrets come from the environment: a command line is visible to every user of the machine.
const TOKEN: &str = "TURNPIKE_TOKEN";
const CLICKHOUSE_PASSWORD: &str = "TURNPIKE_CLICKHOUSE_PASSWORD";

fn token() -> anyhow::Result<String> {
    std::env::var(TOKEN).with_context(|| format!("set {TOKEN} to the token that the parts show each other"))
}

/// A subcommand prints where it listens once it serves.
fn announce(address: SocketAddr) {
    if let Err(error) = print_ready(address) {
        tracing::warn!(%error, "cannot print the address");
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// Address of the admin endpoint: health, metrics, status.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Snapshot file to serve and watch.
    #[arg(long)]
    snapshot: PathBuf,
    /// Folder for the spool and the last good snapshot.
    #[arg(long)]
    state: PathBuf,
    /// Base URL of analytics.
    #[arg(long)]
    analytics: String,
    /// Address that listeners bind.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
}

pub(crate) async fn gateway(args: GatewayArgs) -> anyhow::Result<()> {
    let stop = shutdown();
    let token = token()?;
    let mut options = gateway_proxy::Options::new(args.snapshot, args.state);
    options.admin = args.listen;
    options.admin_token = Some(token.clone());
    options.address = args.bind;
    options.analytics = Some(gateway_proxy::Analytics { url: args.analytics, token });
    let process = gateway_proxy::Process::start(options).await?;
    announce(process.admin());
    process.run(stop).await;
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(crate) struct AnalyticsArgs {
    /// Address of the API and the console.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder for quotas and alerts.
    #[arg(long)]
    state: PathBuf,
    /// Catalog file to follow.
    #[arg(long)]
    catalog: PathBuf,
    /// Base URL of ClickHouse, or of `turnpike engine`.
    #[arg(long)]
    clickhouse: String,
    /// User of that ClickHouse; its password is read from `TURNPIKE_CLICKHOUSE_PASSWORD`. Without one, the token of
    /// the parts is shown, as `turnpike engine` wants it.
    #[arg(long)]
    clickhouse_user: Option<String>,
}

pub(crate) async fn analytics(args: AnalyticsArgs) -> anyhow::Result<()> {
    let token = token()?;
    let mut options = analytics_service::Options::new(token.clone(), args.clickhouse, args.state);
    options.listen = args.listen;
    options.catalog_path = Some(args.catalog);
    options.clickhouse_token = match &args.clickhouse_user {
        Some(_) => std::env::var(CLICKHOUSE_PASSWORD).ok(),
        None => Some(token),
    };
    options.clickhouse_user = args.clickhouse_user;
    Ok(analytics_service::run(options, shutdown(), announce).await?)
}

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Address of the ClickHouse HTTP interface.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder of the data.
    #[arg(long)]
    path: PathBuf,
    /// The engine's library, when it is not where `make engine` puts it.
    #[arg(long, env = "TURNPIKE_ENGINE_LIB")]
    lib: Option<PathBuf>,
}

pub(crate) async fn engine(args: EngineArgs) -> anyhow::Result<()> {
    let mut options = analytics_engine::Options::new(args.path);
    options.listen = args.listen;
    options.lib = args.lib;
    options.token = Some(token()?);
    Ok(analytics_engine::run(options, shutdown(), announce).await?)
}
