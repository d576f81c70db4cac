//! The parts as programs of their own: `turnpike gateway`, `turnpike analytics`, `turnpike engine`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use analytics_service::{CatalogSource, Operator};
use anyhow::Context;

use super::{address, print_ready, shutdown};

/// Secrets come from the environment: a command line is visible to every user of the machine.
const TOKEN: &str = "TURNPIKE_TOKEN";
const CLICKHOUSE_PASSWORD: &str = "TURNPIKE_CLICKHOUSE_PASSWORD";
/// Added to listener ports below 1024 where they are bound without a privilege.
const UNPRIVILEGED: u16 = operator_compile::UNPRIVILEGED;

fn token() -> anyhow::Result<String> {
    std::env::var(TOKEN).with_context(|| format!("set {TOKEN} to the token that the parts show each other"))
}

/// `LISTENER=SOCKET`: a listener's port as the resources have it, and the port to bind for it.
pub(crate) fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text
        .split_once('=')
        .and_then(|(listener, socket)| Some((listener.parse().ok()?, socket.parse().ok()?)));
    pair.ok_or_else(|| "write two ports with `=` between them, such as 443=8443".to_owned())
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
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address::listen)]
    listen: SocketAddr,
    /// Snapshot file to serve and watch.
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    snapshot: Option<PathBuf>,
    /// URL of the operator that gives snapshots, such as <https://turnpike-operator.turnpike-system:9443>.
    #[arg(long, requires_all = ["fleet", "replica", "identity"])]
    operator: Option<String>,
    /// `namespace/name` of the Gateway that this process serves.
    #[arg(long)]
    fleet: Option<String>,
    /// Name of this process within its fleet: that of its Pod.
    #[arg(long)]
    replica: Option<String>,
    /// Folder with tls.crt, tls.key and ca.crt, by which this process and the operator know each other.
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Folder for the spool and the last good snapshot.
    #[arg(long)]
    state: PathBuf,
    /// Base URL of analytics. Without it usage stays in the spool, and hard quotas refuse.
    #[arg(long)]
    analytics: Option<String>,
    /// Address that listeners bind; `::` for every one of IPv6 and IPv4.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = address::bind)]
    bind: IpAddr,
    /// Bind port SOCKET for listeners of port LISTENER, such as 443=8443; may be repeated.
    #[arg(long = "port", value_name = "LISTENER=SOCKET", value_parser = port_pair)]
    ports: Vec<(u16, u16)>,
    /// Bind port P + 64512 for listeners of each port P below 1024, which needs no privilege. Callers come through a
    /// Service that forwards the listeners' own ports.
    #[arg(long)]
    unprivileged_ports: bool,
    /// After SIGTERM: how many seconds to go on accepting while not ready, so that balancers notice.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain_delay: u64,
    /// After the drain: how many seconds to hand over usage that the store has not confirmed.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    handover: u64,
    /// Bytes that usage may take on disk while analytics is away; from 80 % of it on, counts are kept without detail.
    #[arg(long, env = "TURNPIKE_SPOOL_BYTES", default_value_t = 4 << 30)]
    spool_bytes: u64,
    /// Bytes of each thread's ring of records on their way to disk, about 250 for each request.
    #[arg(long, env = "TURNPIKE_SPOOL_RING_BYTES", default_value_t = 16 << 20)]
    spool_ring_bytes: usize,
}

