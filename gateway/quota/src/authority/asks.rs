//! Answering a gateway's batch.

use std::time::Duration;

use crate::{
    authority::{
        AccountId, Authority, Discrepancy, Gateway, GatewayRow, HolderId, Now, Row, Step,
        account::Lease,
        sizing::{Wish, size},
        step::Work,
    },
    clock::Mono,
    limit::{LeaseId, QuotaKey},
    message::{Answer, Ask, Batch, Count, Denial, Limits, MAX_ITEMS, Reply, VERSION, millis},
    window::Window,
};

/// A lease may outlive its window by this: its units count in the window all the same, and the holder does not
/// have to ask over and over in the last milliseconds.
const OVERHANG: Duration = Duration::from_millis(20);

/// Expired leases are searched for this often per gateway.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

/// While units are being recalled, it pays to ask again soon.
const RETRY_AFTER_RECALL: Duration = Duration::from_millis(30);

/// An `Acquire`, without its key.
struct Wanted {
    held: Option<(LeaseId, Count)>,
    need: u64,
    rate: f64,
}

impl Authority {
    /// Answers one batch, which has passed [`Batch::check`].
    pub fn handle(&mut self, batch: &Batch, now: Now) -> Step {
        let mut work = Work::default();
        let holder = Self::holder(&batch.gateway, batch.epoch);
        match self.register(&holder, now, &mut work) {
            Ok(()) => {
                for ask in &batch.asks {
                    let answer = self.answer(&holder, ask, now, &mut work);
                    work.answers.extend(answer);
                }
                self.remind(&holder, now, &mut work);
            }
            Err(epoch) => work.answers.push(Answer::Fenced { epoch }),
        }
        let answers = std::mem::take(&mut work.answers);
        let mut step = self.finish(work, now);
        let gateway = batch.gateway.clone();
        step.reply = Some(Reply { version: VERSION, gateway, epoch: batch.epoch, sent: batch.sent, answers });
        step
    }

    /// Notes that the holder lives; the newer epoch if it is fenced (Q5).
    fn register(&mut self, holder: &HolderId, now: Now, work: &mut Work) -> Result<(), u32> {
        let HolderId { gateway, epoch } = holder;
        match self.gateways.get_mut(gateway) {
            Some(known) if known.epoch > *epoch => return Err(known.epoch),
            Some(known) if known.epoch == *epoch => known.seen = now.mono,
            _ => {
                let known = Gateway { epoch: *epoch, seen: now.mono, searched: now.mono };
                self.gateways.insert(gateway.clone(), known);
                work.put(Row::Gateway(GatewayRow { gateway: gateway.clone(), epoch: *epoch }));
            }
        }
        Ok(())
    }

    fn answer(&mut self, holder: &HolderId, ask: &Ask, now: Now, work: &mut Work) -> Option<Answer> {
        match ask {
            Ask::Acquire { key, lease, need, rate } => {
                let wanted = Wanted { held: *lease, need: *need, rate: *rate };
                Some(self.acquire(holder, key, &wanted, now, work))
            }
            Ask::Report { lease, count } => match self.report(holder, *lease, *count, work) {
                Ok(Some(account)) => Some(self.renew(&account, *lease, now)),
                Ok(None) => None,
                Err(answer) => Some(answer),
            },
            Ask::Return { lease, spent, recorded } => {
                Some(self.close(holder, *lease, *spent, *recorded, work))
            }
        }
    }

    fn acquire(
        &mut self,
        holder: &HolderId,
        key: &QuotaKey,
        wanted: &Wanted,
        now: Now,
        work: &mut Work,
    ) -> Answer {
        let held = match wanted.held {
            Some((lease, count)) => match self.report(holder, lease, count, work) {
                Ok(account) => Some((lease, account)),
                Err(answer) => return answer,
            },
            None => None,
        };
        let id = match self.account_to_charge(key, now) {
            Ok(id) => id,
            Err(reason) => return denied(key, reason, self.config.retry_after, None),
        };
        if let Some((lease, account)) = held
            && account.as_ref() != Some(&id)
        {
            // It is closed, or of another window.
            return Answer::Ended { lease };
        }
        if let Some(lease) = self.grant(holder, &id, wanted, now, work) {
            return self.renew(&id, lease, now);
        }
        // Others give back for one that has too few, not for one that likes to have more.
        let left = wanted.held.map_or(0, |(_, count)| count.left());
        let coming = wanted.need > left && self.recall_unspent(&id, Some(holder));
        let retry_after = self.config.retry_after;
        let retry_after = if coming { RETRY_AFTER_RECALL.min(retry_after) } else { retry_after };
        denied(key, Denial::Exhausted, retry_after, self.limits_of(&id, now))
    }

