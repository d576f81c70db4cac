//! Alerts: told once per crossing, to every channel that a rule names.
//!
//! In: crossings and forecasts of the quota authority, written to the outbox in the authority's own transaction. Out:
//! deliveries with retries. The id of an alert is made from what it is about, so the same crossing can never become two
//! alerts. Where alerts go is said only by AlertPolicy resources (never by API callers); redirects are not followed.

mod alertmanager;
pub(crate) mod crossing;
mod deliver;
pub(crate) mod forecast;
mod outbox;
mod webhook;

use gateway_snapshot::{AlertChannel, Catalog};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use deliver::start;
pub(crate) use outbox::Outbox;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Use has reached a percentage of a limit.
    Threshold,
    /// At the present rate the limit will be reached before its window ends.
    Forecast,
}

/// Something that people asked to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Alert {
    /// Also the `webhook-id`: receivers tell repetitions by it.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// AlertPolicies that asked, `namespace/name`.
    pub rules: Vec<String>,
    /// The limit's id.
    pub limit: String,
    /// Who it counts for.
    pub subject: String,
    /// The consumer behind the subject; empty if there is none.
    pub consumer: String,
    /// Percent of the limit; 100 for forecasts.
    pub threshold: u8,
    /// Units used, as known when it was raised.
    pub used: u64,
    /// Units per window.
    pub max: u64,
    /// What is counted.
    pub unit: String,
    /// Start of the window.
    #[schema(value_type = String, format = DateTime)]
    pub window_start: Timestamp,
    /// End of the window.
    #[schema(value_type = String, format = DateTime)]
    pub window_end: Timestamp,
    /// When it was raised.
    #[schema(value_type = String, format = DateTime)]
    pub fired_at: Timestamp,
    /// When the limit will be reached, for forecasts.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub exhausted_at: Option<Timestamp>,
    /// Where it goes, and how far that has come.
    pub deliveries: Vec<Delivery>,
}

/// One channel of one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Delivery {
    /// `webhook` or `alertmanager`.
    pub channel: String,
    /// The URL as the rule names it.
    pub target: String,
    /// The rule that names it.
    pub rule: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it arrived.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeliveryState {
    /// Still tried.
    Pending,
    /// The receiver has it.
    Delivered,
    /// Given up.
    Failed,
}

/// The channels of all rules that `wanted` picks, each target once.
fn deliveries(
    catalog: &Catalog,
    wanted: impl Fn(&gateway_snapshot::AlertRule) -> bool,
) -> (Vec<String>, Vec<Delivery>) {
    let (mut rules, mut deliveries) = (Vec::new(), Vec::<Delivery>::new());
    for (name, rule) in catalog.alerts.iter().filter(|(_, rule)| wanted(rule)) {
        rules.push(name.clone());
        for channel in &rule.channels {
            let (channel, target) = match channel {
                AlertChannel::Webhook { url, .. } => ("webhook", url),
                AlertChannel::Alertmanager { url } => ("alertmanager", url),
            };
            if deliveries.iter().any(|known| known.channel == channel && known.target == *target) {
                continue;
            }
            deliveries.push(Delivery {
                channel: channel.into(),
                target: target.clone(),
                rule: name.clone(),
                state: DeliveryState::Pending,
                attempts: 0,
                status: None,
                error: None,
                delivered_at: None,
                next_attempt_at: None,
            });
        }
    }
    (rules, deliveries)
}

/// The consumer behind the subject of a limit, as far as the catalog knows. A plan's limits count for
/// `subscription/namespace/name`, those of a policy for `consumer/…`, `address/…`, `header/…` or everybody.
pub(crate) fn consumer_of<'a>(subject: &'a str, catalog: &'a Catalog) -> &'a str {
    match subject.split_once('/') {
        Some(("subscription", name)) => {
            catalog.subscriptions.get(name).map_or("", |found| found.consumer.as_str())
        }
        Some(("consumer", name)) if catalog.consumers.contains_key(name) => name,
        _ => "",
    }
}

/// A name made from what the alert is about.
fn id(parts: &[&str]) -> String {
    let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    format!("msg_{}", analytics_query::report_id(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn alert() -> Alert {
        Alert {
            id: id(&["threshold", "a"]),
            kind: Kind::Threshold,
            rules: vec!["shop/quota".into()],
            limit: "plan/shop/gold/monthly".into(),
            subject: "subscription/shop/alice".into(),
            consumer: "shop/alice".into(),
            threshold: 80,
            used: 800,
            max: 1_000,
            unit: "requests".into(),
            window_start: "2026-11-01T00:00:00Z".parse().unwrap(),
            window_end: "2026-12-01T00:00:00Z".parse().unwrap(),
            fired_at: "2026-11-23T12:00:00Z".parse().unwrap(),
            exhausted_at: None,
            deliveries: vec![Delivery {
                channel: "webhook".into(),
                target: "http://127.0.0.1:9/hook".into(),
                rule: "shop/quota".into(),
                state: DeliveryState::Pending,
                attempts: 0,
                status: None,
                error: None,
                delivered_at: None,
                next_attempt_at: None,
            }],
        }
    }

    #[test]
    fn the_same_alert_enters_the_outbox_once() {
        let outbox = Outbox::default();
        assert_eq!(outbox.unknown(vec![alert(), alert()]).len(), 1);
        outbox.add(vec![alert()]);
        assert!(outbox.unknown(vec![alert()]).is_empty());
        assert_eq!(outbox.newest(10, |_| true).len(), 1);
        assert_eq!(outbox.counts(), [1, 0, 0]);
    }

    #[test]
    fn an_alert_survives_the_ledger_with_its_quota_change() {
        let folder = tempfile::tempdir().unwrap();
        {
            let ledger = crate::ledger::Ledger::open(folder.path()).unwrap();
            ledger
                .commit(&[gateway_quota::Change::Put(gateway_quota::Row::NextLease(7))], &[alert()])
                .unwrap();
            let mut delivered = alert();
            delivered.deliveries[0].state = DeliveryState::Delivered;
            ledger.update_alerts(&[delivered], &[]).unwrap();
            // A repeated crossing must not undo the delivery.
            ledger.commit(&[], &[alert()]).unwrap();
        }
        let ledger = crate::ledger::Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.quota().unwrap(), [gateway_quota::Row::NextLease(7)]);
        assert_eq!(ledger.alerts().unwrap()[0].deliveries[0].state, DeliveryState::Delivered);
    }
}