pub(crate) async fn gateway(args: GatewayArgs) -> anyhow::Result<()> {
    let stop = shutdown();
    let token = token()?;
    let identity = args.operator.is_some().then(|| args.identity.clone()).flatten();
    let snapshots = match (args.snapshot, args.operator) {
        (Some(path), _) => gateway_proxy::Snapshots::File(path),
        (None, url) => gateway_proxy::Snapshots::Operator(gateway_proxy::Operator {
            url: url.unwrap_or_default(),
            fleet: args.fleet.unwrap_or_default(),
            replica: args.replica.unwrap_or_default(),
            identity: args.identity.unwrap_or_default(),
        }),
    };
    let mut options = gateway_proxy::Options::new(snapshots, args.state);
    options.admin = args.listen;
    options.admin_token = Some(token.clone());
    options.address = args.bind;
    let low = (1..1024).filter(|_| args.unprivileged_ports).map(|port| (port, port + UNPRIVILEGED));
    options.port_map = low.chain(args.ports).collect();
    options.forwarded = args.unprivileged_ports;
    options.drain_delay = Duration::from_secs(args.drain_delay);
    options.handover = Duration::from_secs(args.handover);
    options.spool_bytes = args.spool_bytes;
    options.spool_ring_bytes = args.spool_ring_bytes;
    options.analytics = args.analytics.map(|url| gateway_proxy::Analytics { url, token, identity });
    let process = gateway_proxy::Process::start(options).await?;
    announce(process.admin());
    process.run(stop).await;
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(crate) struct AnalyticsArgs {
    /// Address of the API and the console.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address::listen)]
    listen: SocketAddr,
    /// Folder for quotas and alerts.
    #[arg(long)]
    state: PathBuf,
    /// Catalog file to follow.
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    catalog: Option<PathBuf>,
    /// URL of the operator that gives the catalog, such as <https://turnpike-operator.turnpike-system:9443>.
    #[arg(long, requires = "identity")]
    operator: Option<String>,
    /// Address for gateways that show certificates of the operator's CA.
    #[arg(long, requires = "identity", value_parser = address::listen)]
    gateways_listen: Option<SocketAddr>,
    /// Folder with tls.crt, tls.key and ca.crt, by which this process, the operator and gateways know each other.
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Base URL of ClickHouse, or of `turnpike engine`.
    #[arg(long)]
    clickhouse: String,
    /// User of that ClickHouse; its password is read from `TURNPIKE_CLICKHOUSE_PASSWORD`. Without one, the token of
    /// the parts is shown, as `turnpike engine` wants it.
    #[arg(long)]
    clickhouse_user: Option<String>,
    /// ClickHouse was started just now, so no insert of an earlier life can be running in it.
    #[arg(long, hide = true)]
    fresh_store: bool,
}

pub(crate) async fn analytics(args: AnalyticsArgs) -> anyhow::Result<()> {
    let token = token()?;
    let mut options = analytics_service::Options::new(token.clone(), args.clickhouse, args.state);
    options.listen = args.listen;
    let identity = args.identity.unwrap_or_default();
    options.catalog = match (args.catalog, args.operator) {
        (Some(path), _) => Some(CatalogSource::File(path)),
        (None, url) => url.map(|url| CatalogSource::Operator(Operator { url, identity: identity.clone() })),
    };
    options.gateways = args.gateways_listen.map(|address| (address, identity));
    options.clickhouse_token = match &args.clickhouse_user {
        Some(_) => std::env::var(CLICKHOUSE_PASSWORD).ok(),
        None => Some(token),
    };
    options.clickhouse_user = args.clickhouse_user;
    options.fresh_store = args.fresh_store;
    Ok(analytics_service::run(options, shutdown(), announce).await?)
}

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Address of the ClickHouse HTTP interface.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address::listen)]
    listen: SocketAddr,
    /// Folder of the data.
    #[arg(long)]
    path: PathBuf,
    /// The engine's library, when it is not where `make engine` puts it.
    #[arg(long, env = "TURNPIKE_ENGINE_LIB")]
    lib: Option<PathBuf>,
}

impl EngineArgs {
    fn options(&self) -> analytics_engine::Options {
        let mut options = analytics_engine::Options::new(&self.path);
        options.listen = self.listen;
        options.lib.clone_from(&self.lib);
        options
    }
}

/// Before the process has other threads: statements reach no file but the engine's own.
pub(crate) fn confine_engine(args: &EngineArgs) -> anyhow::Result<()> {
    analytics_engine::confine(&args.options())?;
    Ok(())
}

pub(crate) async fn engine(args: EngineArgs) -> anyhow::Result<()> {
    let mut options = args.options();
    options.token = Some(token()?);
    Ok(analytics_engine::run(options, shutdown(), announce).await?)
}
