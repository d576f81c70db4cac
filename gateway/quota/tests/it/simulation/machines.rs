//! The machines of the simulated world: clocks, gateways' lives, the authority with its store, the network.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gateway_quota::{
    Authority, Change, Crossing, Holder, LeaseId, Mono, QuotaKey, Row, Slot, Step,
    message::{Batch, Reply},
};

pub(super) const MILLI: u64 = 1_000_000;

/// A monotonic clock that runs at its own rate, from its own start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) ppm: i64,
    pub(super) start: u64,
}

impl Clock {
    pub(super) fn at(self, truth: u64) -> Mono {
        let drift = i128::from(truth) * i128::from(self.ppm) / 1_000_000;
        Mono::from_nanos(self.start + (i128::from(truth) + drift) as u64)
    }
}

/// Units that a client may still be told about: lost if the process dies now.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) key: usize,
    pub(super) lease: LeaseId,
    pub(super) window: i64,
    pub(super) units: u64,
    pub(super) started: Mono,
}

/// One life of a gateway.
pub(super) struct Life {
    pub(super) gateway: usize,
    pub(super) epoch: u32,
    pub(super) clock: Clock,
    pub(super) holder: Holder,
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) in_flight: Vec<InFlight>,
    /// Replaced by a newer life and cut off, but still running.
    pub(super) zombie: bool,
    /// No message passes until this true time.
    pub(super) cut_until: u64,
    /// Time stands still in the process until this true time.
    pub(super) stalled_until: u64,
}

/// A finished request in a spool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) lease: LeaseId,
    pub(super) units: u64,
}

/// The authority's process: gone between a crash and the restart.
pub(super) struct Process {
    pub(super) authority: Authority,
    pub(super) clock: Clock,
    /// Steps not yet committed.
    pub(super) pending: Vec<Step>,
}

/// What survives: rows, the outbox.
#[derive(Default)]
pub(super) struct Store {
    pub(super) rows: BTreeMap<String, Row>,
    pub(super) outbox: Vec<Crossing>,
    pub(super) keys: BTreeSet<(QuotaKey, i64, u64, u8)>,
    /// Leases that were durable once.
    pub(super) known: BTreeSet<LeaseId>,
}

impl Store {
    /// Commits one step; complains about a crossing that is there already.
    pub(super) fn commit(&mut self, step: &Step) -> Result<(), String> {
        for change in &step.changes {
            match change {
                Change::Put(row) => {
                    if let Row::Lease(lease) = row {
                        self.known.insert(lease.lease);
                    }
                    self.rows.insert(row.id(), row.clone());
                }
                Change::Drop(id) => {
                    self.rows.remove(id);
                }
            }
        }
        for crossing in &step.crossings {
            let key = (
                crossing.key.clone(),
                crossing.window.start.as_second(),
                crossing.version,
                crossing.threshold,
            );
            if !self.keys.insert(key) {
                return Err(format!("Q10: fired twice: {crossing:?}"));
            }
            self.outbox.push(crossing.clone());
        }
        Ok(())
    }

    /// Through JSON, as a real store would.
    pub(super) fn load(&self) -> Vec<Row> {
        let through_json = |row: &Row| serde_json::from_str(&serde_json::to_string(row).unwrap()).unwrap();
        self.rows.values().map(through_json).collect()
    }

    pub(super) fn lease(&self, lease: LeaseId) -> Option<&gateway_quota::LeaseRow> {
        match self.rows.get(&format!("lease\u{1f}{lease}")) {
            Some(Row::Lease(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn epoch(&self, gateway: &str) -> u32 {
        match self.rows.get(&format!("gateway\u{1f}{gateway}")) {
            Some(Row::Gateway(row)) => row.epoch,
            _ => 0,
        }
    }
}

/// A message under way.
#[derive(Clone)]
pub(super) enum Message {
    ToAuthority(Batch),
    /// With the life that it is for.
    ToGateway(usize, u32, Reply),
}

/// Messages by arrival.
#[derive(Default)]
pub(super) struct Network {
    queue: BTreeMap<(u64, u64), Message>,
    count: u64,
}

impl Network {
    pub(super) fn send(&mut self, arrives: u64, message: Message) {
        self.count += 1;
        self.queue.insert((arrives, self.count), message);
    }

    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn receive(&mut self, now: u64) -> Option<Message> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
