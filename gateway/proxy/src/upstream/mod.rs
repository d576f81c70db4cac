//! Upstream: the backends of a snapshot as pools of endpoints, and peers for pingora.
//!
//! In: the backends, in the pipeline's order, and outcomes of attempts. Out: an endpoint for each attempt.
//! State of endpoints outlives snapshots. Which backend a request goes to is the pipeline's decision.

mod dns;
mod endpoint;
mod identity;
mod idle;
mod names;
mod pool;
mod tls;
mod tunnel;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analytics_record::NameId;
use gateway_snapshot::BackendProtocol;
use pingora_core::protocols::tls::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::Notify;

use tunnel::Tunnel;

pub(crate) use identity::ClientCertificate;
pub(crate) use idle::Room;
pub(crate) use pool::{InUse, Pool};
pub(crate) use tls::{UpstreamTls, UpstreamTlsError};

/// HTTP/2 streams on one upstream connection.
const STREAMS: usize = 128;
/// Idle upstream connections are closed after this; most servers wait longer.
const IDLE: Duration = Duration::from_secs(50);
/// How long the first request to a name waits for its first look-up.
const FIRST_LOOKUP: Duration = Duration::from_secs(2);

/// Names an endpoint for records.
pub(crate) type Interner = Arc<dyn Fn(&str) -> NameId + Send + Sync>;

/// One backend with its endpoints.
pub(crate) struct Backend {
    /// Its key in the snapshot.
    pub(crate) key: String,
    /// What it is made of.
    endpoints: Vec<gateway_snapshot::Endpoint>,
    /// What its endpoints speak.
    pub(crate) protocol: BackendProtocol,
    tls: Option<UpstreamTls>,
    /// Its endpoints.
    pub(crate) pool: Pool,
    /// Rung after each look-up.
    resolved: Notify,
    intern: Interner,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("key", &self.key).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A backend that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("backend {key}: {problem}")]
pub(crate) struct BackendError {
    /// Its key in the snapshot.
    pub(crate) key: String,
    problem: UpstreamTlsError,
}

/// All backends of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    by_index: Vec<Arc<Backend>>,
    by_key: HashMap<String, Arc<Backend>>,
}

impl Upstreams {
    /// Pools for `backends`, in their order; endpoints known to `previous` keep their state.
    pub(crate) fn new<'a>(
        backends: impl Iterator<Item = (&'a str, &'a gateway_snapshot::Backend)>,
        previous: Option<&Self>,
        intern: &Interner,
    ) -> Result<Self, Vec<BackendError>> {
        let mut upstreams = Self::default();
        let mut errors = Vec::new();
        for (key, wanted) in backends {
            match Backend::new(key, wanted, previous, intern) {
                Ok(backend) => {
                    upstreams.by_key.insert(key.to_owned(), Arc::clone(&backend));
                    upstreams.by_index.push(backend);
                }
                Err(problem) => errors.push(BackendError { key: key.to_owned(), problem }),
            }
        }
        if errors.is_empty() { Ok(upstreams) } else { Err(errors) }
    }

    /// Closes plain connections that have waited too long or were closed by the other side.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.by_index.iter().for_each(|backend| backend.pool.sweep(now));
    }

    /// The backend at a place in the order.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Backend>> {
        self.by_index.get(index)
    }
}

impl Backend {
    fn new(
        key: &str,
        wanted: &gateway_snapshot::Backend,
        previous: Option<&Upstreams>,
        intern: &Interner,
    ) -> Result<Arc<Self>, UpstreamTlsError> {
        let known = previous.and_then(|previous| previous.by_key.get(key));
        let tls = wanted.tls.as_ref().map(UpstreamTls::new).transpose()?;
        if let Some(known) = known
            && known.endpoints == wanted.endpoints
            && known.protocol == wanted.protocol
            && known.tls.as_ref().map(|tls| tls.group) == tls.as_ref().map(|tls| tls.group)
        {
            return Ok(Arc::clone(known));
        }
        let backend = Arc::new(Self {
            key: key.to_owned(),
            endpoints: wanted.endpoints.clone(),
            protocol: wanted.protocol,
            tls,
            pool: known.map(|known| known.pool.fork()).unwrap_or_default(),
            resolved: Notify::new(),
            intern: Arc::clone(intern),
        });
        let literal: Vec<_> = wanted.endpoints.iter().filter_map(dns::literal).collect();
        if literal.len() == wanted.endpoints.len() {
            backend.pool.replace(&literal, intern);
        } else {
            dns::follow(&backend);
        }
        Ok(backend)
    }

    /// Waits a moment for the first addresses of a backend that is named by DNS; whether it had to.
    pub(crate) async fn ready(&self) -> bool {
        let waits = || self.pool.len() == 0 && !self.endpoints.is_empty();
        if !waits() {
            return false;
        }
        let resolved = self.resolved.notified();
        if waits() {
            let _ = tokio::time::timeout(FIRST_LOOKUP, resolved).await;
        }
        true
    }

    /// Whether its endpoints are reached over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// A peer for an attempt on `endpoint`; `tunnel`: for a request that asks for another protocol. `certificate` is
    /// shown to a backend over TLS that asks for one.
    pub(crate) fn peer(
        &self,
        endpoint: &InUse,
        connect: Duration,
        read: Option<Duration>,
        tunnel: bool,
        certificate: Option<&Arc<ClientCertificate>>,
    ) -> Box<HttpPeer> {
        let certificate = certificate.filter(|_| self.tls.is_some());
        let server_name = self.tls.as_ref().map(|tls| tls.server_name.clone()).unwrap_or_default();
        let mut peer = HttpPeer::new(endpoint.address, self.tls.is_some(), server_name);
        // Connections are shared by address: not between protocols, and not between demands on TLS.
        let mut group = self.tls.as_ref().map_or(0, |tls| tls.group);
        group ^= certificate.map_or(0, |certificate| certificate.group);
        if let Some(names) = self.tls.as_ref().and_then(|tls| tls.names.as_ref()) {
            group ^= names.place(&mut peer, endpoint.address, self.protocol, tunnel, certificate);
        } else if tunnel {
            peer.options.custom_l4 = Some(Arc::new(Tunnel(endpoint.address)));
        }
        let alpn = match self.protocol {
            BackendProtocol::Http1 => ALPN::H1,
            BackendProtocol::H2c | BackendProtocol::H2 => ALPN::H2,
        };
        if let Some(tls) = &self.tls {
            peer.options.ca.clone_from(&tls.ca);
            peer.client_cert_key = certificate.map(|certificate| Arc::clone(&certificate.pair));
        }
        let h2 = u64::from(self.protocol != BackendProtocol::Http1);
        peer.group_key = group << 2 | u64::from(tunnel) << 1 | h2;
        peer.options.alpn = alpn;
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        peer.options.read_timeout = read;
        peer.options.write_timeout = read;
        peer.options.idle_timeout = Some(IDLE);
        peer.options.max_h2_streams = STREAMS;
        Box::new(peer)
    }
}
