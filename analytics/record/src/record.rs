//! One record per request: what is kept, in which unit.
//!
//! In: facts known when the request ends. Out: a value of fixed size that is copied, never allocated.
//! Names of configured things are ids into the process's name log; free text is only host and path.

use crate::{MAX_CHARGES, MAX_HOST_BYTES, MAX_PATH_BYTES, Method, Protocol, Reason, Text};

/// Microseconds in a day.
const DAY_US: u64 = 86_400_000_000;

/// The UTC day of an instant, in days since 1970-01-01.
pub const fn day_of(ts_us: u64) -> u64 {
    ts_us / DAY_US
}

/// The first microsecond of the UTC day that holds `ts_us`.
pub const fn day_start_us(ts_us: u64) -> u64 {
    day_of(ts_us) * DAY_US
}

/// The id of a name in the name log of one epoch; means nothing outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NameId(pub u32);

impl NameId {
    /// No name: the empty string.
    pub const NONE: Self = Self(0);
    /// `__other__`: a name that the name log had no room for.
    pub const OTHER: Self = Self(1);
}

/// Units charged to one lease (or, with lease 0, metered without a lease).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Charge {
    /// The lease, 0 when none was held.
    pub lease: u64,
    /// Units of the lease's limit: requests, bytes or custom units.
    pub units: u64,
}

/// Up to [`MAX_CHARGES`] charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Charges {
    len: u8,
    items: [Charge; MAX_CHARGES],
}

impl Charges {
    /// No charges.
    pub const NONE: Self = Self { len: 0, items: [Charge { lease: 0, units: 0 }; MAX_CHARGES] };

    /// Adds a charge; false when there is no room, and then nothing changes.
    #[must_use]
    pub fn push(&mut self, charge: Charge) -> bool {
        let Some(slot) = self.items.get_mut(usize::from(self.len)) else { return false };
        *slot = charge;
        self.len += 1;
        true
    }

    /// The charges, in the order they were added.
    pub fn as_slice(&self) -> &[Charge] {
        &self.items[..usize::from(self.len)]
    }

    /// Changes the charges in place.
    pub fn as_mut_slice(&mut self) -> &mut [Charge] {
        &mut self.items[..usize::from(self.len)]
    }

    /// The sum of all units, modulo 2^64 as ClickHouse sums `UInt64`.
    pub fn units(&self) -> u64 {
        self.as_slice().iter().fold(0, |sum, charge| sum.wrapping_add(charge.units))
    }
}

/// Facts about a request that are one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The answer came from the gateway's cache.
    pub const CACHED: Self = Self(1);
    /// More than one attempt was made.
    pub const RETRIED: Self = Self(1 << 1);
    /// The downstream went away before the answer was complete.
    pub const ABORTED: Self = Self(1 << 2);
    /// The downstream spoke TLS.
    pub const TLS: Self = Self(1 << 3);
    /// The request was mirrored.
    pub const MIRRORED: Self = Self(1 << 4);
    /// The trace was sampled: `trace_id` is set.
    pub const SAMPLED: Self = Self(1 << 5);
    /// A soft quota or overdraft let this request pass.
    pub const OVERDRAFT: Self = Self(1 << 6);
    /// The path or host was longer than kept.
    pub const CUT: Self = Self(1 << 7);
    /// The record stands for `n` requests: detail was given up, counts were kept.
    pub const AGGREGATED: Self = Self(1 << 15);

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What is kept of one request (or, with [`Flags::AGGREGATED`], of `n` requests: then bytes and units are
/// totals, durations are means, and what differed between the requests is empty).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// When the request ended, in microseconds since 1970-01-01 UTC. The spool may raise it a little so that a
    /// stream never goes back behind a time that it declared complete, nor across a day.
    pub ts_us: u64,
    /// The request id (UUIDv7); zero when aggregated.
    pub request_id: [u8; 16],
    /// The W3C trace id; zero when not sampled.
    pub trace_id: [u8; 16],
    /// The Gateway, `namespace/name`.
    pub gateway: NameId,
    /// The listener's name.
    pub listener: NameId,
    /// The route, `namespace/name`; empty when none matched.
    pub route: NameId,
    /// The rule's name, or its index.
    pub rule: NameId,
    /// The product.
    pub product: NameId,
    /// The plan.
    pub plan: NameId,
    /// The consumer; empty when anonymous.
    pub consumer: NameId,
    /// The subscription.
    pub subscription: NameId,
    /// The backend chosen last.
    pub backend: NameId,
    /// The endpoint (`address:port`) chosen last.
    pub endpoint: NameId,
    /// The request method.
    pub method: Method,
    /// What the downstream spoke.
    pub protocol: Protocol,
    /// The HTTP status sent; 499 when the downstream left before one was chosen.
    pub status: u16,
    /// The gRPC status, -1 when there was none.
    pub grpc_status: i16,
    /// Why it ended so.
    pub reason: Reason,
    /// One-bit facts.
    pub flags: Flags,
    /// Attempts made at upstreams; 0 when none was needed.
    pub attempts: u8,
    /// From the first byte of the request to the last of the answer, in microseconds.
    pub duration_us: u32,
    /// From sending to the upstream to the first byte of its answer, in microseconds; 0 when there was none.
    pub upstream_us: u32,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// What was charged.
    pub charges: Charges,
    /// How many requests this record stands for; 1 unless aggregated.
    pub n: u32,
    /// The requested host, without port.
    pub host: Text<MAX_HOST_BYTES>,
    /// The path, without query.
    pub path: Text<MAX_PATH_BYTES>,
}

impl Record {
    /// An `ok` record of one request at `ts_us` with everything else empty; fill in what is known.
    pub const fn at(ts_us: u64) -> Self {
        Self {
            ts_us,
            request_id: [0; 16],
            trace_id: [0; 16],
            gateway: NameId::NONE,
            listener: NameId::NONE,
            route: NameId::NONE,
            rule: NameId::NONE,
            product: NameId::NONE,
            plan: NameId::NONE,
            consumer: NameId::NONE,
            subscription: NameId::NONE,
            backend: NameId::NONE,
            endpoint: NameId::NONE,
            method: Method::Other,
            protocol: Protocol::H1,
            status: 0,
            grpc_status: -1,
            reason: Reason::Ok,
            flags: Flags(0),
            attempts: 0,
            duration_us: 0,
            upstream_us: 0,
            request_bytes: 0,
            response_bytes: 0,
            charges: Charges::NONE,
            n: 1,
            host: Text::EMPTY,
            path: Text::EMPTY,
        }
    }

    /// The ten names, in the order of the columns.
    pub const fn names(&self) -> [NameId; 10] {
        [
            self.gateway,
            self.listener,
            self.route,
            self.rule,
            self.product,
            self.plan,
            self.consumer,
            self.subscription,
            self.backend,
            self.endpoint,
        ]
    }
}
