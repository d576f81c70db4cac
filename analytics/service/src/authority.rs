//! The quota authority's shell: one thread that owns the state machine, commits, then answers.
//!
//! In: batches of gateways, the catalog's limits, settlements, time. Out: replies, alerts in the outbox.
//! Nothing is answered before it is durable (Q4). Messages that wait together are committed together. After a failed
//! commit the state machine is dropped and restored from the store.

mod handle;
pub(crate) mod learn;
mod limits;
mod rates;
pub(crate) mod settle;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use gateway_quota::{Authority, AuthorityConfig, Mono, Now, OrphanStream, Settlement, Step, message};
use gateway_snapshot::Catalog;
use tokio::sync::oneshot;

pub(crate) use handle::{Account, AuthorityError, AuthorityHandle};
pub(crate) use limits::concerns;

use crate::alerts::{Alert, Outbox, crossing, forecast};
use crate::clock::Clock;
use crate::ledger::{Ledger, LedgerError};
use rates::Rates;

/// Messages that may wait; more are refused.
const QUEUE: usize = 1_024;
/// Most messages in one commit.
const GROUP: usize = 256;
/// How often time passes for the state machine.
const TICK: Duration = Duration::from_secs(1);

/// What the thread is told.
pub(crate) enum Message {
    /// A gateway's asks, already checked.
    Batch { batch: Box<message::Batch>, reply: oneshot::Sender<Result<message::Reply, AuthorityError>> },
    /// A new catalog.
    Catalog(Arc<Catalog>),
    /// How all accounts stand.
    Accounts { reply: oneshot::Sender<Vec<Account>> },
    /// Lives of gateways that left leases behind.
    Orphans { reply: oneshot::Sender<(Mono, Vec<OrphanStream>)> },
    /// What records say about such a life.
    Settle { facts: Box<Settlement>, reply: oneshot::Sender<Result<(), AuthorityError>> },
    /// What records show after the durable store was found empty; grants begin again.
    Learned { used: Vec<learn::Used>, reply: oneshot::Sender<Result<(), AuthorityError>> },
    /// The process is going down.
    Stop,
}

/// An answer that waits for the commit.
enum Waiting {
    Batch(oneshot::Sender<Result<message::Reply, AuthorityError>>, Option<message::Reply>),
    Done(oneshot::Sender<Result<(), AuthorityError>>),
}

struct Keeper {
    clock: Clock,
    ledger: Ledger,
    outbox: Outbox,
    authority: Authority,
    catalog: Arc<Catalog>,
    rates: Rates,
    discrepancies: u64,
    lease_ttl: Duration,
    learning: bool,
}

/// What one group of messages wants done.
#[derive(Default)]
struct Group {
    changes: Vec<gateway_quota::Change>,
    alerts: Vec<Alert>,
    waiting: Vec<Waiting>,
    /// The state machine holds all that was granted.
    learned: bool,
}

/// A running authority.
pub(crate) struct Started {
    pub handle: AuthorityHandle,
    pub thread: std::thread::JoinHandle<()>,
}

/// Starts the thread. With an empty durable store nothing is granted until [`AuthorityHandle::learned`]. Fails when the store holds rows that are not understood.
pub(crate) fn start(
    clock: Clock,
    ledger: Ledger,
    outbox: Outbox,
    lease_ttl: Duration,
) -> Result<Started, LedgerError> {
    let learning = !ledger.knows_quota()?;
    let authority = restore(clock, &ledger, lease_ttl, learning)?;
    let keeper = Keeper {
        clock,
        ledger,
        outbox,
        authority,
        catalog: Arc::default(),
        rates: Rates::default(),
        discrepancies: 0,
        lease_ttl,
        learning,
    };
    let (messages, inbox) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("quota-authority".into())
        .spawn(move || keeper.run(&inbox))
        .map_err(|error| LedgerError::Folder { path: "quota-authority thread".into(), error })?;
    Ok(Started { handle: AuthorityHandle::new(messages, learning), thread })
}

fn restore(clock: Clock, ledger: &Ledger, ttl: Duration, learning: bool) -> Result<Authority, LedgerError> {
    let config = AuthorityConfig { ttl, cover: ttl, ..AuthorityConfig::default() };
    let mut authority = Authority::restore(config, ledger.quota()?, now(clock));
    if learning {
        authority.start_learning();
    }
    Ok(authority)
}

