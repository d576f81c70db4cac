//! The dock: where segments arrive, wait, are written and audited.
//!
//! In: segments and heartbeats of gateways, outcomes of inserts and counts. Out: answers to gateways, inserts and
//! counts to run. One task owns the state machine of `analytics_ingest`; everything else sends it messages.
//! Nothing here is kept over a restart: gateways keep segments until they were counted in the store.

mod actions;
mod handle;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use analytics_ingest::{AttemptId, Config, Counts, Ingest, InsertOutcome, Now, QueryId, StreamStatus};
use analytics_record::segment::Header;
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, SegmentState};
use analytics_record::{GatewayId, SegmentName, Stream, day_of};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ledger::{Ledger, LedgerError};
use crate::store::Store;

pub(crate) use handle::{Dock, DockStatus, Gone};

/// How often time passes for the state machine when nothing else happens.
const PULSE: Duration = Duration::from_millis(50);
/// How long inserts under way are waited for at the end.
const LAST_INSERTS: Duration = Duration::from_secs(3);
/// How old what is kept may be while nothing of note happens.
const KEEP: Duration = Duration::from_secs(10);
/// Messages that may wait.
const QUEUE: usize = 256;

/// What the task is told.
enum Message {
    /// A segment, already checked.
    Put { header: Box<Header>, bytes: Bytes, reply: oneshot::Sender<SegmentState> },
    /// A gateway's facts.
    Heartbeat { heartbeat: Box<Heartbeat>, reply: oneshot::Sender<HeartbeatAnswer> },
    /// How things stand.
    Status { reply: oneshot::Sender<DockStatus> },
    /// How these streams stand; unknown ones are left out.
    Streams { streams: Vec<Stream>, reply: oneshot::Sender<Vec<StreamStatus>> },
    /// A gateway's spool is gone for good; answers how many of its streams were given up.
    GiveUp { gateway: GatewayId, reply: oneshot::Sender<usize> },
    /// No insert of an earlier life can still run.
    Fence,
}

/// What comes back from the store.
enum Outcome {
    Inserted { attempt: AttemptId, outcome: InsertOutcome },
    Counted { query: QueryId, found: Result<Counts, ()> },
}

struct Task {
    clock: Clock,
    boot: String,
    ingest: Ingest,
    store: Store,
    ledger: Ledger,
    /// What was kept last, and when.
    kept: (Kept, Instant),
    keeping: JoinSet<()>,
    held: HashMap<SegmentName, Held>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    notices: mpsc::UnboundedSender<Notice>,
    alarms: u64,
    /// Inserts whose outcome is awaited.
    under_way: usize,
    /// When an insert last ended without saying whether it was done.
    ambiguous: Option<Instant>,
    /// How long such an insert may still be alive.
    afterlife: Duration,
}

/// A segment that waits for its audit.
struct Held {
    bytes: Bytes,
    /// UTC day of its records, days since 1970.
    day: u64,
}

/// What of the knowledge is worth writing at once.
#[derive(Debug, PartialEq, Eq)]
struct Kept(Vec<(Stream, bool, bool)>);

impl Kept {
    fn of(known: &analytics_ingest::Ledger) -> Self {
        Self(known.streams.iter().map(|stream| (stream.stream, stream.closed, stream.given_up)).collect())
    }
}

/// What the rest of the service is told.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// Rows of this UTC day (days since 1970) were written.
    Written { day: u64 },
}

/// Starts the task.
pub(crate) fn start(
    store: Store,
    ledger: Ledger,
    retention_days: u16,
    clock: Clock,
    shutdown: CancellationToken,
    notices: mpsc::UnboundedSender<Notice>,
) -> Result<(Dock, JoinHandle<()>), LedgerError> {
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (outcomes, results) = mpsc::unbounded_channel();
    let boot = uuid::Uuid::now_v7().simple().to_string();
    let known = ledger.ingest()?;
    let config = Config { retention_us: u64::from(retention_days) * 86_400_000_000, ..Config::default() };
    let afterlife = Duration::from_micros(config.insert_deadline_us.saturating_add(config.slack_us));
    let mut ingest = Ingest::resume(config, &known, now(clock));
    if ledger.take_clean_stop()? {
        ingest.fence(now(clock));
    }
    let task = Task {
        clock,
        boot: boot.clone(),
        ingest,
        store,
        ledger,
        kept: (Kept::of(&known), Instant::now()),
        keeping: JoinSet::new(),
        held: HashMap::new(),
        outcomes,
        notices,
        alarms: 0,
        under_way: 0,
        ambiguous: None,
        afterlife,
    };
    let running = tokio::spawn(task.run(inbox, results, shutdown));
    Ok((Dock::new(boot, messages), running))
}

