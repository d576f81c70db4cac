//! One quota key on one gateway: its lease, its demand, and what to ask next.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Mono,
    limit::{LeaseId, QuotaKey},
    message::{Ask, Count, Denial, Limits},
    slot::{Opening, Slot},
};

/// Demand older than this is not asked for again without a new attempt.
const DEMAND_LASTS: Duration = Duration::from_secs(2);

/// A rate halves in this time without demand.
const RATE_HALVES: Duration = Duration::from_secs(2);

/// Rates are measured over at least this time.
const SHORTEST_SPAN: Duration = Duration::from_millis(100);

/// A grant as it applies here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub(super) lease: LeaseId,
    pub(super) granted: u64,
    pub(super) deadline: Mono,
    pub(super) limits: Limits,
}

#[derive(Debug)]
pub(super) struct Entry {
    slot: Arc<Slot>,
    lease: Option<Lease>,
    /// The greatest lease that was closed here.
    last_closed: Option<LeaseId>,
    /// The largest spend that waits for an answer.
    need: u64,
    needed_at: Mono,
    /// When the ask under way was sent.
    asked: Option<Mono>,
    /// No ask before this.
    quiet_until: Mono,
    /// No ask before this for more than is needed.
    content_until: Mono,
    meter: Meter,
}

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    granted: u64,
    returned: u64,
    /// Units that were here after the last were granted.
    full: u64,
    deadline: Mono,
    /// The count of the last report, and when it was sent.
    reported: Count,
    reported_at: Mono,
    /// Time from one renewal to the next.
    renew_every: Duration,
}

/// Units per second that are wanted here.
#[derive(Debug, Default)]
struct Meter {
    rate: f64,
    /// Start of the span that is being measured, and units wanted in it.
    at: Mono,
    wanted: u64,
    spent: u64,
    refused: u64,
    used_at: Mono,
}

