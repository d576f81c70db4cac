//! The invariants, checked against what truly happened, which no machine of the world can see.

use gateway_quota::{
    LeaseId, Step,
    message::{Answer, Batch},
};

use jiff::Timestamp;

use super::{machines::MILLI, world::World};

impl World {
    /// A window that is open now may have been granted from under the quantity of now.
    pub(super) fn note_highest(&mut self) {
        let Some(process) = &self.process else { return };
        for account in process.authority.accounts() {
            let highest = self.highest.entry(account.window.start).or_default();
            *highest = self.limit.quantity.max(*highest);
        }
    }

    /// After every event.
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.note_highest();
        if let Some(process) = &self.process {
            for account in process.authority.accounts() {
                let charged = account.used + account.leased + account.unaccounted;
                let most = self.highest[&account.window.start];
                if charged > most {
                    return Err(format!("Q1: {charged} charged, at most {most}: {account:?}"));
                }
            }
        }
        for ((key, window), units) in &self.admitted {
            let start = Timestamp::from_second(*window).expect("a window that was granted");
            let most = self.highest.get(&start).copied().unwrap_or(0);
            if *units > most {
                return Err(format!("Q6: {units} admitted for key {key} in {start}, at most {most}"));
            }
        }
        Ok(())
    }

    /// After every spend: the lease is durable and covers everything taken from it.
    pub(super) fn check_spend(&self, life: usize, key: usize, lease: LeaseId) -> Result<(), String> {
        let taken = self.taken.get(&lease).copied().unwrap_or(0);
        match self.store.lease(lease) {
            None if self.store.known.contains(&lease) => {
                Err(format!("Q3: lease {lease} was reclaimed and is spent by life {life}"))
            }
            None => Err(format!("Q4: lease {lease} is not durable and is spent")),
            Some(row) if taken > row.granted => {
                Err(format!("Q4: {taken} taken from lease {lease}, {} are durable", row.granted))
            }
            Some(row) if row.account.key != self.keys[key] => {
                Err(format!("Q2: lease {lease} is of another key"))
            }
            Some(_) => Ok(()),
        }
    }

    /// After every batch: a fenced life gets nothing (Q5), and saying it twice changes nothing (Q9).
    pub(super) fn check_answers(&mut self, batch: &Batch, step: &Step) -> Result<(), String> {
        let answers = &step.reply.as_ref().expect("a batch has a reply").answers;
        let fenced = batch.epoch < self.store.epoch(batch.gateway.as_str());
        if fenced && !matches!(answers.as_slice(), [Answer::Fenced { .. }]) {
            return Err(format!("Q5: epoch {} of {} got {answers:?}", batch.epoch, batch.gateway));
        }
        let Some(now) = self.now() else { return Ok(()) };
        let charged = |world: &Self| {
            let process = world.process.as_ref().expect("it has just answered");
            process
                .authority
                .accounts()
                .map(|view| view.ceiling - view.remaining.min(view.ceiling))
                .sum::<u64>()
        };
        if self.chance(0.1) {
            let before = charged(self);
            let process = self.process.as_mut().expect("it has just answered");
            let repeated = process.authority.handle(batch, now);
            if charged(self) != before || !repeated.changes.is_empty() {
                return Err(format!("Q9: repeated {batch:?} changes {:?}", repeated.changes));
            }
        }
        Ok(())
    }

    /// At the crossing: use has truly come so far (Q10).
    pub(super) fn check_crossings(&mut self, step: &Step) -> Result<(), String> {
        for crossing in &step.crossings {
            self.note("crossing");
            let key = self.keys.iter().position(|key| *key == crossing.key).expect("only our keys");
            let window = crossing.window.start.as_second();
            let gross = self.gross.get(&(key, window)).copied().unwrap_or(0);
            if gross < crossing.used {
                return Err(format!("Q10: {gross} used when this fired: {crossing:?}"));
            }
        }
        Ok(())
    }

    /// Faults end, processes stop, spools are read: the books must balance, and what is left can be used up.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        self.calm = true;
        // Later than any window that was seen.
        self.wall_shift = 100_000 * MILLI as i64;
        self.ensure_authority()?;
        self.commit()?;
        let last = self.epochs.clone();
        while let Some(old) = self.lives.iter().position(|life| life.epoch != last[life.gateway]) {
            self.bury(old);
        }
        for life in &mut self.lives {
            (life.cut_until, life.stalled_until) = (0, 0);
            life.zombie = false;
        }
        self.settle_down()?;
        self.use_up()?;
        self.settle_down()?;
        self.check_books()
    }

    fn settle_down(&mut self) -> Result<(), String> {
        for _ in 0..30 {
            while self.lives.iter().any(|life| !life.in_flight.is_empty()) {
                self.finish_requests();
            }
            self.recorded();
            self.pass_until(self.truth + 500 * MILLI)?;
            self.settle()?;
            self.check()?;
        }
        Ok(())
    }

    /// Q8: with demand and without faults, a fresh window gives out exactly the limit.
    fn use_up(&mut self) -> Result<(), String> {
        let into_minute = (self.wall().as_millisecond().rem_euclid(60_000)) as u64 * MILLI;
        self.pass_until(self.truth + 60_000 * MILLI - into_minute + 100 * MILLI)?;
        let window = self.wall().as_second().div_euclid(60) * 60;
        let mut rounds_after = 0;
        for _ in 0..600 {
            for life in 0..self.lives.len() {
                for key in 0..self.keys.len() {
                    self.spend(life, key, 1)?;
                }
            }
            self.pass_until(self.truth + 20 * MILLI)?;
            self.check()?;
            // Some more rounds, in which nothing more may pass.
            let all = (0..self.keys.len()).all(|key| self.used_in(key, window) == self.limit.quantity);
            rounds_after += u32::from(all);
            if rounds_after > 20 {
                return Ok(());
            }
        }
        let used: Vec<u64> = (0..self.keys.len()).map(|key| self.used_in(key, window)).collect();
        Err(format!("Q8: {used:?} admitted, each should reach {}", self.limit.quantity))
    }

    fn used_in(&self, key: usize, window: i64) -> u64 {
        self.admitted.get(&(key, window)).copied().unwrap_or(0)
    }

    /// Q7: settled use is what the records say. Q10: every threshold that use has reached has fired.
    fn check_books(&mut self) -> Result<(), String> {
        for life in &mut self.lives {
            let now = life.clock.at(self.truth);
            life.holder.close(now);
        }
        self.settle_down()?;
        if let Some(life) = self.lives.iter().find(|life| !life.holder.is_drained()) {
            return Err(format!("Q8: gateway {} does not drain", life.gateway));
        }
        let process = self.process.as_ref().expect("ensured");
        for account in process.authority.accounts() {
            let key = self.keys.iter().position(|key| *key == account.key).expect("only our keys");
            let window = account.window.start.as_second();
            let recorded = self.used_in(key, window);
            if account.settled != recorded || account.leases > 0 {
                return Err(format!("Q7: {recorded} recorded: {account:?}"));
            }
        }
        let current = self.wall();
        let window = self.limit.window.at(current);
        for (key, name) in self.keys.iter().enumerate() {
            let used = self.used_in(key, window.start.as_second());
            for threshold in &self.limit.thresholds {
                let reached = used >= self.limit.threshold_units(*threshold);
                let fired = self.store.outbox.iter().filter(|crossing| {
                    crossing.key == *name && crossing.window == window && crossing.threshold == *threshold
                });
                if reached != (fired.count() == 1) {
                    return Err(format!(
                        "Q10: {used} used, {threshold} % reached: {reached}, but not fired once"
                    ));
                }
            }
        }
        Ok(())
    }
}
