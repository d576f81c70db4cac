//! Warns before a limit is reached: once per window, when the present rate leads there.

use analytics_query::Standing;
use gateway_snapshot::Catalog;
use jiff::Timestamp;

use super::{Alert, Kind};
use crate::authority::{Account, concerns};

/// Nobody is warned below this percentage of a limit: the first minutes of a window say little.
const FROM_PERCENT: u64 = 20;
/// Nor after fewer seconds of watching.
const FROM_SECONDS: f64 = 10.0;

/// The warnings that are due; the same warning has the same id each time.
pub(crate) fn alerts(accounts: &[Account], catalog: &Catalog, now: Timestamp) -> Vec<Alert> {
    if !catalog.alerts.values().any(|rule| rule.forecast) {
        return Vec::new();
    }
    accounts.iter().filter_map(|account| alert(account, catalog, now)).collect()
}

/// What the forecast goes by.
pub(crate) fn standing(account: &Account) -> Standing {
    let view = &account.view;
    Standing {
        used: view.used,
        max: view.quantity,
        window_start: view.window.start,
        window_end: view.window.end,
        recent: account.recent,
    }
}

fn alert(account: &Account, catalog: &Catalog, now: Timestamp) -> Option<Alert> {
    let view = &account.view;
    let known = view.quantity > 0 && view.used < view.quantity && view.window.contains(now);
    let enough = view.used.saturating_mul(100) >= view.quantity.saturating_mul(FROM_PERCENT);
    if !known || !enough || account.recent.1 < FROM_SECONDS {
        return None;
    }
    let exhausted_at = standing(account).forecast(now).exhausted_at?;
    let (limit, subject) = (view.key.limit.as_str(), view.key.subject.as_str());
    let (rules, deliveries) = super::deliveries(catalog, |rule| rule.forecast && concerns(rule, limit));
    if rules.is_empty() {
        return None;
    }
    let (start, quantity) = (view.window.start.to_string(), view.quantity.to_string());
    Some(Alert {
        id: super::id(&["forecast", limit, subject, &start, &quantity]),
        kind: Kind::Forecast,
        rules,
        limit: limit.into(),
        subject: subject.into(),
        consumer: super::consumer_of(subject, catalog).into(),
        threshold: 100,
        used: view.used,
        max: view.quantity,
        unit: catalog.limits.get(limit).map_or("units", |entry| entry.limit.unit.word()).into(),
        window_start: view.window.start,
        window_end: view.window.end,
        fired_at: now,
        exhausted_at: Some(exhausted_at),
        deliveries,
    })
}
