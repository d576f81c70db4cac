//! The gateway's command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gateway_snapshot::UNPRIVILEGED;

use crate::address;
use crate::memory::{give_back, small_pages};
use crate::process::{announce, shutdown};

/// Secrets come from the environment: a command line is visible to every user of the machine.
const TOKEN: &str = "TURNPIKE_TOKEN";

/// The token that the parts show each other.
pub fn token() -> anyhow::Result<String> {
    std::env::var(TOKEN).with_context(|| format!("set {TOKEN} to the token that the parts show each other"))
}

/// `LISTENER=SOCKET`: a listener's port as the resources have it, and the port to bind for it.
pub fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text
        .split_once('=')
        .and_then(|(listener, socket)| Some((listener.parse().ok()?, socket.parse().ok()?)));
    pair.ok_or_else(|| "write two ports with `=` between them, such as 443=8443".to_owned())
}

/// Of the command `gateway`.
#[derive(Debug, clap::Args)]
pub struct GatewayArgs {
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

/// Threads for all that a gateway does beside requests, which have threads of their own.
pub const BESIDE_REQUESTS: usize = 1;

/// Runs a gateway until it is told to stop.
pub async fn gateway(args: GatewayArgs) -> anyhow::Result<()> {
    small_pages();
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
    options.give_back = give_back;
    options.analytics = args.analytics.map(|url| gateway_proxy::Analytics { url, token, identity });
    let process = gateway_proxy::Process::start(options).await?;
    announce(process.admin());
    process.run(stop).await;
    Ok(())
}
