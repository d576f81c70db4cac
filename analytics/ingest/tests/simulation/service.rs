//! The analytics service around the state machine: keeps bytes, performs actions, forgets everything in a crash but
//! its ledger.

use std::collections::BTreeMap;

use analytics_ingest::{Action, Config, Ingest, InsertOutcome, Ledger, Now};
use analytics_record::SegmentName;
use analytics_record::segment::{Header, Totals};
use analytics_record::wire::{Heartbeat, PutAnswer, SegmentState, StreamMark};

use crate::random::Random;
use crate::store::{Answer, DEADLINE_US, Store};
use crate::world::Flaw;

pub(crate) struct Service {
    pub ingest: Ingest,
    pub boot: u64,
    bytes: BTreeMap<SegmentName, Vec<u8>>,
    flaw: Option<Flaw>,
    /// Segments whose insert was answered with success, for the flaw that believes it.
    believed: BTreeMap<SegmentName, Totals>,
    running: BTreeMap<u64, SegmentName>,
    pub late: Vec<SegmentName>,
    pub alarms: Vec<String>,
    /// What happened, for the trace.
    pub events: Vec<String>,
    pub tracing: bool,
}

fn config() -> Config {
    Config {
        insert_deadline_us: DEADLINE_US,
        slack_us: 500_000,
        backoff_min_us: 50_000,
        backoff_max_us: 400_000,
        max_held: 24,
        max_inserts: 3,
        verify_batch: 8,
        retention_us: 35 * 86_400_000_000,
    }
}

impl Service {
    pub(crate) fn start(boot: u64, ledger: &Ledger, idle: bool, flaw: Option<Flaw>, now: Now) -> Self {
        let mut ingest = Ingest::resume(config(), ledger, now);
        if idle || flaw == Some(Flaw::NoQuarantine) {
            ingest.fence(now);
        }
        let (bytes, believed, running) = Default::default();
        Self {
            ingest,
            boot,
            bytes,
            flaw,
            believed,
            running,
            late: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
            tracing: false,
        }
    }

    pub(crate) fn put(&mut self, bytes: Vec<u8>, now: Now) -> PutAnswer {
        let header =
            Header::parse(&bytes).expect("the spool checked it and the network does not change bytes");
        let state = self.ingest.put(&header, now);
        if state == SegmentState::Held {
            self.bytes.entry(header.name).or_insert(bytes);
        }
        PutAnswer { name: header.name, state, boot: self.boot.to_string() }
    }

    pub(crate) fn heartbeat(&mut self, heartbeat: &Heartbeat, now: Now) -> Vec<StreamMark> {
        self.ingest.heartbeat(heartbeat, now)
    }

    pub(crate) fn answer(&mut self, answer: Answer, now: Now) {
        if self.tracing {
            self.events.push(format!("answer {answer:?}"));
        }
        match answer {
            Answer::Inserted(attempt) => {
                if let (Some(Flaw::BelieveInserts), Some(name)) = (self.flaw, self.running.get(&attempt.0)) {
                    let header = Header::parse(&self.bytes[name]).expect("checked before");
                    self.believed.insert(*name, header.totals);
                }
                self.ingest.inserted(attempt, InsertOutcome::Ok, now);
            }
            Answer::InsertRefused(attempt) => self.ingest.inserted(attempt, InsertOutcome::Refused, now),
            Answer::InsertUnknown(attempt) => {
                let hasty = self.flaw == Some(Flaw::HastyRetry);
                let outcome = if hasty { InsertOutcome::Refused } else { InsertOutcome::Ambiguous };
                self.ingest.inserted(attempt, outcome, now);
            }
            Answer::Counted(query, counts) => {
                let counts = counts.map(|mut counts| {
                    counts.retain(|(name, _)| !self.believed.contains_key(name));
                    counts.extend(self.believed.iter().map(|(name, totals)| (*name, *totals)));
                    counts
                });
                self.ingest.counted(query, counts.ok_or(()), now);
            }
        }
    }

    pub(crate) fn act(&mut self, store: &mut Store, now: Now, random: &mut Random) {
        for action in self.ingest.poll(now) {
            if self.tracing {
                self.events.push(match &action {
                    Action::Verify { query, headers } => {
                        format!("verify {query:?} of {} segments", headers.len())
                    }
                    other => format!("{other:?}"),
                });
            }
            match action {
                Action::Insert { attempt, name, token, .. } => {
                    self.running.insert(attempt.0, name);
                    let token = if self.flaw == Some(Flaw::OneToken) { name.to_string() } else { token };
                    let sent = (attempt, token, self.bytes[&name].clone());
                    store.insert(sent, self.boot, now.mono_us, random);
                }
                Action::Verify { query, headers } => {
                    let names = headers.iter().map(|header| header.name).collect();
                    store.count(query, names, self.boot, now.mono_us, random);
                }
                Action::Drop { name } => drop(self.bytes.remove(&name)),
                Action::Alarm { name, what } => self.alarms.push(format!("{name}: {what:?}")),
                Action::Late { name, .. } => self.late.push(name),
            }
        }
    }
}
