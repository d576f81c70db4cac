//! Accepting: from a bound socket to a connection whose protocol is known.
//!
//! Counts connections against the limits, does the TLS handshake within the time for a head, and starts one
//! task per connection. A connection over the limit still gets an answer, as long as few of them wait for one.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Open connections, over all ports.
#[derive(Debug, Default)]
pub(crate) struct Open(AtomicUsize);

impl Open {
    /// Connections open now.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<Self>) -> (usize, OpenGuard) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before, OpenGuard(Arc::clone(self)))
    }
}

/// Counts one open connection while it lives.
#[derive(Debug)]
struct OpenGuard(Arc<Open>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until `stop`; connections outlive it.
pub(super) async fn run<A: Application>(
    listener: TcpListener,
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
            Ok((socket, peer)) => start(socket, peer, &port, &server),
            Err(error) => {
                tracing::warn!(port = ?port.id, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start<A: Application>(socket: TcpStream, peer: SocketAddr, port: &Arc<Port>, server: &Arc<Server<A>>) {
    let limit = server.application.limits().connections;
    let (before, guard) = server.open.enter();
    if before >= limit + ANSWERED_OVER_LIMIT {
        server.application.connection_dropped();
        return;
    }
    let over = before >= limit;
    let (port, server) = (Arc::clone(port), Arc::clone(server));
    let tracker = server.tracker.clone();
    // In a box: what runs a task moves it about, and this one is large.
    tracker.spawn(Box::pin(async move {
        let kill = server.kill.clone();
        tokio::select! {
            biased;
            () = connected(socket, peer, &port, &server, over) => {}
            () = kill.cancelled() => {}
        }
        drop(guard);
    }));
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
