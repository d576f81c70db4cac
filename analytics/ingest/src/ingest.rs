//! The state machine over all segments and streams.
//!
//! In: one call per thing that happened, with the time. Out: states for the gateway at once, actions from
//! [`Ingest::poll`]. Messages may be lost, repeated and reordered; answers to unknown attempts and queries are ignored.
//! Never performs anything itself, and never lets two inserts of one segment be alive at a time.

use std::collections::{BTreeMap, VecDeque};

use analytics_record::segment::{Header, Totals};
use analytics_record::wire::{Heartbeat, SegmentState, StreamMark};
use analytics_record::{SegmentName, Stream};

use crate::config::{Config, Now};
use crate::ledger::{Ledger, Status, StreamStatus};
use crate::segment::{Held, Phase, Verdict};
use crate::stream::StreamState;

/// Names one insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u64);

/// Names one count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// What the store holds, per segment; absent means nothing.
pub type Counts = Vec<(SegmentName, Totals)>;

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertOutcome {
    /// The store answered with success (which may mean "dropped as a duplicate": a count decides).
    Ok,
    /// The store surely did not and will not run it: no connection, or an answer that says so.
    Refused,
    /// Anything else: a timeout, a reset, no answer, an answer that leaves it open.
    Ambiguous,
}

/// Something for the service to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Insert the segment's block with this token, and answer with [`Ingest::inserted`].
    Insert {
        /// To be given back.
        attempt: AttemptId,
        /// Which segment.
        name: SegmentName,
        /// `insert_deduplication_token`.
        token: String,
        /// `max_execution_time`, and when to give up waiting, in microseconds from sending.
        deadline_us: u64,
    },
    /// Count these segments in the store, by a read that sees every committed insert, and answer with
    /// [`Ingest::counted`].
    Verify {
        /// To be given back.
        query: QueryId,
        /// Which segments.
        headers: Vec<Header>,
    },
    /// The bytes of this segment are not needed any more.
    Drop {
        /// Which segment.
        name: SegmentName,
    },
    /// A person has to know.
    Alarm {
        /// Which segment.
        name: SegmentName,
        /// What is wrong.
        what: Alarm,
    },
    /// Rows came for a time that had been declared complete: reports over it need a correction. May be said again of
    /// rows that were there already, when a delayed copy of a segment comes after a restart.
    Late {
        /// Which segment.
        name: SegmentName,
        /// Its earliest row.
        min_ts_us: u64,
        /// Its latest row.
        max_ts_us: u64,
    },
}

/// What can be wrong with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Two contents under one name; the first is kept.
    Content,
    /// The store holds a part of it, or more than all of it.
    Mismatch {
        /// What the header says.
        expected: Totals,
        /// What the store holds.
        found: Totals,
    },
    /// Its file was damaged in the spool; with the requests it held, if known.
    Lost {
        /// Requests.
        n: Option<u64>,
    },
    /// It is older than the store keeps rows; with the requests it held.
    Expired {
        /// Requests.
        n: u64,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    held: BTreeMap<SegmentName, Held>,
    streams: BTreeMap<Stream, StreamState>,
    actions: VecDeque<Action>,
    /// When this life began.
    boot_us: u64,
    /// Inserts of an earlier life are dead from this time on.
    quarantine_us: u64,
    next_id: u64,
    status: Status,
}

impl Ingest {
    /// A machine that knows nothing. Until [`Ingest::fence`], or until an insert's afterlife has passed, inserts of
    /// an earlier life count as alive.
    pub fn new(config: Config, now: Now) -> Self {
        let quarantine_us = now.mono_us.saturating_add(config.afterlife_us());
        Self {
            config,
            held: BTreeMap::new(),
            streams: BTreeMap::new(),
            actions: VecDeque::new(),
            boot_us: now.mono_us,
            quarantine_us,
            next_id: 0,
            status: Status::default(),
        }
    }

    /// Like [`Ingest::new`], with what an earlier life knew.
    pub fn resume(config: Config, ledger: &Ledger, now: Now) -> Self {
        let mut ingest = Self::new(config, now);
        ingest.status.complete_through_us = ledger.complete_through_us;
        for known in &ledger.streams {
            ingest.streams.insert(known.stream, StreamState::resume(known));
        }
        ingest
    }

    /// Takes note that no insert of an earlier life of the service can still be running: the engine was started
    /// anew, or lists no insert. Ends the quarantine; says nothing about inserts of this life.
    pub fn fence(&mut self, now: Now) {
        self.quarantine_us = self.quarantine_us.min(now.mono_us);
        let untried = self.held.values_mut().filter(|held| held.attempts == 0);
        untried.for_each(|held| held.fence(now.mono_us));
    }

    /// Takes note that every insert sent before `sent_before_us` (monotonic) is dead: the engine was killed after
    /// that, and its connections with it. Shortens the wait after inserts whose outcome is unknown.
    pub fn fence_before(&mut self, sent_before_us: u64, now: Now) {
        if self.boot_us <= sent_before_us {
            self.fence(now);
        }
        let older = self.held.values_mut().filter(|held| held.attempts > 0 && held.sent_us < sent_before_us);
        older.for_each(|held| held.fence(now.mono_us));
    }

