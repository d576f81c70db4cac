//! What is known of one downstream connection; requests on it reach it through their session's digest.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pingora_core::protocols::Digest;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use tokio::task;

/// A request as far as one engine has served it.
pub(crate) type Left = Box<dyn Any + Send>;

/// Facts of a connection, fixed when its first request is read, and two marks.
pub(crate) struct Connection {
    /// Name of the port that accepted it.
    pub(crate) port: PortId,
    /// Port of the socket that accepted it.
    pub(crate) local: SocketAddr,
    /// The other side of the socket.
    pub(crate) peer: SocketAddr,
    /// Present on TLS.
    pub(crate) tls: Option<TlsFacts>,
    /// The body of the present request violated its framing.
    pub(crate) violated: AtomicBool,
    /// Requests that were answered for by a record.
    records: AtomicU64,
    /// HTTP/2 streams that the caller opened.
    streams: AtomicU64,
    /// What one engine began and leaves for the other, by the task that serves the request.
    left: Mutex<Vec<(Option<task::Id>, Left)>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("port", &self.port)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Which bound port: the port that listeners asked for, or one listener when it asked for any (port 0).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PortId {
    /// Shared by all listeners of this port.
    Number(u16),
    /// Key of the only listener.
    Any(String),
}

/// Of a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// Server name that the caller asked for, lower case.
    pub(crate) server_name: Option<String>,
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    /// Whether HTTP/2 was agreed on.
    pub(crate) h2: bool,
}

impl PortId {
    /// The port as it stands in the snapshot: 0 for any.
    pub(crate) fn number(&self) -> u16 {
        match self {
            Self::Number(port) => *port,
            Self::Any(_) => 0,
        }
    }
}

impl Connection {
    /// A connection without requests yet.
    pub(crate) fn new(port: PortId, local: SocketAddr, peer: SocketAddr, tls: Option<TlsFacts>) -> Self {
        Self {
            port,
            local,
            peer,
            tls,
            violated: AtomicBool::new(false),
            records: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            left: Mutex::default(),
        }
    }

    /// Whether the body of the present request violated its framing.
    pub(crate) fn is_violated(&self) -> bool {
        self.violated.load(Ordering::Relaxed)
    }

    /// Notes streams that the caller opened.
    pub(super) fn count_streams(&self, opened: u64) {
        if opened > 0 {
            self.streams.fetch_add(opened, Ordering::Relaxed);
        }
    }

    /// Streams that the caller opened so far.
    pub(super) fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Notes that a request ended in a record.
    pub(crate) fn count_record(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that ended in a record so far.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Leaves the request that this task serves as far as it was begun, for whom serves it on in the same task.
    pub(crate) fn leave(&self, begun: Left) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push((task::try_id(), begun));
    }

    /// What this task left.
    pub(crate) fn take_left(&self) -> Option<Left> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let own = left.iter().position(|(task, _)| *task == task::try_id())?;
        Some(left.swap_remove(own).1)
    }

    /// Puts the connection where [`Connection::of`] finds it.
    pub(crate) fn to_digest(self: &Arc<Self>) -> ProxyDigest {
        let header = ResponseHeader::build(200, Some(0)).expect("200 is a status");
        let data: Box<dyn Any + Send + Sync> = Box::new(Arc::clone(self));
        ProxyDigest::new(Box::new(header), Some(data))
    }

    /// The connection that a session's digest was made from.
    pub(crate) fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }
}
