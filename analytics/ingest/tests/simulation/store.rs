//! A model of ClickHouse as far as it can hurt: inserts that outlive their client, a short de-duplication window, and
//! crashes that leave a token without data or data without a token. Committed data is never lost (parts are synced).

use std::collections::{BTreeMap, VecDeque};

use analytics_ingest::{AttemptId, QueryId};
use analytics_record::SegmentName;
use analytics_record::native::Block;
use analytics_record::segment::{Segment, Totals};

use crate::random::Random;

/// The store gives up an insert after this long.
pub(crate) const DEADLINE_US: u64 = 1_000_000;
/// The longest that a statement is under way before it runs.
pub(crate) const TRANSIT_US: u64 = 100_000;

/// A segment that was committed.
#[derive(Debug)]
pub(crate) struct Commit {
    pub name: SegmentName,
    pub at_us: u64,
    pub block: Block,
}

/// What the service is told about a statement.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Inserted(AttemptId),
    InsertRefused(AttemptId),
    InsertUnknown(AttemptId),
    Counted(QueryId, Option<Vec<(SegmentName, Totals)>>),
}

#[derive(Debug)]
struct Insert {
    attempt: AttemptId,
    token: String,
    bytes: Vec<u8>,
    arrives_us: u64,
    commits_us: u64,
    /// When the client stops waiting.
    given_up_us: u64,
    answered: bool,
    /// It reached a store that was down.
    refused: bool,
    client: u64,
}

#[derive(Debug)]
struct Query {
    id: QueryId,
    names: Vec<SegmentName>,
    runs_us: u64,
    answers_us: u64,
    found: Option<Vec<(SegmentName, Totals)>>,
    ran: bool,
    client: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub commits: Vec<Commit>,
    by_name: BTreeMap<SegmentName, Vec<usize>>,
    tokens: VecDeque<String>,
    /// Tokens that the store remembers.
    pub window: usize,
    inserts: Vec<Insert>,
    queries: Vec<Query>,
    pub down: bool,
    /// Reads see the table as it was when this many commits were there: the flaw of a lagging replica.
    pub stale: bool,
    /// What happened, for the trace.
    pub events: Vec<String>,
}

impl Store {
    /// An insert is sent: the attempt, its token, the segment.
    pub(crate) fn insert(
        &mut self,
        sent: (AttemptId, String, Vec<u8>),
        client: u64,
        now: u64,
        r: &mut Random,
    ) {
        let (attempt, token, bytes) = sent;
        let arrives_us = now + r.within(1_000, TRANSIT_US);
        let slow = r.chance(100);
        let commits_us =
            arrives_us + if slow { r.within(10_000, DEADLINE_US) } else { r.within(1_000, 50_000) };
        let patience = if r.chance(150) { r.within(1_000, 200_000) } else { DEADLINE_US + 200_000 };
        let given_up_us = now + patience;
        self.inserts.push(Insert {
            attempt,
            token,
            bytes,
            arrives_us,
            commits_us,
            given_up_us,
            answered: false,
            refused: false,
            client,
        });
    }

    pub(crate) fn count(
        &mut self,
        query: QueryId,
        names: Vec<SegmentName>,
        client: u64,
        now: u64,
        r: &mut Random,
    ) {
        let runs_us = now + r.within(1_000, 50_000);
        let answers_us = runs_us + r.within(1_000, 50_000);
        self.queries.push(Query { id: query, names, runs_us, answers_us, found: None, ran: false, client });
    }

    /// Whether no insert is running or under way.
    pub(crate) fn idle(&self) -> bool {
        self.inserts.is_empty()
    }

    pub(crate) fn copies(&self, name: SegmentName) -> usize {
        self.by_name.get(&name).map_or(0, Vec::len)
    }