    /// A segment arrived whole and was checked. `Held` means that the service must keep its bytes until
    /// [`Action::Drop`]; with any other answer it must not.
    pub fn put(&mut self, header: &Header, now: Now) -> SegmentState {
        let name = header.name;
        if let Some(held) = self.held.get(&name) {
            if held.header.content == header.content {
                return if held.alarmed { SegmentState::Conflict } else { SegmentState::Held };
            }
            return self.conflicting(name);
        }
        let stream = self.streams.entry(name.stream).or_default();
        if stream.is_audited(name.seq) {
            return match stream.hash(name.seq) {
                Some(hash) if hash != header.content => self.conflicting(name),
                _ => SegmentState::Audited,
            };
        }
        if header.max_ts_us.saturating_add(self.config.retention_us) < now.wall_us {
            return self.expire(header);
        }
        if self.held.len() >= self.config.max_held {
            return SegmentState::Busy;
        }
        self.held.insert(name, Held::new(*header, now.mono_us, self.quarantine_us));
        SegmentState::Held
    }

    /// What is known of a segment, without its bytes.
    pub fn state(&self, name: SegmentName) -> SegmentState {
        match self.held.get(&name) {
            Some(held) if held.alarmed => SegmentState::Conflict,
            Some(_) => SegmentState::Held,
            None if self.streams.get(&name.stream).is_some_and(|s| s.is_audited(name.seq)) => {
                SegmentState::Audited
            }
            None => SegmentState::Unknown,
        }
    }

