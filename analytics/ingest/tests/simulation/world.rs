//! Time, network and faults around two gateways, one service and one store.

use analytics_ingest::{Ledger, Now};
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer};

use crate::check::Checks;
use crate::gateway::Gateway;
use crate::random::Random;
use crate::service::Service;
use crate::store::{Store, TRANSIT_US};

/// 2026-11-23 23:59:50 UTC: most runs meet midnight.
const START_US: u64 = 1_795_391_990_000_000;
/// Steps with faults.
const FAULTY_STEPS: u64 = 120;
/// Steps within which everything must have arrived once faults end.
const CALM_STEPS: u64 = 1_500;

/// A protocol broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// An insert answered with success is not counted.
    BelieveInserts,
    /// An insert without an answer is tried again at once.
    HastyRetry,
    /// A restarted service does not wait for inserts of its earlier life.
    NoQuarantine,
    /// Every attempt carries the same token.
    OneToken,
    /// Counts come from a replica that lags.
    StaleCounts,
    /// The gateway deletes what the service holds but has not audited.
    HastyDelete,
    /// The disk says that it synced and did not.
    LyingDisk,
}

impl Flaw {
    pub(crate) const ALL: [Self; 7] = [
        Self::BelieveInserts,
        Self::HastyRetry,
        Self::NoQuarantine,
        Self::OneToken,
        Self::StaleCounts,
        Self::HastyDelete,
        Self::LyingDisk,
    ];
}

/// What becomes of a run's story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracing {
    Off,
    Keep,
    Print,
}

enum Message {
    Put(usize, Vec<u8>),
    PutAnswer(usize, PutAnswer),
    Heartbeat(usize, Box<Heartbeat>),
    HeartbeatAnswer(usize, HeartbeatAnswer),
}

