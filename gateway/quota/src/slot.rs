//! The hot path: units of a lease, spent by worker threads without a lock, a message or an allocation.
//!
//! In: a number of units and the time. Out: the lease they were taken from, or why not. The lease task fills and
//! empties the slot ([`Holder`](crate::Holder)); workers only spend and refund. What remains and the generation of
//! the lease share one atomic word, so every unit is taken from exactly the lease that the answer names, and a
//! closed lease yields its exact count (Q2). Nothing here may block.

use std::{
    sync::atomic::{
        AtomicI64, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use crate::{
    clock::Mono,
    limit::{LeaseId, QuotaKey},
    message::Limits,
};

/// The low bits of the head: units left.
const LEFT_BITS: u32 = 48;
const LEFT: u64 = (1 << LEFT_BITS) - 1;

/// What came of a spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// The units are taken.
    Spent {
        /// The lease to charge in the record.
        lease: LeaseId,
        /// Start of the window they count in, seconds since 1970.
        window_start: i64,
        /// This spend crossed the low-water mark: nudge the holder so that it asks for more.
        low: bool,
    },
    /// Too few units are here; more may be had: nudge the holder, wait, try again.
    Empty {
        /// Units that are here.
        left: u64,
    },
    /// The lease ran out of time: nudge the holder, wait, try again.
    Expired,
    /// The authority has said that the window has too few units left: refuse. Nudge the holder, which asks again
    /// from time to time.
    Exhausted,
}

/// How a limit stands, for the `RateLimit` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Units per window.
    pub limit: u64,
    /// Units left in the window as last heard: here and in nobody's hands. Exact with one gateway.
    pub remaining: u64,
    /// Units left here: a lower bound that no other gateway can lower.
    pub certain: u64,
    /// Until the window ends.
    pub reset: Duration,
}

/// What a lease grants to the slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) lease: LeaseId,
    pub(crate) units: u64,
    pub(crate) deadline: Mono,
    pub(crate) window_start: i64,
}

/// One quota key on one gateway.
#[derive(Debug)]
pub struct Slot {
    hot: Hot,
    key: QuotaKey,
    /// Below this, a spend asks for a nudge.
    low: AtomicU64,
    /// Until when the authority's last denial holds.
    exhausted_until: AtomicU64,
    /// The largest spend that failed since the holder last looked.
    need: AtomicU64,
    /// Units of all spends that failed.
    refused: AtomicU64,
    quantity: AtomicU64,
    pool: AtomicU64,
    resets_at: AtomicU64,
}

/// All that an admitted spend touches, in one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Hot {
    /// Generation (high 16 bits) and units left (low 48 bits).
    head: AtomicU64,
    /// The lease of generation g is in cell g mod 2. The other cell may be written only by the lease task, which
    /// then publishes it by moving the generation: a worker that read a cell of a past generation fails its
    /// exchange on the head.
    cells: [Cell; 2],
}

#[derive(Debug, Default)]
struct Cell {
    lease: AtomicU64,
    deadline: AtomicU64,
    window_start: AtomicI64,
}

impl Slot {
    pub(crate) fn new(key: QuotaKey) -> Self {
        Self {
            hot: Hot::default(),
            key,
            low: AtomicU64::new(1),
            exhausted_until: AtomicU64::new(0),
            need: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            quantity: AtomicU64::new(0),
            pool: AtomicU64::new(0),
            resets_at: AtomicU64::new(0),
        }
    }

    /// What the slot counts.
    pub fn key(&self) -> &QuotaKey {
        &self.key
    }

    /// Takes `units` from the lease, all or none.
    pub fn try_spend(&self, units: u64, now: Mono) -> Spend {
        let mut head = self.hot.head.load(Acquire);
        loop {
            let left = head & LEFT;
            let cell = self.cell(head);
            let number = cell.lease.load(Relaxed);
            let deadline = cell.deadline.load(Relaxed);
            let window_start = cell.window_start.load(Relaxed);
            let Some(lease) = LeaseId::new(number).filter(|_| units <= left && now.as_nanos() < deadline)
            else {
                let current = self.hot.head.load(Acquire);
                if current == head {
                    return self.refuse(units, left, number != 0 && now.as_nanos() >= deadline, now);
                }
                head = current;
                continue;
            };
            // Release orders the reads of the cell before the exchange, Acquire on the lease task's side orders its
            // later writes of the cell after it: a success proves that the cell belonged to this generation.
            match self.hot.head.compare_exchange_weak(head, head - units, AcqRel, Acquire) {
                Ok(_) => {
                    let low = self.low.load(Relaxed);
                    return Spend::Spent { lease, window_start, low: left >= low && left - units < low };
                }
                Err(current) => head = current,
            }
        }
    }