impl Entry {
    /// An entry without a lease. Leases up to `last_closed` may have been closed here before.
    pub(super) fn new(key: QuotaKey, last_closed: Option<LeaseId>) -> Self {
        Self {
            slot: Arc::new(Slot::new(key)),
            lease: None,
            last_closed,
            need: 0,
            needed_at: Mono::ZERO,
            asked: None,
            quiet_until: Mono::ZERO,
            content_until: Mono::ZERO,
            meter: Meter::default(),
        }
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(super) fn lease(&self) -> Option<LeaseId> {
        self.lease.as_ref().map(|lease| lease.id)
    }

    pub(super) fn last_closed(&self) -> Option<LeaseId> {
        self.last_closed
    }

    /// Whether nothing is lost with it: nobody can spend from it any more, and nothing is out.
    pub(super) fn is_forgettable(&self) -> bool {
        self.lease.is_none() && Arc::strong_count(&self.slot) == 1
    }

    pub(super) fn knows_closed(&self, lease: LeaseId) -> bool {
        self.last_closed.is_some_and(|closed| lease <= closed)
    }

    /// Notes new demand and updates the rate.
    pub(super) fn measure(&mut self, now: Mono) {
        let need = self.slot.take_need();
        if need > 0 {
            self.need = self.need.max(need);
            self.needed_at = now;
        } else if !self.is_waiting() || now.since(self.needed_at) > DEMAND_LASTS {
            self.need = 0;
        }
        let spent = self.lease.as_ref().map_or(0, |lease| lease.count(&self.slot).spent);
        self.meter.update(spent, self.slot.refused(), now);
    }

    /// Whether the lease has run out of time, or nobody uses it.
    pub(super) fn is_over(&self, now: Mono, idle_after: Duration) -> bool {
        let idle = now.since(self.meter.used_at) > idle_after && self.need == 0;
        self.lease.as_ref().is_some_and(|lease| now >= lease.deadline || idle)
    }

    /// Whether someone waits for units that are not here.
    pub(super) fn is_waiting(&self) -> bool {
        self.need > self.slot.left() || (self.need > 0 && self.lease.is_none())
    }

    /// Until when nothing may be asked: an ask is under way, or the authority wants quiet.
    pub(super) fn quiet_until(&self, answer_within: Duration) -> Mono {
        self.asked.map_or(self.quiet_until, |asked| asked.plus(answer_within).max(self.quiet_until))
    }

    /// What to ask now, if anything.
    pub(super) fn ask(&mut self, now: Mono, answer_within: Duration) -> Option<Ask> {
        let low = self.lease.is_some() && self.slot.is_low() && now >= self.content_until;
        let low = low && now.since(self.meter.used_at) < DEMAND_LASTS;
        let free = now >= self.quiet_until(answer_within);
        let count = self.lease.as_ref().map(|lease| (lease.id, lease.count(&self.slot)));
        if free && (self.is_waiting() || low) {
            self.asked = Some(now);
            self.note_report(now);
            let key = self.slot.key().clone();
            return Some(Ask::Acquire { key, lease: count, need: self.need.max(1), rate: self.meter.rate });
        }
        let (lease, count) = count?;
        let held = self.lease.as_ref()?;
        if count == held.reported && now.since(held.reported_at) < held.renew_every {
            return None;
        }
        self.note_report(now);
        Some(Ask::Report { lease, count })
    }

    fn note_report(&mut self, now: Mono) {
        let Some(lease) = &mut self.lease else { return };
        lease.reported = lease.count(&self.slot);
        lease.reported_at = now;
    }

    /// The batch sent at `sent` failed.
    pub(super) fn failed(&mut self, sent: Mono, retry: Mono) {
        if self.asked == Some(sent) {
            self.asked = None;
            self.quiet_until = self.quiet_until.max(retry);
        }
        if let Some(lease) = self.lease.as_mut().filter(|lease| lease.reported_at == sent) {
            lease.reported = Count::default();
        }
    }

    /// Takes in a grant of the lease that is held, or of a new one.
    pub(super) fn granted(&mut self, grant: &Grant, sent: Mono, now: Mono, round_trip: Duration) {
        match &mut self.lease {
            Some(lease) if lease.id == grant.lease => {
                let more = grant.granted.saturating_sub(lease.granted);
                lease.granted += more;
                lease.deadline = lease.deadline.max(grant.deadline);
                self.slot.extend(lease.deadline);
                self.slot.top_up(more);
                if more > 0 {
                    lease.full = self.slot.left();
                    self.satisfied(sent);
                }
            }
            _ => self.open(grant, sent),
        }
        self.slot.set_limits(&grant.limits, now);
        let ahead = self.meter.rate * round_trip.as_secs_f64() * 4.0;
        // Asking early keeps two thirds of a lease in hand, for when the authority is away.
        let full = self.lease.as_ref().map_or(0, |lease| lease.full);
        self.slot.set_low((ahead as u64).max(full / 3 * 2));
    }

    fn open(&mut self, grant: &Grant, sent: Mono) {
        let ttl = grant.deadline.since(sent);
        self.lease = Some(Lease {
            id: grant.lease,
            granted: grant.granted,
            returned: 0,
            full: grant.granted,
            deadline: grant.deadline,
            reported: Count { granted: grant.granted, ..Count::default() },
            reported_at: sent,
            renew_every: ttl / 3,
        });
        self.meter.spent = 0;
        let window_start = grant.limits.window_start.as_second();
        let opening =
            Opening { lease: grant.lease, units: grant.granted, deadline: grant.deadline, window_start };
        self.slot.open(opening);
        self.satisfied(sent);
    }

    /// The ask sent at `sent`, or an earlier one, brought units.
    fn satisfied(&mut self, sent: Mono) {
        if self.asked.is_some_and(|asked| asked <= sent) {
            self.asked = None;
        }
        self.need = 0;
        self.quiet_until = Mono::ZERO;
        self.slot.set_exhausted_until(Mono::ZERO);
    }

    /// The authority has nothing for this key until `retry`.
    pub(super) fn denied(&mut self, reason: Denial, limits: Option<&Limits>, retry: Mono, now: Mono) {
        // Who only wanted to be full again has units, and may get those of others once they are needed.
        let waiting = self.is_waiting();
        *(if waiting { &mut self.quiet_until } else { &mut self.content_until }) = retry;
        self.asked = None;
        self.need = 0;
        let Some(limits) = limits else { return };
        self.slot.set_limits(limits, now);
        if reason == Denial::Exhausted && waiting {
            self.slot.set_exhausted_until(now.plus(Duration::from_millis(limits.ends_in_ms)));
        }
    }

    /// Gives back all that is left; the lease stays open.
    pub(super) fn give_back(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.returned += self.slot.take_back();
        }
    }

    /// Closes the lease; its name and the units spent from it, exactly.
    pub(super) fn end(&mut self) -> Option<(LeaseId, u64)> {
        let left = self.slot.end();
        self.slot.set_exhausted_until(Mono::ZERO);
        let lease = self.lease.take()?;
        self.last_closed = self.last_closed.max(Some(lease.id));
        Some((lease.id, lease.granted - lease.returned - left))
    }
}

impl Lease {
    fn count(&self, slot: &Slot) -> Count {
        let spent = self.granted.saturating_sub(self.returned).saturating_sub(slot.left());
        Count { granted: self.granted, returned: self.returned, spent }
    }
}

impl Meter {
    fn update(&mut self, spent: u64, refused: u64, now: Mono) {
        let wanted = spent.saturating_sub(self.spent) + refused.saturating_sub(self.refused);
        (self.spent, self.refused) = (spent, refused);
        self.wanted += wanted;
        if wanted > 0 {
            self.used_at = now;
        }
        let span = now.since(self.at);
        // A short span says little: it counts as a longer one, and goes on.
        let fresh = self.wanted as f64 / span.max(SHORTEST_SPAN).as_secs_f64();
        if span >= SHORTEST_SPAN {
            // Rises at once, falls slowly.
            self.rate *= (-span.as_secs_f64() / RATE_HALVES.as_secs_f64()).exp2();
            (self.at, self.wanted) = (now, 0);
        }
        self.rate = self.rate.max(fresh);
    }
}