fn now(clock: Clock) -> Now {
    Now { mono: Mono::from_nanos(clock.mono_ns()), wall: clock.wall() }
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Message>) {
        let mut next_tick = Instant::now();
        loop {
            let mut group = Group::default();
            let wait = next_tick.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(first) => {
                    self.message(first, &mut group);
                    while group.waiting.len() < GROUP
                        && let Ok(more) = inbox.try_recv()
                    {
                        if matches!(more, Message::Stop) {
                            self.commit(group);
                            return;
                        }
                        self.message(more, &mut group);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.tick(&mut group);
            }
            self.commit(group);
        }
    }

    fn message(&mut self, message: Message, group: &mut Group) {
        let now = now(self.clock);
        // An asker that has gone away is not an error: what it asked for is done all the same.
        match message {
            Message::Batch { batch, reply } => {
                let mut step = self.authority.handle(&batch, now);
                let answer = step.reply.take();
                self.take(step, group);
                group.waiting.push(Waiting::Batch(reply, answer));
            }
            Message::Catalog(catalog) => {
                self.catalog = catalog;
                let step = self.authority.set_limits(limits::of(&self.catalog), now);
                self.take(step, group);
            }
            Message::Accounts { reply } => {
                let _ = reply.send(self.accounts());
            }
            Message::Orphans { reply } => {
                let _ = reply.send((now.mono, self.authority.orphans(now)));
            }
            Message::Settle { facts, reply } => {
                let step = self.authority.settle(&facts, now);
                self.take(step, group);
                group.waiting.push(Waiting::Done(reply));
            }
            Message::Learned { used, reply } => {
                let step = self.authority.finish_learning(used, now);
                self.take(step, group);
                group.learned = true;
                group.waiting.push(Waiting::Done(reply));
            }
            Message::Stop => {}
        }
    }

    fn tick(&mut self, group: &mut Group) {
        let now = now(self.clock);
        let step = self.authority.tick(now);
        self.take(step, group);
        if self.rates.due(now.mono) {
            self.rates.sample(self.authority.accounts(), now);
            let accounts = self.accounts();
            group.alerts.extend(forecast::alerts(&accounts, &self.catalog, now.wall));
        }
    }

    fn accounts(&self) -> Vec<Account> {
        let views = self.authority.accounts();
        views.map(|view| Account { recent: self.rates.of(&view.key, view.window), view }).collect()
    }

    fn take(&mut self, step: Step, group: &mut Group) {
        for discrepancy in &step.discrepancies {
            self.discrepancies += 1;
            tracing::error!(%discrepancy, "quota and records disagree");
        }
        group.alerts.extend(step.crossings.iter().map(|found| crossing::alert(found, &self.catalog)));
        group.changes.extend(step.changes);
    }

    fn commit(&mut self, group: Group) {
        let fresh = self.outbox.unknown(group.alerts);
        let mut done = if group.changes.is_empty() && fresh.is_empty() {
            Ok(())
        } else {
            self.ledger.commit(&group.changes, &fresh)
        };
        if group.learned {
            // After the rows that it stands for: a crash in between only repeats the learning.
            done = done.and_then(|()| self.ledger.put_knows_quota());
            self.learning = done.is_err();
        }
        if let Err(error) = &done {
            tracing::error!(%error, "quota changes are not durable; they are undone");
            self.undo();
        } else {
            self.outbox.add(fresh);
        }
        for waiting in group.waiting {
            waiting.answer(done.is_ok());
        }
    }

    /// Back to what is durable. The process cannot go on without it: a wrong memory would break the limit.
    fn undo(&mut self) {
        loop {
            match restore(self.clock, &self.ledger, self.lease_ttl, self.learning) {
                Ok(authority) => {
                    self.authority = authority;
                    let step = self.authority.set_limits(limits::of(&self.catalog), now(self.clock));
                    let alerts: Vec<_> =
                        step.crossings.iter().map(|found| crossing::alert(found, &self.catalog)).collect();
                    match self.ledger.commit(&step.changes, &alerts) {
                        Ok(()) => return self.outbox.add(self.outbox.unknown(alerts)),
                        Err(error) => tracing::error!(%error, "quota store still fails"),
                    }
                }
                Err(error) => tracing::error!(%error, "quota store cannot be read"),
            }
            std::thread::sleep(TICK);
        }
    }
}

impl Waiting {
    fn answer(self, durable: bool) {
        match self {
            Self::Batch(reply, Some(answer)) if durable => {
                let _ = reply.send(Ok(answer));
            }
            Self::Batch(reply, _) => {
                let _ = reply.send(Err(AuthorityError::NotDurable));
            }
            Self::Done(reply) => {
                let _ = reply.send(if durable { Ok(()) } else { Err(AuthorityError::NotDurable) });
            }
        }
    }
}
