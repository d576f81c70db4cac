//! Lossy in detail, exact in counts: many records become one per key and minute.
//!
//! In: records. Out: records with `n` > 1 and [`Flags::AGGREGATED`]: requests, bytes and units per lease are
//! exact sums, durations are means, what is not in the key is empty. Used when the disk or the ring is full.

use std::collections::HashMap;

use crate::record::Flags;
use crate::{Charges, MAX_CHARGES, NameId, Reason, Record};

/// Microseconds in a minute, the resolution that aggregated records keep.
pub const MINUTE_US: u64 = 60_000_000;

/// What stays distinct when detail is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Key {
    /// Minutes since 1970-01-01 UTC.
    pub minute: u32,
    /// The Gateway.
    pub gateway: NameId,
    /// The route.
    pub route: NameId,
    /// The product.
    pub product: NameId,
    /// The plan.
    pub plan: NameId,
    /// The consumer.
    pub consumer: NameId,
    /// The subscription.
    pub subscription: NameId,
    /// The HTTP status.
    pub status: u16,
    /// The code of the reason.
    pub reason: u8,
    /// How many leases were charged.
    pub charges: u8,
    /// The leases, in the order of the charges.
    pub leases: [u64; MAX_CHARGES],
}

impl Key {
    /// The key of a record.
    pub fn of(record: &Record) -> Self {
        let charges = record.charges.as_slice();
        let mut leases = [0; MAX_CHARGES];
        for (lease, charge) in leases.iter_mut().zip(charges) {
            *lease = charge.lease;
        }
        Self {
            minute: (record.ts_us / MINUTE_US) as u32,
            gateway: record.gateway,
            route: record.route,
            product: record.product,
            plan: record.plan,
            consumer: record.consumer,
            subscription: record.subscription,
            status: record.status,
            reason: record.reason.code(),
            charges: charges.len() as u8,
            leases,
        }
    }
}

/// What is summed under a [`Key`]. All sums wrap at 2^64, as ClickHouse sums do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// The earliest `ts_us`.
    pub first_ts_us: u64,
    /// Requests.
    pub n: u64,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
    /// Microseconds from first to last byte, over all requests.
    pub duration_us: u64,
    /// Microseconds waiting for upstreams, over all requests.
    pub upstream_us: u64,
    /// Units, in the order of the key's leases.
    pub units: [u64; MAX_CHARGES],
}

impl Sums {
    /// Adds a record of any weight.
    pub fn add(&mut self, record: &Record) {
        let n = u64::from(record.n);
        self.first_ts_us = if self.n == 0 { record.ts_us } else { self.first_ts_us.min(record.ts_us) };
        self.n = self.n.wrapping_add(n);
        self.request_bytes = self.request_bytes.wrapping_add(record.request_bytes);
        self.response_bytes = self.response_bytes.wrapping_add(record.response_bytes);
        self.duration_us = self.duration_us.wrapping_add(u64::from(record.duration_us).wrapping_mul(n));
        self.upstream_us = self.upstream_us.wrapping_add(u64::from(record.upstream_us).wrapping_mul(n));
        for (sum, charge) in self.units.iter_mut().zip(record.charges.as_slice()) {
            *sum = sum.wrapping_add(charge.units);
        }
    }

    /// The records that stand for these sums: one, or more only if `n` does not fit in 32 bits.
    pub fn into_records(self, key: &Key, out: &mut Vec<Record>) {
        let mut left = self.n;
        let mut first = true;
        while left > 0 || first {
            let n = left.min(u64::from(u32::MAX));
            left -= n;
            let mut record = self.one(key, n as u32);
            if !first {
                record.request_bytes = 0;
                record.response_bytes = 0;
                record.charges = Charges::NONE;
            }
            out.push(record);
            first = false;
        }
    }

    fn one(&self, key: &Key, n: u32) -> Record {
        let mut record = Record::at(self.first_ts_us);
        record.gateway = key.gateway;
        record.route = key.route;
        record.product = key.product;
        record.plan = key.plan;
        record.consumer = key.consumer;
        record.subscription = key.subscription;
        record.status = key.status;
        record.reason = Reason::from_code(key.reason).unwrap_or(Reason::Internal);
        record.flags = Flags::AGGREGATED;
        record.n = n;
        record.duration_us = mean(self.duration_us, self.n);
        record.upstream_us = mean(self.upstream_us, self.n);
        record.request_bytes = self.request_bytes;
        record.response_bytes = self.response_bytes;
        for (lease, units) in key.leases.iter().zip(self.units).take(usize::from(key.charges)) {
            let pushed = record.charges.push(crate::Charge { lease: *lease, units });
            debug_assert!(pushed, "a key holds no more leases than a record");
        }
        record
    }
}

fn mean(sum: u64, n: u64) -> u32 {
    u32::try_from(sum / n.max(1)).unwrap_or(u32::MAX)
}

/// Collects records under their keys.
#[derive(Debug, Default)]
pub struct Aggregator {
    sums: HashMap<Key, Sums>,
}

impl Aggregator {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        self.sums.entry(Key::of(record)).or_default().add(record);
    }

    /// The aggregated records, ordered by time and key so that the same input gives the same bytes.
    pub fn into_records(self) -> Vec<Record> {
        let mut all: Vec<(Key, Sums)> = self.sums.into_iter().collect();
        all.sort_by_key(|(key, sums)| {
            (sums.first_ts_us, key.consumer, key.route, key.status, key.reason, key.leases, key.subscription)
        });
        let mut out = Vec::with_capacity(all.len());
        for (key, sums) in all {
            sums.into_records(&key, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests;