pub(crate) struct World {
    random: Random,
    now_us: u64,
    gateways: Vec<Gateway>,
    service: Option<Service>,
    service_down_until_us: u64,
    boots: u64,
    ledger: Ledger,
    store: Store,
    store_down_until_us: u64,
    /// The store was started anew: at the first time, inserts sent before the second are told to be dead.
    fence_at_us: Option<(u64, u64)>,
    network: Vec<(u64, Message)>,
    cut_until_us: u64,
    calm: bool,
    next_id: u64,
    checks: Checks,
    flaw: Option<Flaw>,
    tracing: Tracing,
    trace: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, flaw: Option<Flaw>, tracing: Tracing) -> Self {
        let mut random = Random::new(seed);
        let gateways = (0..2u8).map(|i| Gateway::new(i + 1, random.next(), START_US, flaw)).collect();
        let mut store = Store::default();
        store.window = random.within(1, 80) as usize;
        store.stale = flaw == Some(Flaw::StaleCounts);
        let mut world = Self {
            random,
            now_us: START_US,
            gateways,
            service: None,
            service_down_until_us: 0,
            boots: 0,
            ledger: Ledger::default(),
            store,
            store_down_until_us: 0,
            fence_at_us: None,
            network: Vec::new(),
            cut_until_us: 0,
            calm: false,
            next_id: 0,
            checks: Checks::default(),
            flaw,
            tracing,
            trace: Vec::new(),
        };
        world.meet_everyone();
        world
    }

    /// Both gateways are known from the beginning, so that completeness waits for both.
    fn meet_everyone(&mut self) {
        self.start_service();
        let now = self.now();
        for gateway in &mut self.gateways {
            gateway.start();
            if let (Some(service), Some(heartbeat)) = (&mut self.service, gateway.heartbeat()) {
                service.heartbeat(&heartbeat, now);
                self.ledger = service.ingest.ledger();
            }
        }
    }

    /// Runs to the end; an error says which invariant broke.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        for _ in 0..FAULTY_STEPS {
            self.faults();
            self.step()?;
        }
        self.say("calm");
        self.calm = true;
        self.gateways.iter().for_each(|gateway| gateway.fs.set_space(None));
        for _ in 0..CALM_STEPS {
            self.step()?;
            if self.settled() {
                return self.checks.finish(&self.gateways, &self.store);
            }
        }
        let held = self.service.as_ref().map(|service| service.ingest.status());
        let left: Vec<String> = self.gateways.iter().map(Gateway::describe).collect();
        Err(format!("no progress long after the faults ended: {held:?} {left:?}"))
    }

    pub(crate) fn trace(self) -> Vec<String> {
        self.trace
    }

    fn settled(&self) -> bool {
        let held = self.service.as_ref().map_or(1, |service| service.ingest.status().held);
        held == 0 && self.network.is_empty() && self.gateways.iter().all(Gateway::drained)
    }

    fn now(&self) -> Now {
        Now { mono_us: self.now_us, wall_us: self.now_us }
    }

    fn say(&mut self, what: &str) {
        if self.tracing == Tracing::Off {
            return;
        }
        let line = format!("{:>9} {what}", self.now_us - START_US);
        if self.tracing == Tracing::Print {
            print(&line);
        }
        self.trace.push(line);
    }

    fn step(&mut self) -> Result<(), String> {
        let us = self.random.within(1_000, 120_000);
        self.now_us += us;
        self.gateways.iter_mut().for_each(|gateway| gateway.pass(us));
        self.revive();
        for index in 0..self.gateways.len() {
            self.step_gateway(index)?;
        }
        self.deliver()?;
        self.step_service()
    }

    fn step_gateway(&mut self, index: usize) -> Result<(), String> {
        let (now, calm) = (self.now_us, self.calm);
        let gateway = &mut self.gateways[index];
        if !calm {
            let burst = self.random.chance(40);
            let count = if burst { self.random.within(30, 120) } else { self.random.within(0, 6) };
            gateway.append(count, &mut self.next_id, &mut self.random)?;
        }
        gateway.tick();
        if gateway.fs.crashed() && gateway.process.is_some() {
            gateway.kill(false);
            gateway.down_until_us = now + self.random.within(10_000, 500_000);
            self.say(&format!("gateway {index} is killed within an operation"));
            return Ok(());
        }
        for bytes in gateway.ship(now) {
            self.checks.shipped(&bytes)?;
            self.send(Message::Put(index, bytes));
        }
        if self.random.chance(300)
            && let Some(heartbeat) = self.gateways[index].heartbeat()
        {
            if self.tracing != Tracing::Off {
                let facts = heartbeat.streams.iter();
                let facts: Vec<String> = facts
                    .map(|f| {
                        format!(
                            "{}/{} {}..{} {}",
                            f.stream.epoch, f.stream.shard, f.first_held, f.next_seq, f.closed
                        )
                    })
                    .collect();
                self.say(&format!("gateway {index} says {facts:?} lost {:?}", heartbeat.lost));
            }
            self.send(Message::Heartbeat(index, Box::new(heartbeat)));
        }
        Ok(())
    }

    fn step_service(&mut self) -> Result<(), String> {
        let now = self.now();
        let client = self.service.as_ref().map_or(u64::MAX, |service| service.boot);
        let answers = self.store.step(client, now.mono_us, &mut self.random);
        let commits: Vec<String> = self.store.events.drain(..).collect();
        for commit in commits {
            self.say(&commit);
        }
        let Some(service) = &mut self.service else { return Ok(()) };
        if let Some((_, sent_before_us)) = self.fence_at_us.take_if(|(at, _)| *at <= now.mono_us) {
            service.ingest.fence_before(sent_before_us, now);
            service.events.push(format!("fence before {}", sent_before_us.saturating_sub(START_US)));
        }
        for answer in answers {
            service.answer(answer, now);
        }
        service.act(&mut self.store, now, &mut self.random);
        self.checks.late.extend(service.late.drain(..));
        let alarms: Vec<String> = service.alarms.drain(..).collect();
        let events: Vec<String> = service.events.drain(..).collect();
        // The ledger is written whenever it changes, before anyone is told.
        self.ledger = service.ingest.ledger();
        self.checks.completeness(service.ingest.status().complete_through_us, now.mono_us)?;
        for event in events {
            self.say(&event);
        }
        match alarms.first() {
            Some(alarm) => Err(format!("an alarm without damage: {alarm}")),
            None => Ok(()),
        }
    }

    fn send(&mut self, message: Message) {
        let copies = if self.random.chance(50) && !self.calm { 2 } else { 1 };
        if matches!(message, Message::Put(..) | Message::PutAnswer(..)) && copies == 2 {
            // Bytes repeat as they were sent.
            let again = match &message {
                Message::Put(index, bytes) => Message::Put(*index, bytes.clone()),
                Message::PutAnswer(index, answer) => Message::PutAnswer(*index, answer.clone()),
                _ => return,
            };
            let at = self.now_us + self.random.within(1_000, 900_000);
            self.network.push((at, again));
        }
        let lost = !self.calm && (self.random.chance(80) || self.now_us < self.cut_until_us);
        if !lost {
            let slow = self.random.chance(100);
            let at = self.now_us
                + if slow { self.random.within(1_000, 600_000) } else { self.random.within(500, 20_000) };
            self.network.push((at, message));
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        let now = self.now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.network).into_iter().partition(|m| m.0 <= now.mono_us);
        self.network = later;
        for (_, message) in due {
            match message {
                Message::Put(index, bytes) => {
                    let Some(service) = &mut self.service else { continue };
                    let answer = service.put(bytes, now);
                    self.send(Message::PutAnswer(index, answer));
                }
                Message::Heartbeat(index, heartbeat) => {
                    let Some(service) = &mut self.service else { continue };
                    let marks = service.heartbeat(&heartbeat, now);
                    Checks::marks(&marks, &self.store)?;
                    let boot = service.boot.to_string();
                    self.send(Message::HeartbeatAnswer(
                        index,
                        HeartbeatAnswer { boot, marks, seal_age_ms: 200 },
                    ));
                }
                Message::PutAnswer(index, answer) => self.gateways[index].put_answered(&answer),
                Message::HeartbeatAnswer(index, answer) => {
                    let deleted = self.gateways[index].heartbeat_answered(&answer);
                    Checks::deleted(&deleted, &self.store)?;
                }
            }
        }
        Ok(())
    }

    fn start_service(&mut self) {
        self.boots += 1;
        let idle = self.store.idle();
        let mut service = Service::start(self.boots, &self.ledger, idle, self.flaw, self.now());
        service.tracing = self.tracing != Tracing::Off;
        self.service = Some(service);
        self.say(&format!("service starts, boot {}", self.boots));
    }

    fn revive(&mut self) {
        for index in 0..self.gateways.len() {
            if self.gateways[index].process.is_none() && self.gateways[index].down_until_us <= self.now_us {
                self.gateways[index].start();
                if self.gateways[index].fs.crashed() {
                    self.gateways[index].kill(false);
                }
                let open = self.gateways[index].process.is_some();
                self.say(&format!("gateway {index} starts: {open}"));
            }
        }
        if self.service.is_none() && self.service_down_until_us <= self.now_us {
            self.start_service();
        }
        if self.store.down && self.store_down_until_us <= self.now_us {
            self.store.start(self.now_us);
            let at = self.now_us + self.random.within(0, 1_500_000);
            self.fence_at_us = self.random.chance(700).then_some((at, self.now_us - TRANSIT_US));
            self.say("store starts");
        }
    }

    fn faults(&mut self) {
        let now = self.now_us;
        let index = self.random.within(0, self.gateways.len() as u64) as usize;
        if self.random.chance(12) && self.gateways[index].process.is_some() {
            let power = self.random.chance(250);
            self.gateways[index].kill(power);
            self.gateways[index].down_until_us = now + self.random.within(10_000, 800_000);
            self.say(&format!("gateway {index} is killed, power lost: {power}"));
        }
        if self.random.chance(25) {
            let operations = self.random.within(0, 40);
            self.gateways[index].fs.crash_after(operations);
        }
        if self.random.chance(15) {
            let more = self.random.within(0, 8_000);
            let space = self.random.chance(500).then(|| self.gateways[index].fs.used() + more);
            self.gateways[index].fs.set_space(space);
            self.say(&format!("gateway {index} has disk space {space:?}"));
        }
        if self.random.chance(8) {
            let back = self.random.chance(500);
            let by = self.random.within(1_000, 5_000_000);
            let gateway = &mut self.gateways[index];
            gateway.wall_us = if back { gateway.wall_us - by } else { gateway.wall_us + by };
            gateway.stepped_back |= back;
            self.checks.stepped_back |= back;
            self.say(&format!("gateway {index} has its clock set, back: {back}"));
        }
        if self.random.chance(20) && self.service.is_some() {
            self.service = None;
            self.service_down_until_us = now + self.random.within(10_000, 1_500_000);
            self.say("service is killed");
        }
        if self.random.chance(25) && !self.store.down {
            self.store.crash(now, &mut self.random);
            self.store_down_until_us = now + self.random.within(10_000, 1_500_000);
            self.fence_at_us = None;
            self.say("store is killed");
        }
        if self.random.chance(15) {
            self.cut_until_us = now + self.random.within(100_000, 1_500_000);
            self.say("network is cut");
        }
    }
}

#[allow(clippy::print_stdout, reason = "a replayed run tells its story")]
fn print(line: &str) {
    println!("{line}");
}
