//! Accepting: from a bound socket to a connection whose protocol is known.
//!
//! Counts connections against the limits, does the TLS handshake within the time for a head, and starts one
//! task per connection. A connection over the limit still gets an answer, as long as few of them wait for one.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, PortId, TlsFacts};
use super::serve;
use super::stream::Downstream;
use super::transport::Transport;
use super::workers::Held;
use super::{Application, Server};

/// Connections over the limit that are answered before more are just closed.
const ANSWERED_OVER_LIMIT: usize = 64;
/// Pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the accept loop of a port looks at for each new connection.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) id: PortId,
    /// Port that callers see, when something in front of the socket forwards another one to it.
    pub(super) seen: Option<u16>,
    /// Present: TLS.
    pub(super) tls: ArcSwapOption<ServerConfig>,
}

/// Accepts, on a worker, until `stop`; connections outlive it.
pub(super) async fn run<A: Application>(
    listener: TcpListener,
    worker: usize,
    port: Arc<Port>,
    server: Arc<Server<A>>,
    stop: CancellationToken,
) {
    let mut stopped = pin!(stop.cancelled());
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => start(socket, peer, worker, &port, &server),
            Err(error) => {
                tracing::warn!(port = ?port.id, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start<A: Application>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: usize,
    port: &Arc<Port>,
    server: &Arc<Server<A>>,
) {
    let limit = server.application.limits().connections;
    let held = server.workers.enter(worker);
    let open = server.workers.open();
    if open > limit + ANSWERED_OVER_LIMIT {
        server.application.connection_dropped();
        return;
    }
    let accepted =
        Accepted { peer, port: Arc::clone(port), server: Arc::clone(server), over_limit: open > limit, held };
    // In boxes: what runs a task moves it about, and these are large.
    if accepted.held.worker() == worker {
        server.tracker.spawn(Box::pin(accepted.serve(socket)));
    } else if let Ok(socket) = socket.into_std() {
        let runtime = accepted.held.runtime().clone();
        server.tracker.spawn_on(Box::pin(accepted.take_over(socket)), &runtime);
    }
}

/// A connection, but for its socket.
struct Accepted<A> {
    peer: SocketAddr,
    port: Arc<Port>,
    server: Arc<Server<A>>,
    over_limit: bool,
    held: Held,
}

impl<A: Application> Accepted<A> {
    /// On another worker than that which accepted: events of a socket come to where it became one of tokio's.
    async fn take_over(self, socket: std::net::TcpStream) {
        if let Ok(socket) = TcpStream::from_std(socket) {
            self.serve(socket).await;
        }
    }

    async fn serve(self, socket: TcpStream) {
        let Self { peer, port, server, over_limit, held } = self;
        tokio::select! {
            biased;
            () = connected(socket, peer, &port, &server, over_limit) => {}
            () = server.kill.cancelled() => {}
        }
        drop(held);
    }
}

async fn connected<A: Application>(
    socket: TcpStream,
    peer: SocketAddr,
    port: &Port,
    server: &Arc<Server<A>>,
    over_limit: bool,
) {
    let Ok(mut local) = socket.local_addr() else { return };
    local.set_port(port.seen.unwrap_or(local.port()));
    let time = server.application.limits().head_time;
    let (transport, tls) = match port.tls.load_full() {
        None => (Transport::Plain(socket), None),
        Some(config) => match tokio::time::timeout(time, handshake(socket, config)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                return server.application.handshake_failed();
            }
            Err(_) => return server.application.handshake_failed(),
        },
    };
    let h2 = tls.as_ref().is_some_and(|facts| facts.h2);
    let connection = Arc::new(Connection::new(port.id.clone(), local, peer, tls));
    let stream = Downstream::new(transport, connection);
    if over_limit {
        return serve::refuse_connection(stream, server, h2).await;
    }
    serve::connection(stream, server, h2).await;
}

async fn handshake(
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> std::io::Result<(Transport, Option<TlsFacts>)> {
    let stream = TlsAcceptor::from(config).accept(socket).await?;
    let (_, session) = stream.get_ref();
    let facts = TlsFacts {
        server_name: session.server_name().map(str::to_ascii_lowercase),
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        h2: session.alpn_protocol() == Some(b"h2"),
    };
    Ok((Transport::Tls(Box::new(stream)), Some(facts)))
}
