//! What happens in the world: demand, requests that end, and faults of every kind.

use std::sync::Arc;

use gateway_quota::{Proof, QuotaKey, Settlement, Spend};
use rand::RngExt;

use super::{
    machines::{InFlight, Life, MILLI, Record},
    world::{Sabotage, World},
};

impl World {
    /// One thing happens, mostly demand.
    pub(super) fn happen(&mut self) -> Result<(), String> {
        match self.rng.random_range(0..1_000) {
            0..620 => return self.demand(),
            620..780 => self.finish_requests(),
            780..820 => return self.commit(),
            820..850 => self.recorded(),
            850..910 => return self.settle(),
            910..922 => self.crash_gateway(),
            922..930 => self.cut(),
            930..938 => self.spawn_zombie(),
            938..950 => return self.crash_authority(),
            950..965 => return self.change_limit(),
            965..970 => self.jump(),
            970..973 => return self.let_go(),
            973..985 => return self.tick(),
            _ => self.refund(),
        }
        Ok(())
    }

    fn some_life(&mut self) -> Option<usize> {
        if self.lives.is_empty() {
            return None;
        }
        Some(self.rng.random_range(0..self.lives.len()))
    }

    /// A burst of requests at one gateway.
    fn demand(&mut self) -> Result<(), String> {
        let Some(life) = self.some_life() else { return Ok(()) };
        for _ in 0..self.rng.random_range(1..6) {
            let key = self.rng.random_range(0..self.keys.len());
            let units = if self.chance(0.8) { 1 } else { self.rng.random_range(1..5) };
            self.spend(life, key, units)?;
        }
        Ok(())
    }

    /// One request; whether it was admitted.
    pub(super) fn spend(&mut self, index: usize, key: usize, units: u64) -> Result<bool, String> {
        let life = &mut self.lives[index];
        if life.stalled_until > self.truth {
            return Ok(false);
        }
        let now = life.clock.at(self.truth);
        let slot = Arc::clone(&life.slots[key]);
        match slot.try_spend(units, now) {
            Spend::Spent { lease, window_start: window, low } => {
                life.in_flight.push(InFlight { key, lease, window, units, started: now });
                if low {
                    life.holder.nudge(&slot);
                }
                self.report.spent += units;
                *self.taken.entry(lease).or_default() += units;
                *self.gross.entry((key, window)).or_default() += units;
                *self.admitted.entry((key, window)).or_default() += units;
                self.check_spend(index, key, lease)?;
                Ok(true)
            }
            Spend::Empty { .. } | Spend::Expired | Spend::Exhausted => {
                life.holder.nudge(&slot);
                Ok(false)
            }
        }
    }

    /// Some requests end: their records are in the spool.
    pub(super) fn finish_requests(&mut self) {
        for life in &mut self.lives {
            let number = self.rng.random_range(0..=life.in_flight.len());
            for done in life.in_flight.drain(..number) {
                let spool = self.records.entry((life.gateway, life.epoch)).or_default();
                spool.push(Record { lease: done.lease, units: done.units });
            }
        }
    }

    pub(super) fn recorded(&mut self) {
        for life in &mut self.lives {
            let now = life.clock.at(self.truth);
            let oldest = life.in_flight.iter().map(|request| request.started).min().unwrap_or(now);
            life.holder.recorded_through(oldest);
        }
    }

    /// A request was refused by something else after it had spent.
    fn refund(&mut self) {
        let Some(index) = self.some_life() else { return };
        let life = &mut self.lives[index];
        let Some(request) = life.in_flight.pop() else { return };
        if life.slots[request.key].refund(request.lease, request.units) {
            *self.taken.entry(request.lease).or_default() -= request.units;
            *self.admitted.entry((request.key, request.window)).or_default() -= request.units;
            self.note("refund");
        } else {
            life.in_flight.push(request);
        }
    }

    pub(super) fn settle(&mut self) -> Result<(), String> {
        let Some(now) = self.now() else { return Ok(()) };
        let process = self.process.as_ref().expect("now comes from the process");
        for orphan in process.authority.orphans(now) {
            let gateway: usize = orphan.gateway.as_str().trim_start_matches("gateway-").parse().unwrap();
            let running =
                self.lives.iter().find(|life| life.gateway == gateway && life.epoch == orphan.epoch);
            let proof = match running {
                _ if self.sabotage == Sabotage::FreeOrphans => Some(Proof::Complete),
                // A process that still runs may add records of requests in flight: its stream is not complete.
                Some(life) if !life.in_flight.is_empty() => None,
                None if orphan.superseded && self.rng.random_bool(0.7) => Some(Proof::Dead),
                _ => Some(Proof::Complete),
            };
            let spool = self.records.get(&(gateway, orphan.epoch)).map_or(&[][..], Vec::as_slice);
            let mut units: Vec<_> = spool.iter().map(|record| (record.lease, record.units)).collect();
            if self.sabotage == Sabotage::FreeOrphans {
                units.truncate(units.len() / 2);
            }
            let Some(proof) = proof else { continue };
            let (gateway, epoch) = (orphan.gateway, orphan.epoch);
            let facts = Settlement { gateway, epoch, observed: now.mono, proof, units };
            let Some(process) = &mut self.process else { return Ok(()) };
            let step = process.authority.settle(&facts, now);
            if !step.changes.is_empty() {
                self.note("settled");
            }
            self.pend(step)?;
        }
        Ok(())
    }