    /// Lets time pass; gives the answers for the client of this number, others go nowhere.
    pub(crate) fn step(&mut self, client: u64, now: u64, r: &mut Random) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.run_inserts(now, r, &mut answers);
        self.run_queries(now, r, &mut answers);
        answers
            .into_iter()
            .filter(|(for_client, _)| *for_client == client)
            .map(|(_, answer)| answer)
            .collect()
    }

    /// A new store: what reached none is refused.
    pub(crate) fn start(&mut self, now: u64) {
        self.down = false;
        for insert in self.inserts.iter_mut().filter(|insert| insert.arrives_us <= now) {
            insert.refused = true;
        }
    }

    /// The store dies; statements that run are cut at any point.
    pub(crate) fn crash(&mut self, now: u64, r: &mut Random) {
        self.down = true;
        let (running, waiting): (Vec<Insert>, Vec<Insert>) = std::mem::take(&mut self.inserts)
            .into_iter()
            .partition(|insert| insert.arrives_us <= now && insert.commits_us != u64::MAX);
        self.inserts = waiting;
        for mut insert in running {
            match r.within(0, 4) {
                0 => self.remember(insert.token.clone()),
                1 if !self.tokens.contains(&insert.token) => self.commit(&insert.bytes, now),
                _ => {}
            }
            // What is left of it is only the client's uncertainty.
            insert.commits_us = u64::MAX;
            insert.given_up_us = insert.given_up_us.min(now + 10_000);
            if !insert.answered {
                self.inserts.push(insert);
            }
        }
        // The log of tokens is not synced.
        let kept = r.within(0, self.tokens.len() as u64 + 1) as usize;
        self.tokens.truncate(kept);
    }

    fn run_inserts(&mut self, now: u64, r: &mut Random, answers: &mut Vec<(u64, Answer)>) {
        for mut insert in std::mem::take(&mut self.inserts) {
            let due = insert.commits_us != u64::MAX && insert.arrives_us <= now;
            if due && (self.down || insert.refused) {
                if !insert.answered {
                    answers.push((insert.client, Answer::InsertRefused(insert.attempt)));
                }
                continue;
            }
            if due && insert.commits_us <= now {
                if !self.tokens.contains(&insert.token) {
                    self.remember(insert.token.clone());
                    self.commit(&insert.bytes, insert.commits_us);
                }
                let lost = r.chance(100);
                if !insert.answered && !lost && insert.commits_us <= insert.given_up_us {
                    answers.push((insert.client, Answer::Inserted(insert.attempt)));
                    insert.answered = true;
                }
                insert.commits_us = u64::MAX;
            }
            if insert.given_up_us <= now && !insert.answered {
                answers.push((insert.client, Answer::InsertUnknown(insert.attempt)));
                insert.answered = true;
            }
            if !(insert.answered && insert.commits_us == u64::MAX) {
                self.inserts.push(insert);
            }
        }
    }

    fn run_queries(&mut self, now: u64, r: &mut Random, answers: &mut Vec<(u64, Answer)>) {
        for mut query in std::mem::take(&mut self.queries) {
            if !query.ran && query.runs_us <= now {
                query.ran = true;
                let back = if self.stale { r.within(0, 400_000) } else { 0 };
                query.found = (!self.down).then(|| self.read(&query.names, now.saturating_sub(back)));
            }
            if query.answers_us <= now && query.ran {
                let found = query.found.take().filter(|_| !r.chance(50));
                answers.push((query.client, Answer::Counted(query.id, found)));
            } else {
                self.queries.push(query);
            }
        }
    }

    fn read(&self, names: &[SegmentName], as_of_us: u64) -> Vec<(SegmentName, Totals)> {
        let mut found = Vec::new();
        for name in names {
            let copies =
                self.by_name.get(name).into_iter().flatten().filter(|i| self.commits[**i].at_us <= as_of_us);
            let totals: Vec<Totals> =
                copies.filter_map(|i| Totals::of_block(&self.commits[*i].block)).collect();
            if let Some(sum) = totals.into_iter().reduce(add) {
                found.push((*name, sum));
            }
        }
        found
    }

    fn remember(&mut self, token: String) {
        self.tokens.push_back(token);
        while self.tokens.len() > self.window {
            self.tokens.pop_front();
        }
    }

    fn commit(&mut self, bytes: &[u8], at_us: u64) {
        let segment = Segment::parse(bytes).expect("the service sends what it checked");
        let name = segment.header().name;
        self.events.push(format!("store commits {name} at {at_us}"));
        self.by_name.entry(name).or_default().push(self.commits.len());
        let block = segment.block().expect("a sealed block is whole");
        self.commits.push(Commit { name, at_us, block });
    }
}

fn add(a: Totals, b: Totals) -> Totals {
    Totals {
        rows: a.rows + b.rows,
        n: a.n + b.n,
        units: a.units + b.units,
        bytes: a.bytes + b.bytes,
        row_sum: a.row_sum + b.row_sum,
    }
}
