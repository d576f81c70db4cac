//! Downstream: sockets, TLS, and the way of a request from a connection to the proxy.
//!
//! In: the ports wanted by the snapshot in force, and an [`Application`] for requests. Out: sessions for it,
//! whose heads were checked strictly and whose limits were kept. Knows nothing of routes; must never hand a
//! byte of one request to the parser of another.

mod accept;
mod body;
mod callers;
mod connection;
mod fault;
mod frames;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod patience;
mod ports;
mod serve;
mod stream;
mod tls;
mod transport;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ReusedHttpStream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use body::{Chunks, Violation};
pub(crate) use callers::Callers;
pub(crate) use connection::{Connection, Left, PortId};
pub(crate) use fault::Fault;
pub(crate) use head::{Framing, Head, HeadLimits, Parts, Sketch};
pub(crate) use patience::Patience;
pub(crate) use ports::{BindError, Ports, Wanted};
pub(crate) use stream::{Downstream, Front};
pub(crate) use tls::{CertificateTable, certified_key, provider};
pub(crate) use workers::{Crew, Workers};

/// Limits of connections, in force from the next connection or request on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open connections.
    pub(crate) connections: usize,
    /// Of request heads.
    pub(crate) head: HeadLimits,
    /// For a TLS handshake, and for a head once it has begun.
    pub(crate) head_time: Duration,
    /// For a request to begin.
    pub(crate) idle: Duration,
}

/// What became of a request that was offered as a plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It was answered, and the connection can carry another.
    Again,
    /// It was answered, and the connection ends.
    Closed,
    /// It is not plain: the bytes stand as they did.
    HandOver,
}

/// An HTTP/2 request that is not plain.
pub(crate) struct Handed {
    /// Its stream.
    pub(crate) session: ServerSession,
    /// The request as far as it was begun, for [`Connection::leave`].
    pub(crate) begun: Option<Left>,
}

/// What serves the requests.
#[async_trait]
pub(crate) trait Application: Send + Sync + 'static {
    /// The limits in force.
    fn limits(&self) -> Limits;

    /// Serves one HTTP/1 request whose head stands at the front of `stream`, if it is plain enough.
    fn plain(&self, stream: &mut Downstream, head: &Head) -> impl Future<Output = Served> + Send;

    /// Serves one HTTP/2 request, if it is plain enough; else gives it back.
    fn plain_stream(
        &self,
        session: ServerSession,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Option<Handed>> + Send;

    /// Serves one request, and gives an HTTP/1 connection back if it can be used again.
    async fn request(&self, session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream>;

    /// Records a request with `fault`, and gives a whole HTTP/1 answer to it, after which the connection closes.
    fn refuse(&self, connection: &Arc<Connection>, fault: Fault, sketch: &Sketch) -> Vec<u8>;

    /// Records a request with `fault` and answers it on its HTTP/2 stream.
    async fn refuse_stream(
        &self,
        session: &mut ServerSession,
        connection: &Arc<Connection>,
        fault: Fault,
        sketch: &Sketch,
    );

    /// A connection was over the limit.
    fn connection_dropped(&self);

    /// A TLS handshake failed or took too long.
    fn handshake_failed(&self);
}

/// Shared by all connections.
#[derive(Debug)]
pub(crate) struct Server<A> {
    /// Serves the requests.
    pub(crate) application: A,
    /// Turns true when the server drains.
    pub(crate) shutdown: ShutdownWatch,
    /// Cancelled when draining has taken too long: every connection ends at once.
    pub(crate) kill: CancellationToken,
    /// All connections and streams.
    pub(crate) tracker: TaskTracker,
    /// The threads that serve them.
    pub(crate) workers: Workers,
}