    /// The account of `key` in the window of now.
    fn account_to_charge(&mut self, key: &QuotaKey, now: Now) -> Result<AccountId, Denial> {
        if self.learning {
            return Err(Denial::Learning);
        }
        if !self.limits.contains_key(&key.limit) {
            return Err(Denial::UnknownLimit);
        }
        let window = self.open_window(&key.limit, now).ok_or(Denial::ClockBehind)?;
        Ok(AccountId { key: key.clone(), window })
    }

    /// Adds units to the holder's lease, or makes one; `None` if too few are left. A grant that the holder has not
    /// heard of is not added to, only told again (Q9).
    fn grant(
        &mut self,
        holder: &HolderId,
        id: &AccountId,
        wanted: &Wanted,
        now: Now,
        work: &mut Work,
    ) -> Option<LeaseId> {
        let gateways = self.live_gateways(now);
        let limit = &self.limits.get(&id.key.limit)?.limit;
        let account = self.accounts.entry(id.clone()).or_default();
        let open = account.open_lease_of(holder);
        let lease = open.and_then(|lease| account.leases.get(&lease));
        let heard = wanted.held.map_or(0, |(_, count)| count.granted);
        if lease.is_some_and(|lease| lease.granted > heard) {
            return open;
        }
        let unspent = lease.map_or(0, Lease::unspent);
        let Wanted { need, rate, .. } = *wanted;
        let wish = Wish { need, rate, unspent, gateways, cover: self.config.cover };
        // The need is what must fit into one spend: what is unspent counts towards it.
        let wish = Wish { need: need.saturating_sub(unspent).max(1), ..wish };
        let units = size(limit, account.charged(), &wish);
        if units == 0 {
            return None;
        }
        let lease_id = match open {
            Some(lease) => lease,
            None => self.new_lease(holder, id, work),
        };
        let lease = self.accounts.get_mut(id)?.leases.get_mut(&lease_id)?;
        lease.granted += units;
        work.changed_lease(lease_id);
        Some(lease_id)
    }

    fn new_lease(&mut self, holder: &HolderId, id: &AccountId, work: &mut Work) -> LeaseId {
        let lease_id = LeaseId::new(self.next_lease).expect("lease numbers start at 1");
        self.next_lease += 1;
        work.took_number();
        let lease = Lease {
            holder: holder.clone(),
            granted: 0,
            returned: 0,
            spent: 0,
            closed: false,
            deadline: Mono::ZERO,
            ttl: self.config.ttl,
            recall: false,
        };
        self.accounts.entry(id.clone()).or_default().leases.insert(lease_id, lease);
        self.leases.insert(lease_id, id.clone());
        self.held.entry(holder.clone()).or_default().insert(lease_id);
        lease_id
    }

    /// Gives an open lease new time, until its window ends.
    fn renew(&mut self, id: &AccountId, lease_id: LeaseId, now: Now) -> Answer {
        let Some(limits) = self.limits_of(id, now) else { return Answer::Ended { lease: lease_id } };
        let bound = self.config.bound;
        let until_end = left_of(id.window, now).map(|left| left + OVERHANG);
        let found = self.accounts.get_mut(id).and_then(|account| account.leases.get_mut(&lease_id));
        let (Some(lease), Some(until_end)) = (found, until_end) else {
            return Answer::Ended { lease: lease_id };
        };
        let ttl = lease.ttl.min(until_end);
        lease.deadline = lease.deadline.max(bound.authority_deadline(now.mono, ttl));
        Answer::Grant {
            key: id.key.clone(),
            lease: lease_id,
            granted: lease.granted,
            ttl_ms: millis(ttl),
            limits,
        }
    }

    fn limits_of(&self, id: &AccountId, now: Now) -> Option<Limits> {
        let limit = &self.limits.get(&id.key.limit)?.limit;
        let charged = self.accounts.get(id)?.charged();
        Some(Limits {
            quantity: limit.quantity,
            pool: limit.quantity.saturating_sub(charged),
            window_start: id.window.start,
            ends_in_ms: millis(left_of(id.window, now).unwrap_or_default()),
        })
    }

