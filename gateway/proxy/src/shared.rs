//! What every part of the process shares. Each field looks after itself; nothing here decides anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use gateway_spool::Spool;

use crate::clock::Clock;
use crate::config::Config;
use crate::in_flight::InFlight;
use crate::lease::Leases;
use crate::telemetry::{AccessLog, Metrics, Spans};
use crate::upstream::Room;

/// The process.
pub(crate) struct Shared {
    /// What is served now.
    pub(crate) config: ArcSwap<Config>,
    /// Records go here.
    pub(crate) spool: Spool,
    /// The clocks.
    pub(crate) clock: Clock,
    /// Quota leases.
    pub(crate) leases: Arc<Leases>,
    /// Running requests.
    pub(crate) in_flight: Arc<InFlight>,
    /// For upstream connections that wait.
    pub(crate) room: Room,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Spans on their way out.
    pub(crate) spans: Spans,
    /// Lines on their way out.
    pub(crate) access_log: AccessLog,
    draining: AtomicBool,
    serving: AtomicBool,
}

/// The parts that do not come with a snapshot.
pub(crate) struct Parts {
    pub(crate) spool: Spool,
    pub(crate) clock: Clock,
    pub(crate) leases: Arc<Leases>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) room: Room,
    pub(crate) spans: Spans,
    pub(crate) access_log: AccessLog,
}

impl Shared {
    /// A process that serves `config`, which is empty at first.
    pub(crate) fn new(config: Config, parts: Parts) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            spool: parts.spool,
            clock: parts.clock,
            leases: parts.leases,
            in_flight: parts.in_flight,
            room: parts.room,
            metrics: Metrics::default(),
            spans: parts.spans,
            access_log: parts.access_log,
            draining: AtomicBool::new(false),
            serving: AtomicBool::new(false),
        }
    }

    /// Whether connections are to be closed at the next chance.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on connections are closed at the next chance.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Serves another snapshot from the next request on.
    pub(crate) fn serve(&self, config: Config) {
        self.config.store(Arc::new(config));
        self.serving.store(true, Ordering::Release);
    }

    /// Whether a complete snapshot is served and new connections are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.serving.load(Ordering::Acquire) && !self.is_draining()
    }
}
