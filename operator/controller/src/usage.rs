//! How the quotas of subscriptions stand, as their statuses show it.
//!
//! In: what analytics says of all accounts, and the statuses that there are. Out: `usage` and the two conditions of quotas,
//! for each Subscription and for its Consumer; and which thresholds have been crossed since the status was written. Pure.

use std::collections::BTreeMap;

use crds::conditions::{ConditionType, Reason};
use jiff::{SignedDuration, Timestamp};
use operator_compile::resources::ObjectName;
use operator_compile::{Condition, Truth};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::events::Notice;

/// Quotas in one status.
const MOST: usize = 16;
/// A figure that moved within the same percent is written again after this: thousands of statuses are not to change with
/// every request.
const REFRESH: SignedDuration = SignedDuration::from_mins(5);
/// What subjects of subscriptions begin with.
const SUBSCRIPTION: &str = "subscription/";

/// The answer of analytics to `GET /v1/quotas`, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    quotas: Vec<Quota>,
}

/// One account in its present window.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Quota {
    limit: String,
    subject: String,
    consumer: String,
    unit: String,
    max: u64,
    used: u64,
    window_start: Timestamp,
    window_end: Timestamp,
    thresholds: Vec<u8>,
    /// What a status calls it: its name within the plan, and for a consumer that of the subscription before it.
    #[serde(skip)]
    name: String,
}

/// All of it as of a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage {
    as_of: Timestamp,
    /// By kind and name; the fullest first.
    quotas: BTreeMap<(&'static str, ObjectName), Vec<Quota>>,
}

impl Quota {
    /// `used` in percent of `max`, rounded down; a quota of nothing is used up.
    fn percent(&self) -> u64 {
        let percent = u128::from(self.used) * 100;
        percent
            .checked_div(u128::from(self.max))
            .map_or(100, |percent| u64::try_from(percent).unwrap_or(u64::MAX))
    }

    /// The highest threshold that is reached.
    fn reached(&self) -> Option<u8> {
        let percent = self.percent();
        self.thresholds.iter().copied().filter(|threshold| u64::from(*threshold) <= percent).max()
    }

    fn is_used_up(&self) -> bool {
        self.used >= self.max
    }

    fn told(&self) -> String {
        format!(
            "{} of {} {} of quota {} are used ({} %), until {}",
            self.used,
            self.max,
            self.unit,
            self.name,
            self.percent(),
            self.window_end
        )
    }

    fn status(&self, as_of: Timestamp) -> Value {
        json!({
            "quota": self.name,
            "used": self.used,
            "quantity": self.max,
            "percent": self.percent(),
            "windowStart": seconds(self.window_start),
            "windowEnd": seconds(self.window_end),
            "asOf": seconds(as_of),
        })
    }

    /// Its entry in a status that there is, if that is about the same window and quantity.
    fn there<'a>(&self, live: &'a Value) -> Option<&'a Value> {
        let entries = live["usage"].as_array()?;
        entries.iter().find(|there| {
            there["quota"] == self.name
                && there["quantity"] == self.max
                && there["windowStart"] == seconds(self.window_start)
        })
    }
}

/// As an API server keeps times.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Usage {
    /// Sorts an answer by what statuses are about.
    pub(crate) fn new(answer: Answer, as_of: Timestamp) -> Self {
        let mut quotas: BTreeMap<_, Vec<Quota>> = BTreeMap::new();
        for quota in answer.quotas {
            let Some(subscription) = quota.subject.strip_prefix(SUBSCRIPTION).and_then(object) else {
                continue;
            };
            let name = quota.limit.rsplit('/').next().unwrap_or_default().to_owned();
            if let Some(consumer) = object(&quota.consumer) {
                let quota = Quota { name: format!("{}/{name}", subscription.name), ..quota.clone() };
                quotas.entry(("Consumer", consumer)).or_default().push(quota);
            }
            quotas.entry(("Subscription", subscription)).or_default().push(Quota { name, ..quota });
        }
        for list in quotas.values_mut() {
            list.sort_by(|a, b| b.percent().cmp(&a.percent()).then_with(|| a.limit.cmp(&b.limit)));
            list.truncate(MOST);
        }
        Self { as_of, quotas }
    }

    fn of(&self, kind: &'static str, object: &ObjectName) -> &[Quota] {
        self.quotas.get(&(kind, object.clone())).map_or(&[], Vec::as_slice)
    }

    /// The field `usage`; the one that `live` has, if that still says the same.
    pub(crate) fn field(&self, kind: &'static str, object: &ObjectName, live: &Value) -> Value {
        let quotas = self.of(kind, object);
        let there = live["usage"].as_array().map_or(&[][..], Vec::as_slice);
        let holds = |(quota, there): (&Quota, &Value)| {
            let since = there["asOf"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let fresh = since.is_some_and(|since| self.as_of.duration_since(since) < REFRESH);
            let same =
                quota.there(live).is_some_and(|entry| entry == there) && there["percent"] == quota.percent();
            same && (fresh || there["used"] == quota.used)
        };
        if quotas.len() == there.len() && quotas.iter().zip(there).all(holds) {
            return live["usage"].clone();
        }
        if quotas.is_empty() {
            Value::Null
        } else {
            quotas.iter().map(|quota| quota.status(self.as_of)).collect()
        }
    }

    /// `QuotaNearLimit` and `QuotaExceeded`; nothing for who has no quota.
    pub(crate) fn conditions(&self, kind: &'static str, object: &ObjectName) -> Vec<Condition> {
        let quotas = self.of(kind, object);
        if quotas.is_empty() {
            return Vec::new();
        }
        let about = |kind, holds: &dyn Fn(&Quota) -> bool, yes, no| {
            let told: Vec<String> = quotas.iter().filter(|quota| holds(quota)).map(names).collect();
            let (status, reason) = if told.is_empty() { (Truth::False, no) } else { (Truth::True, yes) };
            Condition { kind, status, reason, message: told.join("; ") }
        };
        let near = |quota: &Quota| quota.reached().is_some();
        vec![
            about(ConditionType::QuotaNearLimit, &near, Reason::ThresholdReached, Reason::BelowThresholds),
            about(ConditionType::QuotaExceeded, &Quota::is_used_up, Reason::UsedUp, Reason::NotUsedUp),
        ]
    }

    /// Thresholds that were crossed since `live` was written, of each quota the highest.
    pub(crate) fn crossings(&self, kind: &'static str, object: &ObjectName, live: &Value) -> Vec<Notice> {
        let crossed = |quota: &Quota| {
            let before = quota.there(live).and_then(|there| there["percent"].as_u64()).unwrap_or_default();
            let reached = quota.reached().filter(|reached| u64::from(*reached) > before)?;
            let reason =
                if reached >= 100 { ConditionType::QuotaExceeded } else { ConditionType::QuotaNearLimit };
            Some(Notice { reason: reason.as_str(), action: "Metering", text: quota.told() })
        };
        self.of(kind, object).iter().filter_map(crossed).collect()
    }
}

/// What a condition says of a quota: nothing that changes with every request.
fn names(quota: &Quota) -> String {
    let reached = quota.reached().map(|reached| format!("{reached} % of ")).unwrap_or_default();
    format!("{reached}quota {} ({} {}), until {}", quota.name, quota.max, quota.unit, quota.window_end)
}

fn object(key: &str) -> Option<ObjectName> {
    let (namespace, name) = key.split_once('/')?;
    Some(ObjectName::new(namespace, name))
}

#[cfg(test)]
mod tests;
