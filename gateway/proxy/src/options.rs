//! What the process is told when it starts. Everything else comes with a snapshot and changes without a restart.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use crate::source::Operator;

/// Options of a gateway process.
#[derive(Clone)]
pub struct Options {
    /// Where snapshots come from.
    pub snapshots: Snapshots,
    /// Directory for the spool and the last good snapshot; made if it does not exist. One process at a time.
    pub state_dir: PathBuf,
    /// Where usage goes and leases come from. None: usage stays in the spool, hard quotas refuse.
    pub analytics: Option<Analytics>,
    /// Address that listeners bind.
    pub address: IpAddr,
    /// Ports of sockets that differ from their listener's (for example 443 → 8443, to run without privileges).
    pub port_map: BTreeMap<u16, u16>,
    /// Callers see the ports of listeners, because something forwards these to the sockets: a Service does.
    pub forwarded: bool,
    /// Address of health, metrics and status; port 0 lets the system choose.
    pub admin: SocketAddr,
    /// Token for metrics and status; none: no token is asked for.
    pub admin_token: Option<String>,
    /// Idle connections that are kept to upstreams, over all of them. At least the peak of concurrent requests.
    pub upstream_connections: usize,
    /// After SIGTERM: how long to go on accepting while not ready, so that balancers notice.
    pub drain_delay: Duration,
    /// After the drain: how long to hand usage over that the store has not confirmed.
    pub handover: Duration,
    /// Bytes that unsent usage may take on disk; from 80 % of it on, detail is given up and counts are kept.
    pub spool_bytes: u64,
    /// Bytes of each thread's ring of records on their way to the spool, about 250 for each request; reserved on disk
    /// at start. When a ring is full, counts are kept without detail.
    pub spool_ring_bytes: usize,
    /// How long to wait for another process to let go of the spool, such as one that drains after its parent was killed.
    pub spool_wait: Duration,
    /// Gives memory that is free back to the system; called after a change is served, at most once in a second.
    pub give_back: fn(),
    /// Threads that serve connections: one for each core.
    pub threads: usize,
}

/// Where snapshots come from.
#[derive(Debug, Clone)]
pub enum Snapshots {
    /// A file, watched. The answer to each version stands beside it as `<file>.ack.json`.
    File(PathBuf),
    /// An operator.
    Operator(Operator),
}

/// The analytics service.
#[derive(Clone)]
pub struct Analytics {
    /// Base URL, for example `http://127.0.0.1:9100`.
    pub url: String,
    /// Bearer token.
    pub token: String,
    /// Folder with `tls.crt`, `tls.key` and `ca.crt`, where both sides show certificates.
    pub identity: Option<PathBuf>,
}

impl Options {
    /// Options with defaults: listeners on all IPv4 addresses, the admin endpoint on a free loopback port.
    pub fn new(snapshots: Snapshots, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            snapshots,
            state_dir: state_dir.into(),
            analytics: None,
            address: Ipv4Addr::UNSPECIFIED.into(),
            port_map: BTreeMap::new(),
            forwarded: false,
            admin: (Ipv4Addr::LOCALHOST, 0).into(),
            admin_token: None,
            upstream_connections: 4096,
            drain_delay: Duration::ZERO,
            handover: Duration::from_secs(10),
            spool_bytes: 4 << 30,
            spool_ring_bytes: 16 << 20,
            spool_wait: Duration::from_secs(30),
            give_back: || {},
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        }
    }
}

impl std::fmt::Debug for Options {
    // Tokens must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("snapshots", &self.snapshots)
            .field("state_dir", &self.state_dir)
            .field("address", &self.address)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Analytics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analytics").field("url", &self.url).finish_non_exhaustive()
    }
}