    /// Takes in a holder's count; the lease's account, `None` if the lease is closed already.
    fn report(
        &mut self,
        holder: &HolderId,
        lease_id: LeaseId,
        count: Count,
        work: &mut Work,
    ) -> Result<Option<AccountId>, Answer> {
        let Some((id, account)) = self.account_of(lease_id) else { return Err(Self::gone(lease_id)) };
        let lease = account.leases.get_mut(&lease_id).filter(|lease| lease.holder == *holder);
        let Some(lease) = lease else { return Err(Self::gone(lease_id)) };
        if lease.closed {
            return Ok(None);
        }
        if count.granted > lease.granted {
            work.discrepancies.push(discrepancy(lease_id, holder, lease.granted, count.granted));
        }
        // Greatest wins: late and repeated reports change nothing.
        let returned = count.returned.min(lease.granted);
        if returned > lease.returned {
            lease.returned = returned;
            work.changed_lease(lease_id);
        }
        lease.spent = lease.spent.max(count.spent.min(lease.granted - lease.returned));
        if lease.recall && count.left() == 0 {
            lease.recall = false;
            if let Some(recalled) = self.recalled.get_mut(holder) {
                recalled.remove(&lease_id);
            }
        }
        work.used(&id);
        Ok(Some(id))
    }

    /// Closes a lease with its final count, and settles it if all of that is recorded.
    fn close(
        &mut self,
        holder: &HolderId,
        lease_id: LeaseId,
        spent: u64,
        recorded: bool,
        work: &mut Work,
    ) -> Answer {
        let Some((id, account)) = self.account_of(lease_id) else {
            return Answer::Returned { lease: lease_id, settled: true };
        };
        let lease = account.leases.get_mut(&lease_id).filter(|lease| lease.holder == *holder);
        let Some(lease) = lease else { return Self::gone(lease_id) };
        if !lease.closed {
            if spent > lease.charge() {
                work.discrepancies.push(discrepancy(lease_id, holder, lease.charge(), spent));
            }
            (lease.closed, lease.spent) = (true, spent);
            work.changed_lease(lease_id);
            work.used(&id);
        }
        if recorded {
            account.settled = account.settled.saturating_add(lease.spent);
            account.leases.remove(&lease_id);
            self.unlist(lease_id, holder);
            work.changed_lease(lease_id);
            work.changed_account(id);
        }
        Answer::Returned { lease: lease_id, settled: recorded }
    }

    /// Adds what the holder did not ask for: recalls, and leases that it seems to have lost.
    fn remind(&mut self, holder: &HolderId, now: Now, work: &mut Work) {
        if let Some(recalled) = self.recalled.get(holder) {
            work.answers
                .extend(recalled.iter().take(MAX_ITEMS / 2).map(|lease| Answer::Recall { lease: *lease }));
        }
        let Some(gateway) = self.gateways.get_mut(&holder.gateway) else { return };
        if now.mono.since(gateway.searched) < SEARCH_EVERY {
            return;
        }
        gateway.searched = now.mono;
        let mut found = 0;
        for lease_id in self.held.get(holder).into_iter().flatten() {
            let account = self.leases.get(lease_id).and_then(|id| self.accounts.get(id));
            let lease = account.and_then(|account| account.leases.get(lease_id));
            if lease.is_some_and(|lease| !lease.closed && lease.deadline < now.mono) {
                work.answers.push(Answer::Ended { lease: *lease_id });
                found += 1;
            }
            if found == MAX_ITEMS / 2 {
                // The rest comes with the next search; a reply must stay within its bound.
                break;
            }
        }
    }
}

fn denied(key: &QuotaKey, reason: Denial, retry_after: Duration, limits: Option<Limits>) -> Answer {
    Answer::Denied { key: key.clone(), reason, retry_after_ms: millis(retry_after), limits }
}

fn left_of(window: Window, now: Now) -> Option<Duration> {
    // `None` when the window is over.
    Duration::try_from(window.end.duration_since(now.wall)).ok()
}

fn discrepancy(lease: LeaseId, holder: &HolderId, expected: u64, found: u64) -> Discrepancy {
    Discrepancy { lease, gateway: holder.gateway.clone(), epoch: holder.epoch, expected, found }
}
