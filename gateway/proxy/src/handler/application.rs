//! The gateway as the listeners see it.

use std::sync::Arc;

use analytics_record::Reason;
use async_trait::async_trait;
use gateway_pipeline::{Exchange, LocalResponse, RequestHead, TlsHead};
use http::header::HOST;
use http::{HeaderMap, Version};
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};

use super::context::{Context, Facts};
use super::{Handler, answer, record};
use crate::fast;
use crate::listen::{Application, Connection, Downstream, Fault, Handed, Head, Limits, Served, Sketch};
use crate::shared::Shared;
use crate::thread;

/// Attempts that pingora allows; ours end before.
const ATTEMPTS: usize = 260;

/// Everything that serves requests.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// One for each worker, with upstream connections of its own: two threads that want one at once can both lose it.
    proxies: Box<[Arc<HttpProxy<Handler>>]>,
}

impl Gateway {
    /// A gateway with pools of `upstream_connections` upstream connections, taken together, for so many workers.
    pub(crate) fn new(shared: Arc<Shared>, upstream_connections: usize, workers: usize) -> Self {
        let conf = Arc::new(ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: upstream_connections.div_ceil(workers),
            max_retries: ATTEMPTS,
            ..ServerConf::default()
        });
        let proxy = |_| Arc::new(http_proxy(&conf, Handler::new(Arc::clone(&shared))));
        Self { proxies: (0..workers).map(proxy).collect(), shared }
    }

    /// Records a request that cannot be served; the answer to it.
    fn recorded(&self, connection: &Arc<Connection>, fault: Fault, sketch: &Sketch) -> LocalResponse {
        tracing::debug!(peer = %connection.peer, %fault, "a request is refused unread");
        let mut ctx = Context::new(&self.shared);
        let (exchange, response) = self.unparsed(connection, fault, sketch);
        ctx.exchange = Some(exchange);
        ctx.ending.status = response.status.as_u16();
        ctx.ending.local_bytes = response.body.len() as u64;
        ctx.facts = Some(Facts::unparsed(connection));
        record::write(&mut ctx);
        response
    }

    /// An exchange for a request that cannot be served, and the answer to it.
    fn unparsed(&self, connection: &Connection, fault: Fault, sketch: &Sketch) -> (Exchange, LocalResponse) {
        let mut headers = HeaderMap::new();
        if let Some(host) = sketch.host.as_deref().and_then(|host| host.parse().ok()) {
            headers.insert(HOST, host);
        }
        let head = RequestHead {
            method: sketch.method.as_deref().unwrap_or_default(),
            target: sketch.path.as_deref().unwrap_or_default().as_bytes(),
            authority: None,
            version: Version::HTTP_11,
            headers: &headers,
            peer: connection.peer.ip().to_canonical(),
            listener_port: connection.port.number(),
            local_port: connection.local.port(),
            tls: connection.tls.as_ref().map(|_| TlsHead { server_name: None }),
            request_id: uuid::Uuid::now_v7().as_u128(),
            random: 0,
        };
        let config = self.shared.config.load();
        Exchange::unparsed(&config.prepared, &head, reason(fault), self.shared.clock.now())
    }
}

/// The word of the vocabulary for a fault.
fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::Malformed(_) | Fault::TransferCoding | Fault::ConnectMethod | Fault::HeadTimeout => {
            Reason::MalformedRequest
        }
        Fault::TargetTooLong => Reason::UriTooLong,
        Fault::HeaderTooLarge | Fault::TooManyFields => Reason::HeadersTooLarge,
        Fault::TooManyConnections => Reason::TooManyConnections,
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

#[async_trait]
impl Application for Gateway {
    fn limits(&self) -> Limits {
        self.shared.config.load().limits
    }

    fn plain(&self, stream: &mut Downstream, head: &Head) -> impl Future<Output = Served> + Send {
        fast::serve(&self.shared, stream, head)
    }

    fn plain_stream(
        &self,
        session: ServerSession,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Option<Handed>> + Send {
        fast::serve_stream(&self.shared, session, connection)
    }

    async fn request(&self, session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        thread::own(&self.proxies).process_new_http(session, shutdown).await
    }

    fn refuse(&self, connection: &Arc<Connection>, fault: Fault, sketch: &Sketch) -> Vec<u8> {
        answer::raw(&self.recorded(connection, fault, sketch), false, false)
    }

    async fn refuse_stream(
        &self,
        session: &mut ServerSession,
        connection: &Arc<Connection>,
        fault: Fault,
        sketch: &Sketch,
    ) {
        let response = self.recorded(connection, fault, sketch);
        // A caller that does not take it is gone.
        let _ = answer::send(session, response).await;
    }

    fn connection_dropped(&self) {
        self.shared.metrics.connections_over_limit.inc();
    }

    fn handshake_failed(&self) {
        self.shared.metrics.handshakes_failed.inc();
    }
}