    /// Notes that `units` are wanted, without taking any: for a caller that waits before its first spend.
    pub fn want(&self, units: u64) {
        self.need.fetch_max(units.max(1), Relaxed);
        self.refused.fetch_add(units, Relaxed);
    }

    /// Puts back `units` that were spent from `lease`, if it is still open here. After `false` they stay spent, and
    /// the record must carry them.
    pub fn refund(&self, lease: LeaseId, units: u64) -> bool {
        self.change(|head| {
            let fits = units <= LEFT - (head & LEFT);
            (fits && self.cell(head).lease.load(Relaxed) == lease.get()).then(|| head + units)
        })
        .is_ok()
    }

    /// How the limit stands; `None` before the authority's first answer.
    pub fn standing(&self, now: Mono) -> Option<Standing> {
        let resets_at = self.resets_at.load(Relaxed);
        if resets_at == 0 {
            return None;
        }
        let limit = self.quantity.load(Relaxed);
        let certain = self.left();
        let remaining = certain.saturating_add(self.pool.load(Relaxed)).min(limit);
        let reset = Mono::from_nanos(resets_at).since(now);
        Some(Standing { limit, remaining, certain: certain.min(limit), reset })
    }

    #[cold]
    fn refuse(&self, units: u64, left: u64, expired: bool, now: Mono) -> Spend {
        self.want(units);
        if now.as_nanos() < self.exhausted_until.load(Relaxed) {
            Spend::Exhausted
        } else if expired {
            Spend::Expired
        } else {
            Spend::Empty { left }
        }
    }

    fn cell(&self, head: u64) -> &Cell {
        &self.hot.cells[(head >> LEFT_BITS) as usize & 1]
    }

    /// Changes the head in one step; returns the head before, or the one that `next` declined.
    fn change(&self, mut next: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
        let mut head = self.hot.head.load(Acquire);
        while let Some(new) = next(head) {
            match self.hot.head.compare_exchange_weak(head, new, AcqRel, Acquire) {
                Ok(before) => return Ok(before),
                Err(current) => head = current,
            }
        }
        Err(head)
    }
}

/// The lease task's side. Only one thread may call these.
impl Slot {
    pub(crate) fn left(&self) -> u64 {
        self.hot.head.load(Acquire) & LEFT
    }

    /// Starts a lease and ends the one before; returns what was left of that.
    pub(crate) fn open(&self, opening: Opening) -> u64 {
        self.turn(opening.lease.get(), opening.units, opening.deadline, opening.window_start)
    }

    /// Ends the lease; returns what was left of it, exactly.
    pub(crate) fn end(&self) -> u64 {
        self.turn(0, 0, Mono::ZERO, 0)
    }

    fn turn(&self, lease: u64, units: u64, deadline: Mono, window_start: i64) -> u64 {
        let next = (self.hot.head.load(Acquire) >> LEFT_BITS).wrapping_add(1) << LEFT_BITS;
        let cell = self.cell(next);
        cell.lease.store(lease, Relaxed);
        cell.deadline.store(deadline.as_nanos(), Relaxed);
        cell.window_start.store(window_start, Relaxed);
        self.hot.head.swap(next | units.min(LEFT), AcqRel) & LEFT
    }

    /// Adds units to the open lease.
    pub(crate) fn top_up(&self, units: u64) {
        // The authority grants no more than fits; were it to, the rest would be lost, never admitted twice.
        let _ = self.change(|head| Some(head + units.min(LEFT - (head & LEFT))));
    }

    /// Takes everything that is left out of the open lease.
    pub(crate) fn take_back(&self) -> u64 {
        self.change(|head| Some(head & !LEFT)).map_or(0, |before| before & LEFT)
    }

    /// Lets the open lease live until `deadline`, if that is later.
    pub(crate) fn extend(&self, deadline: Mono) {
        let cell = self.cell(self.hot.head.load(Acquire));
        cell.deadline.fetch_max(deadline.as_nanos(), Release);
    }

    /// The largest failed spend since the last call.
    pub(crate) fn take_need(&self) -> u64 {
        self.need.swap(0, Relaxed)
    }

    /// Units of all failed spends since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Whether a refill is due.
    pub(crate) fn is_low(&self) -> bool {
        self.left() < self.low.load(Relaxed)
    }

    pub(crate) fn set_low(&self, low: u64) {
        self.low.store(low.max(1), Relaxed);
    }

    pub(crate) fn set_exhausted_until(&self, until: Mono) {
        self.exhausted_until.store(until.as_nanos(), Relaxed);
    }

    pub(crate) fn set_limits(&self, limits: &Limits, now: Mono) {
        self.quantity.store(limits.quantity, Relaxed);
        self.pool.store(limits.pool, Relaxed);
        self.resets_at.store(now.plus(Duration::from_millis(limits.ends_in_ms)).as_nanos().max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests;
