//! The ports that are bound, and their change from one snapshot to the next.
//!
//! In: the ports that are wanted. Out: one accept loop for each; what failed to bind, by listener. Ports that
//! stay are not touched but for their certificates; ports that go stop accepting, and their connections live
//! on to their own end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::accept::{self, Port};
use super::callers::Callers;
use super::connection::PortId;
use super::tls::{CertificateTable, Certificates, server_config};
use super::{Application, Server};

/// Connections that wait for `accept`.
const BACKLOG: u32 = 1024;

/// A port to serve.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Port of the socket; 0 lets the system choose.
    pub(crate) socket_port: u16,
    /// Present: TLS with these certificates.
    pub(crate) certificates: Option<CertificateTable>,
    /// Present: certificates of callers.
    pub(crate) callers: Option<Callers>,
    /// Keys of the listeners that share it.
    pub(crate) listeners: Vec<String>,
}

/// A port that could not be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("listener {listener}: cannot bind {address}: {problem}")]
pub(crate) struct BindError {
    /// Key of a listener that wanted it.
    pub(crate) listener: String,
    address: SocketAddr,
    problem: String,
}

/// Bound ports by name.
#[derive(Debug)]
pub(crate) struct Ports<A> {
    server: Arc<Server<A>>,
    address: IpAddr,
    /// Callers see the ports of listeners, whatever the sockets' are.
    forwarded: bool,
    bound: BTreeMap<PortId, Bound>,
}

#[derive(Debug)]
struct Bound {
    socket_port: u16,
    local: SocketAddr,
    port: Arc<Port>,
    certificates: Arc<Certificates>,
    callers: Option<Callers>,
    stop: CancellationToken,
}

impl<A: Application> Ports<A> {
    /// None bound yet.
    pub(crate) fn new(server: Arc<Server<A>>, address: IpAddr, forwarded: bool) -> Self {
        Self { server, address, forwarded, bound: BTreeMap::new() }
    }

    /// Makes the bound ports those of `wanted`. A port that cannot be bound does not keep others from it.
    pub(crate) fn reconcile(&mut self, wanted: BTreeMap<PortId, Wanted>) -> Vec<BindError> {
        self.bound.retain(|id, bound| {
            let keep = wanted.get(id).is_some_and(|wanted| wanted.socket_port == bound.socket_port);
            if !keep {
                bound.stop.cancel();
            }
            keep
        });
        let mut errors = Vec::new();
        for (id, wanted) in wanted {
            if let Some(bound) = self.bound.get_mut(&id) {
                bound.serve(wanted.certificates, wanted.callers);
                continue;
            }
            match self.bind(&id, wanted.socket_port) {
                Ok(listeners) => self.start(id, listeners, wanted),
                Err(error) => errors.extend(self.errors(&wanted, &error)),
            }
        }
        errors
    }

    /// Socket addresses by port name.
    pub(crate) fn addresses(&self) -> BTreeMap<PortId, SocketAddr> {
        self.bound.iter().map(|(id, bound)| (id.clone(), bound.local)).collect()
    }

    /// Stops accepting on all ports.
    pub(crate) fn stop(&mut self) {
        for bound in std::mem::take(&mut self.bound).into_values() {
            bound.stop.cancel();
        }
    }

    /// One socket for each worker; the system spreads connections over them.
    fn bind(&self, id: &PortId, port: u16) -> std::io::Result<Vec<TcpListener>> {
        // The first is bound alone: otherwise a second process would share the port, and nobody would be told.
        let first = socket(self.address)?;
        first.bind(SocketAddr::new(self.address, port))?;
        first.set_reuseport(true)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..self.server.workers.count() {
            let next = socket(self.address)?;
            next.set_reuseport(true)?;
            next.bind(address)?;
            sockets.push(next);
        }
        tracing::debug!(?id, %address, "bound");
        let listen = |(socket, runtime): (TcpSocket, &Handle)| {
            // Its events come to that worker.
            let _entered = runtime.enter();
            socket.listen(BACKLOG)
        };
        sockets.into_iter().zip(self.server.workers.runtimes()).map(listen).collect()
    }

    fn start(&mut self, id: PortId, listeners: Vec<TcpListener>, wanted: Wanted) {
        let fallback = SocketAddr::new(self.address, wanted.socket_port);
        let local = listeners.first().and_then(|one| one.local_addr().ok()).unwrap_or(fallback);
        let seen = Some(id.number()).filter(|port| self.forwarded && *port != 0);
        let port = Arc::new(Port { id: id.clone(), seen, tls: ArcSwapOption::empty() });
        let mut bound = Bound {
            socket_port: wanted.socket_port,
            local,
            port: Arc::clone(&port),
            certificates: Arc::default(),
            callers: None,
            stop: CancellationToken::new(),
        };
        bound.serve(wanted.certificates, wanted.callers);
        let workers = self.server.workers.runtimes();
        for (worker, (listener, runtime)) in listeners.into_iter().zip(workers).enumerate() {
            let (port, server, stop) = (Arc::clone(&port), Arc::clone(&self.server), bound.stop.clone());
            runtime.spawn(accept::run(listener, worker, port, server, stop));
        }
        self.bound.insert(id, bound);
    }

    fn errors(&self, wanted: &Wanted, error: &std::io::Error) -> Vec<BindError> {
        let address = SocketAddr::new(self.address, wanted.socket_port);
        let problem = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another process has this port; stop it or choose another port".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege; choose a higher port, or bind another one for it with \
                 --port 443=8443"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        let error =
            |listener: &String| BindError { listener: listener.clone(), address, problem: problem.clone() };
        wanted.listeners.iter().map(error).collect()
    }
}

fn socket(address: IpAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl Bound {
    fn serve(&mut self, certificates: Option<CertificateTable>, callers: Option<Callers>) {
        let Some(table) = certificates else { return self.port.tls.store(None) };
        self.certificates.replace(table);
        // A configuration holds the sessions that callers may resume, so it stays as long as it can. With another
        // demand on them nothing is resumed.
        if self.port.tls.load().is_none() || self.callers != callers {
            self.port.tls.store(Some(server_config(Arc::clone(&self.certificates), callers.as_ref())));
            self.callers = callers;
        }
    }
}