    /// A gateway spoke; gives the marks of the streams it spoke of.
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat, now: Now) -> Vec<StreamMark> {
        for segment in &heartbeat.lost {
            let stream = self.streams.entry(segment.name.stream).or_default();
            // What the service holds is not lost, whatever became of the file.
            if !self.held.contains_key(&segment.name) && stream.lose(segment.name.seq) {
                self.actions
                    .push_back(Action::Alarm { name: segment.name, what: Alarm::Lost { n: segment.n } });
            }
        }
        let marks = heartbeat.streams.iter().map(|facts| {
            let state = self.streams.entry(facts.stream).or_default();
            state.hear(facts, now.mono_us);
            StreamMark { stream: facts.stream, audited: state.audited, finished: state.finished() }
        });
        let marks = marks.collect();
        self.prune(heartbeat);
        self.advance();
        marks
    }

    /// Takes a stream out of the completeness of the whole: its volume is gone for good. What comes of it later is
    /// reported as [`Action::Late`].
    pub fn give_up(&mut self, stream: Stream) {
        self.streams.entry(stream).or_default().given_up = true;
        self.advance();
    }

    /// The outcome of an insert.
    pub fn inserted(&mut self, attempt: AttemptId, outcome: InsertOutcome, now: Now) {
        let found = self.held.values_mut().find(|held| held.phase == Phase::Inserting { attempt: attempt.0 });
        let Some(held) = found else { return };
        match outcome {
            InsertOutcome::Ok => held.insert_answered(now.mono_us),
            InsertOutcome::Refused => held.insert_refused(now.mono_us, &self.config),
            InsertOutcome::Ambiguous => held.insert_ambiguous(now.mono_us, &self.config),
        }
    }

    /// The answer to a count; an error when it could not be read. Segments it does not name hold no row.
    pub fn counted(&mut self, query: QueryId, counts: Result<Counts, ()>, now: Now) {
        let counts: Option<BTreeMap<SegmentName, Totals>> =
            counts.ok().map(|counts| counts.into_iter().collect());
        let asked = self.held.iter().filter_map(|(name, held)| match held.phase {
            Phase::Counting { query: id, asked_us } if id == query.0 => Some((*name, asked_us)),
            _ => None,
        });
        let asked: Vec<(SegmentName, u64)> = asked.collect();
        for (name, asked_us) in asked {
            let Some(counts) = &counts else {
                if let Some(held) = self.held.get_mut(&name) {
                    held.count_failed(now.mono_us, &self.config);
                }
                continue;
            };
            let found = counts.get(&name).copied().unwrap_or_default();
            self.judge(name, found, asked_us, now);
        }
        self.advance();
    }

    /// What is to be done now. Call it after every input, and about every 50 ms.
    pub fn poll(&mut self, now: Now) -> Vec<Action> {
        self.start_counts(now);
        self.start_inserts(now);
        self.actions.drain(..).collect()
    }

    /// How ingestion is.
    pub fn status(&self) -> Status {
        let mut status = self.status.clone();
        status.held = self.held.len();
        status.conflicts = self.held.values().filter(|held| held.alarmed).count() as u64;
        status.streams = self.streams.iter().map(stream_status).collect();
        status
    }

    /// One stream, for the settlement of its leases.
    pub fn stream(&self, stream: Stream) -> Option<StreamStatus> {
        self.streams.get_key_value(&stream).map(stream_status)
    }

    /// What should be kept across a restart.
    pub fn ledger(&self) -> Ledger {
        let streams = self.streams.iter().map(stream_status).collect();
        Ledger { complete_through_us: self.status.complete_through_us, streams }
    }

    /// Drops streams of ended epochs that their gateway does not name: it names every stream until this service has
    /// told it that the stream is finished. A delayed message may bring one back until the next heartbeat.
    fn prune(&mut self, heartbeat: &Heartbeat) {
        self.streams.retain(|stream, _| {
            let older = stream.gateway == heartbeat.gateway && stream.epoch < heartbeat.epoch;
            !older || heartbeat.streams.iter().any(|facts| facts.stream == *stream)
        });
    }

    fn judge(&mut self, name: SegmentName, found: Totals, asked_us: u64, now: Now) {
        let Some(held) = self.held.get_mut(&name) else { return };
        match held.counted(found, asked_us, now.mono_us, &self.config) {
            Verdict::GoOn => {}
            Verdict::Audited => self.audit(name),
            Verdict::Mismatch if held.alarmed => {}
            Verdict::Mismatch => {
                held.alarmed = true;
                let what = Alarm::Mismatch { expected: held.header.totals, found };
                self.actions.push_back(Action::Alarm { name, what });
            }
        }
    }

    fn audit(&mut self, name: SegmentName) {
        let Some(held) = self.held.remove(&name) else { return };
        let header = held.header;
        let stream = self.streams.entry(name.stream).or_default();
        stream.audit(name.seq, header.content, header.complete_through_us);
        self.status.audited_total += 1;
        self.status.audited_n = self.status.audited_n.saturating_add(header.totals.n);
        if self.status.complete_through_us.is_some_and(|through| header.min_ts_us <= through) {
            self.status.late += 1;
            let (min_ts_us, max_ts_us) = (header.min_ts_us, header.max_ts_us);
            self.actions.push_back(Action::Late { name, min_ts_us, max_ts_us });
        }
        self.actions.push_back(Action::Drop { name });
    }

    fn conflicting(&mut self, name: SegmentName) -> SegmentState {
        self.actions.push_back(Action::Alarm { name, what: Alarm::Content });
        SegmentState::Conflict
    }

    /// The store would drop these rows at once; their loss is declared, and the stream goes on.
    fn expire(&mut self, header: &Header) -> SegmentState {
        let name = header.name;
        let n = header.totals.n;
        self.streams.entry(name.stream).or_default().audit(
            name.seq,
            header.content,
            header.complete_through_us,
        );
        self.status.expired += 1;
        self.actions.push_back(Action::Alarm { name, what: Alarm::Expired { n } });
        self.advance();
        SegmentState::Audited
    }

    /// Moves the completeness of the whole to the least complete stream that is still expected to bring something.
    fn advance(&mut self) {
        let live =
            self.streams.values().filter(|state| state.expected && !state.finished() && !state.given_up);
        // With every stream finished, completeness stays where it was until somebody speaks again.
        let through = live.map(|state| state.complete_through_us).min();
        self.status.complete_through_us = self.status.complete_through_us.max(through);
    }

    fn start_counts(&mut self, now: Now) {
        let due: Vec<SegmentName> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held.phase, Phase::Waiting { not_before_us } if not_before_us <= now.mono_us))
            .map(|(name, _)| *name)
            .collect();
        for batch in due.chunks(self.config.verify_batch.max(1)) {
            self.next_id += 1;
            let query = self.next_id;
            let mut headers = Vec::with_capacity(batch.len());
            for name in batch {
                if let Some(held) = self.held.get_mut(name) {
                    held.phase = Phase::Counting { query, asked_us: now.mono_us };
                    headers.push(held.header);
                }
            }
            self.actions.push_back(Action::Verify { query: QueryId(query), headers });
        }
    }

    fn start_inserts(&mut self, now: Now) {
        let running = self.held.values().filter(|held| matches!(held.phase, Phase::Inserting { .. })).count();
        let free = self.config.max_inserts.saturating_sub(running);
        let ready = |held: &Held| matches!(held.phase, Phase::Ready { not_before_us } if not_before_us <= now.mono_us);
        for (name, held) in self.held.iter_mut().filter(|(_, held)| ready(held)).take(free) {
            self.next_id += 1;
            self.status.inserts += 1;
            self.status.retries += u64::from(held.attempts > 0);
            self.actions.push_back(Action::Insert {
                attempt: AttemptId(self.next_id),
                name: *name,
                token: held.token(),
                deadline_us: self.config.insert_deadline_us,
            });
            held.phase = Phase::Inserting { attempt: self.next_id };
            held.attempts += 1;
            held.sent_us = now.mono_us;
        }
    }
}

fn stream_status((stream, state): (&Stream, &StreamState)) -> StreamStatus {
    StreamStatus {
        stream: *stream,
        audited: state.audited,
        next_seq: state.next_seq,
        closed: state.closed,
        finished: state.finished(),
        complete_through_us: state.complete_through_us,
        lost: state.lost(),
        expected: state.expected,
        given_up: state.given_up,
        heard_us: state.heard_us,
    }
}

#[cfg(test)]
mod tests;