fn now(clock: Clock) -> Now {
    Now { mono_us: clock.mono_ns() / 1_000, wall_us: clock.wall_us() }
}

impl Task {
    async fn run(
        mut self,
        inbox: mpsc::Receiver<Message>,
        mut results: mpsc::UnboundedReceiver<Outcome>,
        shutdown: CancellationToken,
    ) {
        self.serve(inbox, &mut results, shutdown).await;
        let rest = async {
            while self.under_way > 0
                && let Some(outcome) = results.recv().await
            {
                self.outcome(outcome);
            }
        };
        let ended = tokio::time::timeout(LAST_INSERTS, rest).await.is_ok();
        if ended && self.ambiguous.is_none_or(|at| at.elapsed() > self.afterlife) {
            let ledger = self.ledger.clone();
            self.keeping.spawn_blocking(move || {
                if let Err(error) = ledger.put_clean_stop() {
                    tracing::warn!(%error, "the next start will wait for inserts of this one");
                }
            });
        }
        self.keeping.join_all().await;
    }

    async fn serve(
        &mut self,
        mut inbox: mpsc::Receiver<Message>,
        results: &mut mpsc::UnboundedReceiver<Outcome>,
        shutdown: CancellationToken,
    ) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Messages win over shutdown, so that what was taken in is answered.
                biased;
                Some(outcome) = results.recv() => self.outcome(outcome),
                message = inbox.recv() => match message {
                    Some(message) => self.message(message),
                    None => return,
                },
                () = shutdown.cancelled() => return,
                _ = pulse.tick() => {}
            }
            self.act();
            self.keep();
        }
    }

    /// Keeps what ingestion knows: when streams come, close or finish, and now and then.
    fn keep(&mut self) {
        let known = self.ingest.ledger();
        let (now, kept) = (Instant::now(), Kept::of(&known));
        if kept == self.kept.0 && now.duration_since(self.kept.1) < KEEP {
            return;
        }
        self.kept = (kept, now);
        let ledger = self.ledger.clone();
        // Not awaited here: losing it costs corrections that are named, never rows.
        self.keeping.spawn_blocking(move || {
            if let Err(error) = ledger.put_ingest(&known) {
                tracing::error!(%error, "what ingestion knows cannot be kept");
            }
        });
        while self.keeping.try_join_next().is_some() {}
    }

    fn message(&mut self, message: Message) {
        let now = now(self.clock);
        // An asker that has gone away is not an error: its question had no effect beyond the state.
        match message {
            Message::Put { header, bytes, reply } => {
                let state = self.ingest.put(&header, now);
                if state == SegmentState::Held {
                    let day = day_of(header.min_ts_us);
                    self.held.entry(header.name).or_insert(Held { bytes, day });
                }
                let _ = reply.send(state);
            }
            Message::Heartbeat { heartbeat, reply } => {
                let marks = self.ingest.heartbeat(&heartbeat, now);
                let seal_age_ms = SEAL_AGE_MS;
                let _ = reply.send(HeartbeatAnswer { boot: self.boot.clone(), marks, seal_age_ms });
            }
            Message::Status { reply } => {
                let _ = reply.send(self.status());
            }
            Message::Streams { streams, reply } => {
                let _ =
                    reply.send(streams.into_iter().filter_map(|stream| self.ingest.stream(stream)).collect());
            }
            Message::GiveUp { gateway, reply } => {
                let streams = self.ingest.status().streams;
                let open = streams.iter().filter(|known| known.stream.gateway == gateway && !known.finished);
                let open: Vec<Stream> = open.map(|known| known.stream).collect();
                for stream in &open {
                    self.ingest.give_up(*stream);
                }
                let _ = reply.send(open.len());
            }
            Message::Fence => self.ingest.fence(now),
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        let now = now(self.clock);
        match outcome {
            Outcome::Inserted { attempt, outcome } => {
                self.under_way -= 1;
                if outcome == InsertOutcome::Ambiguous {
                    self.ambiguous = Some(Instant::now());
                }
                self.ingest.inserted(attempt, outcome, now);
            }
            Outcome::Counted { query, found } => self.ingest.counted(query, found, now),
        }
    }

    fn status(&self) -> DockStatus {
        let status = self.ingest.status();
        DockStatus {
            complete_through_us: status.complete_through_us,
            held: self.held.len() as u64,
            held_bytes: self.held.values().map(|held| held.bytes.len() as u64).sum(),
            audited: status.audited_total,
            conflicts: status.conflicts,
            streams: status.streams.len() as u64,
            retries: status.retries,
            late: status.late,
            expired: status.expired,
            alarms: self.alarms,
        }
    }
}

/// Age at which gateways shall seal, in milliseconds.
const SEAL_AGE_MS: u32 = 1_000;
