//! The simulated world: what happens, in which order, with which faults.

use std::{collections::BTreeMap, time::Duration};

use gateway_quota::{
    Authority, AuthorityConfig, Holder, HolderConfig, LeaseId, Limit, Mode, Now, Period, QuotaKey, RateBound,
    Step, Unit, WindowSpec,
    message::{Answer, Batch, Reply},
};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::machines::{Clock, Life, MILLI, Message, Network, Process, Record, Store};

const TTL: u64 = 2_000 * MILLI;
const PPM: i64 = 1_000;
const STEPS: usize = 500;

/// A fault of the program itself, which the checks must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// Replies leave before their changes are durable.
    SendBeforeCommit,
    /// A holder counts the time to live from the receipt of a grant.
    ExpiryFromReceipt,
    /// An expired lease is freed although nobody knows what was spent.
    FreeOrphans,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) spent: u64,
    pub(super) happened: BTreeMap<&'static str, u64>,
}

pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) sabotage: Sabotage,
    /// True time in nanoseconds.
    pub(super) truth: u64,
    pub(super) wall_shift: i64,
    pub(super) keys: Vec<QuotaKey>,
    pub(super) limit: Limit,
    /// The largest quantity while each window was known: what can have been granted under.
    pub(super) highest: BTreeMap<Timestamp, u64>,
    pub(super) epochs: Vec<u32>,
    pub(super) lives: Vec<Life>,
    pub(super) process: Option<Process>,
    pub(super) store: Store,
    pub(super) network: Network,
    pub(super) records: BTreeMap<(usize, u32), Vec<Record>>,
    /// Units ever taken per lease, refunds not subtracted.
    pub(super) taken: BTreeMap<LeaseId, u64>,
    /// Units admitted per key and window: recorded, or in flight in a living process.
    pub(super) admitted: BTreeMap<(usize, i64), u64>,
    /// Units ever taken per key and window, refunds not subtracted.
    pub(super) gross: BTreeMap<(usize, i64), u64>,
    pub(super) report: Report,
    /// Faults are over: everything must come to rest.
    pub(super) calm: bool,
    retention: Duration,
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let quantity = rng.random_range(1..60);
        let limit = Limit {
            id: "plan/gold".into(),
            unit: Unit::Requests,
            quantity,
            window: WindowSpec::calendar(Period::Minute, "UTC").unwrap(),
            mode: Mode::Hard,
            thresholds: vec![50, 80, 100],
        };
        let keys = (0..rng.random_range(1..=2)).map(|n| QuotaKey::new("plan/gold", format!("subject/{n}")));
        let keys = keys.collect();
        let gateways = rng.random_range(1..=3);
        let mut world = Self {
            truth: rng.random_range(0..50_000 * MILLI),
            rng,
            sabotage,
            wall_shift: 0,
            keys,
            limit,
            highest: BTreeMap::new(),
            epochs: vec![0; gateways],
            lives: Vec::new(),
            process: None,
            store: Store::default(),
            network: Network::default(),
            records: BTreeMap::new(),
            taken: BTreeMap::new(),
            admitted: BTreeMap::new(),
            gross: BTreeMap::new(),
            report: Report::default(),
            calm: false,
            retention: Duration::from_secs(if seed.is_multiple_of(3) { 5 } else { 3_600 }),
        };
        for gateway in 0..gateways {
            world.start_gateway(gateway);
        }
        world
    }

    pub(super) fn run(mut self) -> Result<Report, String> {
        self.start_authority()?;
        for _ in 0..STEPS {
            self.advance()?;
            self.check()?;
            self.happen()?;
            self.check()?;
        }
        self.come_to_rest()?;
        Ok(self.report)
    }

    pub(super) fn note(&mut self, what: &'static str) {
        *self.report.happened.entry(what).or_default() += 1;
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn clock(&mut self) -> Clock {
        let ppm = [-PPM, 0, PPM][self.rng.random_range(0..3)];
        Clock { ppm, start: self.rng.random_range(0..1_000_000 * MILLI) }
    }

    pub(super) fn wall(&self) -> Timestamp {
        let start = Timestamp::from_second(1_790_000_000).unwrap();
        start + SignedDuration::from_nanos(self.truth as i64 + self.wall_shift)
    }

    pub(super) fn now(&self) -> Option<Now> {
        let process = self.process.as_ref()?;
        Some(Now { mono: process.clock.at(self.truth), wall: self.wall() })
    }

    pub(super) fn start_gateway(&mut self, gateway: usize) {
        self.epochs[gateway] += 1;
        let epoch = self.epochs[gateway];
        let clock = self.clock();
        let config = HolderConfig {
            report_every: Duration::from_millis(250),
            answer_within: Duration::from_millis(400),
            idle_after: Duration::from_secs(5),
            bound: RateBound::from_ppm(PPM as u32),
            ..HolderConfig::new(format!("gateway-{gateway}"), epoch)
        };
        let mut holder = Holder::new(config, clock.at(self.truth));
        let slots = self.keys.iter().map(|key| holder.slot(key)).collect();
        let (in_flight, cut_until, stalled_until) = (Vec::new(), 0, 0);
        let zombie = false;
        self.lives.push(Life {
            gateway,
            epoch,
            clock,
            holder,
            slots,
            in_flight,
            zombie,
            cut_until,
            stalled_until,
        });
    }

    pub(super) fn start_authority(&mut self) -> Result<(), String> {
        let clock = self.clock();
        let config = AuthorityConfig {
            ttl: Duration::from_nanos(TTL),
            cover: Duration::from_millis(700),
            retention: self.retention,
            bound: RateBound::from_ppm(PPM as u32),
            ..AuthorityConfig::default()
        };
        let now = Now { mono: clock.at(self.truth), wall: self.wall() };
        let mut authority = Authority::restore(config, self.store.load(), now);
        let step = authority.set_limits([self.limit.clone()], now);
        self.process = Some(Process { authority, clock, pending: Vec::new() });
        self.pend(step)
    }

    /// Lets true time pass: until the next message, or a little.
    fn advance(&mut self) -> Result<(), String> {
        let pause = match self.rng.random_range(0..100) {
            0..60 => self.rng.random_range(0..20),
            60..95 => self.rng.random_range(20..200),
            _ => self.rng.random_range(200..3_000),
        };
        let target = self.truth + pause * MILLI;
        self.pass_until(target)
    }

    /// Everything that happens by itself until `target`: arrivals, timers.
    pub(super) fn pass_until(&mut self, target: u64) -> Result<(), String> {
        let minute = |world: &Self| world.wall().as_second().div_euclid(60);
        let before = minute(self);
        loop {
            self.poll_all();
            match self.network.next_arrival() {
                Some(at) if at <= target => self.truth = self.truth.max(at),
                _ => break,
            }
            while let Some(message) = self.network.receive(self.truth) {
                self.deliver(message)?;
            }
        }
        self.truth = target;
        if minute(self) != before {
            self.note("rollover");
        }
        self.poll_all();
        Ok(())
    }

    fn poll_all(&mut self) {
        for index in 0..self.lives.len() {
            let life = &mut self.lives[index];
            if life.stalled_until > self.truth {
                continue;
            }
            let now = life.clock.at(self.truth);
            if now < life.holder.next_poll() {
                continue;
            }
            if let Some(batch) = life.holder.poll(now) {
                self.send(index, batch);
            }
        }
    }

    fn send(&mut self, life: usize, batch: Batch) {
        batch.check().expect("holders send what passes the check");
        let Life { cut_until, holder, clock, .. } = &mut self.lives[life];
        if *cut_until > self.truth {
            // The connection is refused or times out; often the gateway is told.
            let now = clock.at(self.truth);
            if self.rng.random_bool(0.5) {
                holder.failed(batch.sent, now);
            }
            return;
        }
        self.transmit(&Message::ToAuthority(batch));
    }

    /// Loses, repeats and delays.
    fn transmit(&mut self, message: &Message) {
        if !self.calm && self.chance(0.06) {
            return;
        }
        let copies = if !self.calm && self.chance(0.06) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = match self.rng.random_range(0..100) {
                _ if self.calm => 2,
                0..85 => self.rng.random_range(0..8),
                85..95 => self.rng.random_range(8..300),
                _ => self.rng.random_range(300..6_000),
            };
            self.network.send(self.truth + delay * MILLI, message.clone());
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::ToAuthority(batch) => self.handle(&batch),
            Message::ToGateway(gateway, epoch, reply) => {
                self.apply(gateway, epoch, &reply);
                Ok(())
            }
        }
    }

    fn handle(&mut self, batch: &Batch) -> Result<(), String> {
        let Some(now) = self.now() else { return Ok(()) };
        let process = self.process.as_mut().expect("now comes from the process");
        let step = process.authority.handle(batch, now);
        self.check_answers(batch, &step)?;
        self.pend(step)
    }

    /// A step waits for its commit; so does its reply.
    pub(super) fn pend(&mut self, step: Step) -> Result<(), String> {
        self.check_crossings(&step)?;
        if let Some(found) = step.discrepancies.first() {
            return Err(format!("Q2: {found}"));
        }
        if self.sabotage == Sabotage::SendBeforeCommit
            && let Some(reply) = step.reply.clone()
        {
            self.reply(reply);
        }
        if let Some(process) = &mut self.process {
            process.pending.push(step);
        }
        if self.calm || self.chance(0.7) { self.commit() } else { Ok(()) }
    }

    /// Group commit, then the replies.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        for step in std::mem::take(&mut process.pending) {
            self.store.commit(&step)?;
            if let Some(reply) = step.reply.filter(|_| self.sabotage != Sabotage::SendBeforeCommit) {
                self.reply(reply);
            }
        }
        Ok(())
    }

    fn reply(&mut self, reply: Reply) {
        let index: usize = reply.gateway.as_str().trim_start_matches("gateway-").parse().unwrap();
        self.transmit(&Message::ToGateway(index, reply.epoch, reply));
    }

    fn apply(&mut self, gateway: usize, epoch: u32, reply: &Reply) {
        reply.check().expect("authorities send what passes the check");
        let found = self.lives.iter_mut().find(|life| life.gateway == gateway && life.epoch == epoch);
        let Some(life) = found.filter(|life| life.stalled_until <= self.truth) else { return };
        let now = life.clock.at(self.truth);
        let sent = if self.sabotage == Sabotage::ExpiryFromReceipt { now } else { reply.sent };
        let reply = Reply { sent, ..reply.clone() };
        let recalls = reply.answers.iter().any(|answer| matches!(answer, Answer::Recall { .. }));
        let denials = reply.answers.iter().any(|answer| matches!(answer, Answer::Denied { .. }));
        life.holder.apply(&reply, now);
        if recalls {
            self.note("recall");
        }
        if denials {
            self.note("denied");
        }
    }
}
