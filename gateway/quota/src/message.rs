//! What gateways and the authority say to each other, as JSON over HTTP.
//!
//! A gateway sends a [`Batch`] of asks and gets a [`Reply`]. Every number about a lease is cumulative and only ever
//! grows, so that a message which is lost, repeated or late changes nothing (Q9): both sides keep the greatest value
//! they have seen. Times are durations: `ttl` counts from the moment the gateway *sent* the batch, which the reply
//! echoes. Both sides call `check` on what they receive before using it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Mono,
    limit::{GatewayId, LeaseId, QuotaKey},
};

/// The version of this protocol.
pub const VERSION: u16 = 1;

/// The most asks in a batch and answers in a reply to it.
pub const MAX_ITEMS: usize = 10_000;

/// The longest name (limit, subject, gateway) in bytes.
pub const MAX_NAME: usize = 1_024;

/// The most units that a holder may hold unspent on one lease: 2^48 − 1 (281 TB).
pub const MAX_UNITS: u64 = (1 << 48) - 1;

/// From a gateway. A batch with a newer epoch registers it and fences all older ones; an empty batch only registers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// [`VERSION`].
    pub version: u16,
    /// Who asks.
    pub gateway: GatewayId,
    /// Which life of the gateway: grows by one at each start.
    pub epoch: u32,
    /// When it was sent, on the gateway's clock; meaningless to the authority, which echoes it.
    pub sent: Mono,
    /// What it asks, in this order.
    pub asks: Vec<Ask>,
}

/// What a holder knows of a lease. All three only grow; what can still be spent is
/// `granted - returned - spent`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Units that were granted, as far as the holder has heard.
    pub granted: u64,
    /// Units that the holder gave back.
    pub returned: u64,
    /// Units that it spent.
    pub spent: u64,
}

/// One thing that a gateway asks or tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Ask {
    /// Units wanted: a new lease, or more on the one that it holds.
    Acquire {
        /// For what.
        key: QuotaKey,
        /// The lease that it holds for the key, with its count.
        lease: Option<(LeaseId, Count)>,
        /// The fewest units that help (the largest spend that waits), at least 1.
        need: u64,
        /// Units per second that were wanted here lately.
        rate: f64,
    },
    /// How far a lease is spent; renews it.
    Report {
        /// The lease.
        lease: LeaseId,
        /// Its count.
        count: Count,
    },
    /// The lease is closed: nothing will be spent from it again.
    Return {
        /// The lease.
        lease: LeaseId,
        /// Units spent, final unless requests in flight are lost with the process.
        spent: u64,
        /// Everything spent is in the spool, so the number can no longer change: the lease may be settled.
        recorded: bool,
    },
}

/// From the authority, for one [`Batch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// [`VERSION`].
    pub version: u16,
    /// As in the batch.
    pub gateway: GatewayId,
    /// As in the batch.
    pub epoch: u32,
    /// As in the batch: what `ttl` counts from.
    pub sent: Mono,
    /// The answers, in no particular order.
    pub answers: Vec<Answer>,
}

/// How a limit stands, for the fields of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Units per window.
    pub quantity: u64,
    /// Units that nobody holds or has used.
    pub pool: u64,
    /// The start of the window, by the authority's wall clock.
    pub window_start: Timestamp,
    /// Milliseconds until its end.
    pub ends_in_ms: u64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// To `Acquire` and `Report`: the lease with everything ever granted on it, and a new time to live.
    Grant {
        /// For what.
        key: QuotaKey,
        /// The lease.
        lease: LeaseId,
        /// Units granted since the lease began.
        granted: u64,
        /// Milliseconds from `sent` in which it may be spent.
        ttl_ms: u64,
        /// How the limit stands.
        limits: Limits,
    },
    /// To `Acquire`: nothing now.
    Denied {
        /// For what.
        key: QuotaKey,
        /// Why.
        reason: Denial,
        /// Milliseconds after which to ask again while there is demand.
        retry_after_ms: u64,
        /// How the limit stands; absent if there is no such limit.
        limits: Option<Limits>,
    },
    /// Give back what is not spent. The lease stays open.
    Recall {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease is over (its time or its window passed): return it. A holder that never heard of it returns it
    /// with nothing spent; that is safe, as it could not use a grant which arrives this late.
    Ended {
        /// The lease.
        lease: LeaseId,
    },
    /// To `Return`: it is durable.
    Returned {
        /// The lease.
        lease: LeaseId,
        /// The lease is settled and may be forgotten.
        settled: bool,
    },
    /// The authority has no such lease (settled, or released by an operator): stop using it, forget it.
    Gone {
        /// The lease.
        lease: LeaseId,
    },
    /// A newer life of this gateway has registered: spend nothing any more.
    Fenced {
        /// The newest epoch.
        epoch: u32,
    },
}

