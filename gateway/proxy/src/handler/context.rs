//! What is kept of one request between pingora's phases.
//!
//! Dropped with the request, whatever ended it: a request that was begun and not finished by then (its
//! connection was cut, a task was cancelled) gets its record here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analytics_record::Reason;
use gateway_pipeline::{Exchange, LocalResponse};

use super::mirror::Copies;
use super::record::{self, Ending};
use crate::config::Config;
use crate::in_flight::Running;
use crate::listen::Connection;
use crate::shared::Shared;
use crate::telemetry::Trace;
use crate::upstream::{Backend, ClientCertificate, InUse};

/// One request.
pub(crate) struct Context {
    /// The process.
    pub(crate) shared: Arc<Shared>,
    /// The snapshot for this request, from start to end.
    pub(crate) config: Arc<Config>,
    /// Holds back the lease settlement of what this request spends.
    _running: Running,
    /// When the head was there.
    pub(crate) start: Instant,
    /// The last look at the clock, where one look is to do for all that happens without a wait.
    pub(crate) looked: Option<Instant>,
    /// The pipeline's part; taken when the record is written.
    pub(crate) exchange: Option<Exchange>,
    /// Set once the head is known.
    pub(crate) facts: Option<Facts>,
    /// Attempts at upstreams.
    pub(crate) attempts: Attempts,
    /// Body bytes from downstream: counted once, however often they are sent.
    pub(crate) upload: Upload,
    /// Copies for mirrors.
    pub(crate) copies: Copies,
    /// An answer of ours that waits for `fail_to_proxy`.
    pub(crate) answer: Option<LocalResponse>,
    /// What the record will tell.
    pub(crate) ending: Ending,
}

/// A request that the fast path decided and leaves to pingora, because something about it is not plain.
pub(crate) struct Begun {
    /// The request so far; nothing was sent anywhere.
    pub(crate) ctx: Context,
    /// The decision: an answer of ours, or none: forward.
    pub(crate) answer: Option<LocalResponse>,
}

impl Begun {
    /// What this task left on its connection.
    pub(crate) fn on(connection: &Connection) -> Option<Self> {
        connection.take_left()?.downcast().ok().map(|begun| *begun)
    }
}

/// What is known with the head.
pub(crate) struct Facts {
    /// Where it came in.
    pub(crate) connection: Arc<Connection>,
    /// Fresh.
    pub(crate) request_id: u128,
    /// Fresh random bits.
    pub(crate) random: u64,
    /// Place in a trace.
    pub(crate) trace: Trace,
    /// Asks for another protocol (WebSocket).
    pub(crate) upgrade: bool,
}

/// Attempts at upstreams.
#[derive(Default)]
pub(crate) struct Attempts {
    /// Made so far.
    pub(crate) made: u8,
    /// Addresses that failed.
    pub(crate) failed: Vec<SocketAddr>,
    /// The backend of all attempts.
    pub(crate) backend: Option<Arc<Backend>>,
    /// Shown to a backend that asks for it.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// The endpoint of the present attempt.
    pub(crate) endpoint: Option<InUse>,
    /// When the whole request must have its answer.
    pub(crate) deadline: Option<Instant>,
    /// When the present attempt was sent.
    pub(crate) sent: Option<Instant>,
    /// From there to the answer's head.
    pub(crate) answered_in: Option<Duration>,
    /// Why the last attempt failed, for the answer and the record.
    pub(crate) failure: Option<Reason>,
    /// The upstream's answer is to be thrown away, and the request tried again.
    pub(crate) again: bool,
}

/// Bytes of the request body.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Upload {
    /// Counted, by the first attempt that saw them.
    pub(crate) counted: u64,
    /// Seen by the present attempt.
    pub(crate) seen: u64,
}

impl Facts {
    /// Of a request that could not be read.
    pub(crate) fn unparsed(connection: &Arc<Connection>) -> Self {
        Self {
            connection: Arc::clone(connection),
            request_id: 0,
            random: 0,
            trace: Trace::new(None, [0, 0, 0], 0),
            upgrade: false,
        }
    }
}

impl Upload {
    /// Bytes of a chunk that no attempt has counted yet.
    pub(crate) fn fresh(&mut self, chunk: u64) -> u64 {
        self.seen += chunk;
        let fresh = self.seen.saturating_sub(self.counted);
        self.counted = self.counted.max(self.seen);
        fresh
    }
}

impl Context {
    /// A request whose head is about to be looked at.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let start = Instant::now();
        Self {
            shared: Arc::clone(shared),
            config: shared.config.load_full(),
            _running: shared.in_flight.begin(shared.clock.mono_ns_of(start)),
            start,
            looked: None,
            exchange: None,
            facts: None,
            attempts: Attempts::default(),
            upload: Upload::default(),
            copies: Copies::default(),
            answer: None,
            ending: Ending::default(),
        }
    }

    /// The present, as far as it was looked at.
    pub(crate) fn now(&self) -> Instant {
        self.looked.unwrap_or_else(Instant::now)
    }

    /// Looks at the clock again, after a wait.
    pub(crate) fn look(&mut self) -> Instant {
        look(&mut self.looked)
    }

    /// Time left until the deadline; `None` without one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.left_at(self.now())
    }

    /// The same at `now`.
    pub(crate) fn left_at(&self, now: Instant) -> Option<Duration> {
        self.attempts.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }
}

/// [`Context::look`], where the rest is in use.
pub(crate) fn look(looked: &mut Option<Instant>) -> Instant {
    let now = Instant::now();
    *looked = looked.map(|_| now);
    now
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.exchange.is_some() {
            self.ending.aborted = true;
            record::write(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_again_are_not_counted_again() {
        let mut upload = Upload::default();
        assert_eq!((upload.fresh(10), upload.fresh(5)), (10, 5));
        upload.seen = 0;
        assert_eq!((upload.fresh(12), upload.fresh(8)), (0, 5));
        assert_eq!(upload.counted, 20);
    }
}
