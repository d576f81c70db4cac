//! What the process says of itself when asked: for `turnpike doctor`, the admin endpoint and tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use analytics_record::wire::SpoolHealth;
use serde::Serialize;

/// The state of a gateway process.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Version of the snapshot that is served; empty: none yet.
    pub version: String,
    /// A complete snapshot is served and new connections are welcome.
    pub ready: bool,
    /// The process is on its way out.
    pub draining: bool,
    /// Identity of the spool volume.
    pub gateway: String,
    /// One more at each start.
    pub epoch: u32,
    /// By `namespace/gateway/listener`.
    pub listeners: BTreeMap<String, ListenerStatus>,
    /// The candidate that was refused last, if the one served now is older.
    pub refused: Option<Refused>,
    /// Open downstream connections.
    pub connections: u64,
    /// Requests that run now.
    pub running: u64,
    /// How the spool is.
    pub spool: SpoolHealth,
    /// A newer process runs with this identity: this one gets no more leases.
    pub fenced_by: Option<u32>,
}

/// A listener: bound, or not and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    /// Address of its socket.
    pub address: Option<SocketAddr>,
    /// Why there is none.
    pub error: Option<String>,
}

/// A snapshot that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its version; empty when it could not be read so far.
    pub version: String,
    /// Why, each naming the object.
    pub errors: Vec<String>,
}

/// What changes with snapshots.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Posted>);

/// The content of the board.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posted {
    /// By listener key.
    pub(crate) listeners: BTreeMap<String, ListenerStatus>,
    /// Of the last candidate.
    pub(crate) refused: Option<Refused>,
}

impl Board {
    /// Changes the content.
    pub(crate) fn post(&self, change: impl FnOnce(&mut Posted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The content.
    pub(crate) fn read(&self) -> Posted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
