//! From candidates to what is served: read, check, prepare, swap, bind, answer.
//!
//! In: a source of snapshots, and the last good one on disk. Out: one atomic change for each good candidate; a
//! bad one changes nothing and is answered with its reasons. Ports that could not be bound are tried again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_quota::LimitId;
use gateway_snapshot::Snapshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::handler::Gateway;
use crate::keep::Newest;
use crate::listen::{BindError, Ports};
use crate::shared::Shared;
use crate::source::{Answer, Candidate, Source};
use crate::status::{Board, ListenerStatus, Refused};
use crate::upstream::Interner;

/// Between two attempts to bind what could not be bound.
const BIND_AGAIN: Duration = Duration::from_secs(2);

/// Makes snapshots serve.
pub(crate) struct Reload {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ports: Ports<Gateway>,
    pub(crate) port_map: BTreeMap<u16, u16>,
    /// Takes what is served, for the next start.
    pub(crate) newest: Arc<Newest>,
    pub(crate) board: Arc<Board>,
    pub(crate) otlp: watch::Sender<Option<String>>,
    /// Listeners and certificates of what is served, for binding again.
    pub(crate) served: Option<Snapshot>,
    /// Listeners that are not bound.
    pub(crate) unbound: Vec<BindError>,
}

impl Reload {
    /// Serves the last good snapshot.
    pub(crate) fn start_from(&mut self, last_good: Vec<u8>) {
        let answer = self.candidate(Candidate::Json(last_good));
        if answer.accepted {
            tracing::info!(version = answer.version, "serving the last good snapshot");
        } else {
            tracing::warn!(errors = ?answer.errors, "the last good snapshot cannot be served; waiting for another");
        }
    }

    /// Serves what `source` gives until `stop`; then accepts no more connections.
    pub(crate) async fn run(mut self, mut source: impl Source, stop: CancellationToken) {
        loop {
            let unbound = !self.unbound.is_empty();
            tokio::select! {
                () = stop.cancelled() => return self.ports.stop(),
                candidate = source.next() => {
                    // Work for the processor, in proportion to the snapshot: not on a thread that serves.
                    let answer = tokio::task::block_in_place(|| self.candidate(candidate));
                    source.answer(&answer).await;
                }
                () = tokio::time::sleep(BIND_AGAIN), if unbound => {
                    if let Some(answer) = self.bind_again() {
                        source.answer(&answer).await;
                    }
                }
            }
        }
    }

    /// Serves a candidate, if it is sound.
    fn candidate(&mut self, candidate: Candidate) -> Answer {
        let begun = Instant::now();
        let snapshot = match config::read(candidate) {
            Ok(snapshot) => snapshot,
            Err((version, errors)) => return self.refuse(version, errors),
        };
        let previous = self.shared.config.load_full();
        let spool = self.shared.spool.clone();
        let intern: Interner = Arc::new(move |name: &str| spool.names().intern(name));
        let prepared = Config::prepare(&snapshot, Some(&previous), &self.port_map, &intern);
        let (config, ports) = match prepared {
            Ok(ready) => ready,
            Err(errors) => return self.refuse(snapshot.version.clone(), errors),
        };
        let limits: HashSet<LimitId> = config.prepared.limits().cloned().collect();
        let version = config.version.clone();
        let _ = self.otlp.send_replace(config.settings.otlp_endpoint.clone());
        self.shared.serve(config);
        self.shared.leases.retain(|key| limits.contains(&key.limit));
        self.shared.metrics.snapshots_accepted.inc();
        let before = self.served.take().unwrap_or_default();
        self.shared.metrics.certificates(&before.certificates, &snapshot.certificates);
        self.unbound = self.ports.reconcile(ports);
        self.served = Some(Snapshot {
            version: version.clone(),
            listeners: snapshot.listeners.clone(),
            certificates: snapshot.certificates.clone(),
            ..Snapshot::default()
        });
        self.post();
        tracing::info!(version, unbound = self.unbound.len(), took = ?begun.elapsed(), "serving a snapshot");
        let unbound = self.unbound.iter().map(ToString::to_string).collect();
        self.newest.put(snapshot);
        Answer::now(&version, true, unbound)
    }

    fn refuse(&self, version: String, errors: Vec<String>) -> Answer {
        self.shared.metrics.snapshots_refused.inc();
        for error in &errors {
            tracing::error!(version, error, "a snapshot is refused; the one before is served on");
        }
        let answer = Answer::now(&version, false, errors.clone());
        self.board.post(|posted| posted.refused = Some(Refused { version, errors }));
        answer
    }

    fn bind_again(&mut self) -> Option<Answer> {
        let snapshot = self.served.as_ref()?;
        let ports = config::ports(snapshot, &self.port_map).ok()?;
        let unbound = self.ports.reconcile(ports);
        if unbound == self.unbound {
            return None;
        }
        self.unbound = unbound;
        let answer =
            Answer::now(&snapshot.version, true, self.unbound.iter().map(ToString::to_string).collect());
        self.post();
        Some(answer)
    }

    fn post(&self) {
        let addresses = self.ports.addresses();
        let listeners = self.shared.config.load().listeners.clone();
        let status = |key: &String, port| ListenerStatus {
            address: addresses.get(port).copied(),
            error: self.unbound.iter().find(|error| error.listener == *key).map(ToString::to_string),
        };
        let listeners = listeners.iter().map(|(key, port)| (key.clone(), status(key, port))).collect();
        self.board.post(|posted| {
            posted.listeners = listeners;
            posted.refused = None;
        });
    }
}