/// Why units are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Denial {
    /// Fewer units are left in the window than are needed.
    Exhausted,
    /// The authority has no such limit (yet).
    UnknownLimit,
    /// The authority's wall clock stands in a window that was closed for good: it was set back.
    ClockBehind,
    /// The authority has just lost its store and waits until every lease of before has run out.
    Learning,
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Another version of the protocol.
    #[error("version {0} of the quota protocol is not {VERSION}: run the same release everywhere")]
    Version(u16),
    /// More than [`MAX_ITEMS`].
    #[error("{0} items in one message, at most {MAX_ITEMS}")]
    Items(usize),
    /// A name longer than [`MAX_NAME`].
    #[error("a name of {0} bytes, at most {MAX_NAME}")]
    Name(usize),
    /// Numbers that no holder can have.
    #[error("the count of lease {0} does not add up")]
    Count(LeaseId),
    /// A rate that is not a finite number from 0 on.
    #[error("rate must be a finite number of units per second, not {0}")]
    Rate(String),
}

impl Batch {
    /// Refuses what no honest gateway of this version sends.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), MessageError> {
        envelope(self.version, self.asks.len(), &self.gateway)?;
        self.asks.iter().try_for_each(Ask::check)
    }
}

impl Reply {
    /// Refuses what no authority of this version sends.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), MessageError> {
        // Recalls come on top of the answers to asks.
        envelope(self.version, self.answers.len() / 2, &self.gateway)
    }
}

fn envelope(version: u16, items: usize, gateway: &GatewayId) -> Result<(), MessageError> {
    if version != VERSION {
        return Err(MessageError::Version(version));
    }
    if items > MAX_ITEMS {
        return Err(MessageError::Items(items));
    }
    name(gateway.as_str())
}

fn name(text: &str) -> Result<(), MessageError> {
    if text.len() > MAX_NAME { Err(MessageError::Name(text.len())) } else { Ok(()) }
}

impl Ask {
    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Acquire { key, lease, rate, .. } => {
                name(key.limit.as_str())?;
                name(key.subject.as_str())?;
                if !(rate.is_finite() && *rate >= 0.0) {
                    return Err(MessageError::Rate(rate.to_string()));
                }
                lease.map_or(Ok(()), |(lease, count)| count.check(lease))
            }
            Self::Report { lease, count } => count.check(*lease),
            Self::Return { .. } => Ok(()),
        }
    }
}

impl Count {
    /// Units that can still be spent.
    pub fn left(&self) -> u64 {
        self.granted.saturating_sub(self.returned).saturating_sub(self.spent)
    }

    fn check(self, lease: LeaseId) -> Result<(), MessageError> {
        let used = self.returned.checked_add(self.spent);
        if used.is_some_and(|used| used <= self.granted) { Ok(()) } else { Err(MessageError::Count(lease)) }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> LeaseId {
        LeaseId::new(7).unwrap()
    }

    /// The wire format is a promise to other releases: change it only with [`VERSION`].
    #[test]
    fn a_batch_reads_as_it_is_written() {
        let count = Count { granted: 5, returned: 1, spent: 2 };
        let key = QuotaKey::new("plan/gold", "alice");
        let asks = vec![
            Ask::Acquire { key, lease: Some((lease(), count)), need: 3, rate: 0.5 },
            Ask::Return { lease: lease(), spent: 2, recorded: true },
        ];
        let batch =
            Batch { version: VERSION, gateway: "g".into(), epoch: 4, sent: Mono::from_nanos(9), asks };
        let text = serde_json::to_string(&batch).unwrap();
        let expected = concat!(
            r#"{"version":1,"gateway":"g","epoch":4,"sent":9,"asks":["#,
            r#"{"acquire":{"key":{"limit":"plan/gold","subject":"alice"},"#,
            r#""lease":[7,{"granted":5,"returned":1,"spent":2}],"need":3,"rate":0.5}},"#,
            r#"{"return":{"lease":7,"spent":2,"recorded":true}}]}"#
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Batch>(&text).unwrap(), batch);
    }

    #[test]
    fn a_reply_reads_as_it_is_written() {
        let limits = Limits { quantity: 9, pool: 4, window_start: Timestamp::UNIX_EPOCH, ends_in_ms: 60 };
        let key = QuotaKey::new("l", "s");
        let answers = vec![
            Answer::Grant { key: key.clone(), lease: lease(), granted: 5, ttl_ms: 10, limits },
            Answer::Denied { key, reason: Denial::UnknownLimit, retry_after_ms: 1, limits: None },
            Answer::Fenced { epoch: 2 },
        ];
        let reply = Reply { version: VERSION, gateway: "g".into(), epoch: 1, sent: Mono::ZERO, answers };
        let text = serde_json::to_string(&reply).unwrap();
        assert!(text.contains(r#""window_start":"1970-01-01T00:00:00Z""#), "{text}");
        assert!(text.contains(r#""reason":"unknownLimit""#), "{text}");
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }

    #[test]
    fn hostile_json_is_an_error() {
        for text in [
            r#"{"version":1,"gateway":"g","epoch":-1,"sent":0,"asks":[]}"#,
            r#"{"version":1,"gateway":"g","epoch":1,"sent":0,"asks":[{"steal":{}}]}"#,
            r#"{"version":1,"gateway":"g","epoch":1,"sent":0,"asks":[{"report":{"lease":0,"count":{}}}]}"#,
            r#"{"version":1,"gateway":"g","epoch":1,"sent":0,"asks":[],"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Batch>(text).is_err(), "{text}");
        }
    }
}