    /// Everything in memory is gone, with it the requests in flight; the spool stays.
    fn crash_gateway(&mut self) {
        let Some(index) = self.some_life() else { return };
        let life = self.bury(index);
        self.note("gateway crash");
        if !life.zombie {
            self.start_gateway(life.gateway);
        }
    }

    pub(super) fn bury(&mut self, index: usize) -> Life {
        let life = self.lives.swap_remove(index);
        for lost in &life.in_flight {
            *self.admitted.entry((lost.key, lost.window)).or_default() -= lost.units;
        }
        life
    }

    fn cut(&mut self) {
        let Some(index) = self.some_life() else { return };
        let long = self.rng.random_range(100..6_000) * MILLI;
        if self.chance(0.5) {
            self.lives[index].cut_until = self.truth + long;
        } else {
            self.lives[index].stalled_until = self.truth + long;
        }
    }

    /// The orchestrator replaces a gateway that it cannot reach: the old process still runs for a while.
    fn spawn_zombie(&mut self) {
        let Some(index) = self.some_life() else { return };
        if self.lives.len() > 4 || self.lives[index].zombie {
            return;
        }
        self.lives[index].zombie = true;
        self.lives[index].cut_until = u64::MAX;
        let gateway = self.lives[index].gateway;
        self.note("zombie");
        self.start_gateway(gateway);
    }

    fn crash_authority(&mut self) -> Result<(), String> {
        if let Some(process) = self.process.take() {
            if process.pending.iter().any(|step| !step.changes.is_empty()) {
                self.note("lost commit");
            }
            self.note("authority crash");
            if self.chance(0.5) {
                // Away for a while; some other event passes the time.
                return Ok(());
            }
        }
        self.start_authority()
    }

    pub(super) fn ensure_authority(&mut self) -> Result<(), String> {
        if self.process.is_none() { self.start_authority() } else { Ok(()) }
    }

    fn change_limit(&mut self) -> Result<(), String> {
        let quantity = self.rng.random_range(0..80);
        self.note(if quantity > self.limit.quantity { "raised" } else { "lowered" });
        self.note_highest();
        self.limit.quantity = quantity;
        let Some(now) = self.now() else { return Ok(()) };
        let limit = self.limit.clone();
        let process = self.process.as_mut().expect("now comes from the process");
        let step = process.authority.set_limits([limit], now);
        self.pend(step)
    }

    /// A subject stays away: the workers let go of its slot, the holder forgets it in time, and it comes back with
    /// late messages about it still under way.
    fn let_go(&mut self) -> Result<(), String> {
        let Some(index) = self.some_life() else { return Ok(()) };
        let key = self.rng.random_range(0..self.keys.len());
        let life = &mut self.lives[index];
        // A refund needs the slot of its spend.
        if life.in_flight.iter().any(|request| request.key == key) || life.stalled_until > self.truth {
            return Ok(());
        }
        // Stands in for the slot meanwhile: nothing is spent from it.
        life.slots[key] = life.holder.slot(&QuotaKey::new("plan/none", "nobody"));
        let known = life.holder.keys();
        for _ in 0..self.rng.random_range(1..30) {
            let pause = self.rng.random_range(50..400);
            self.pass_until(self.truth + pause * MILLI)?;
            if self.lives[index].holder.keys() < known {
                self.note("forgotten");
                break;
            }
        }
        let life = &mut self.lives[index];
        life.slots[key] = life.holder.slot(&self.keys[key]);
        Ok(())
    }

    /// Somebody sets the wall clock of the authority.
    fn jump(&mut self) {
        self.wall_shift = self.rng.random_range(-90_000..90_000) * MILLI as i64;
        self.note("wall jump");
    }

    fn tick(&mut self) -> Result<(), String> {
        let Some(now) = self.now() else { return self.start_authority() };
        let process = self.process.as_mut().expect("now comes from the process");
        let step = process.authority.tick(now);
        self.pend(step)
    }
}
