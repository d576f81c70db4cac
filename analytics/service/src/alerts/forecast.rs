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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gateway_quota::{AccountView, QuotaKey, Window};
    use gateway_snapshot::AlertRule;

    use super::*;

    fn account(used: u64, recent: (u64, f64)) -> Account {
        let window = Window {
            start: "2026-11-23T00:00:00Z".parse().unwrap(),
            end: "2026-11-24T00:00:00Z".parse().unwrap(),
        };
        let view = AccountView {
            key: QuotaKey::new("plan/shop/gold/daily", "subscription/shop/alice"),
            window,
            quantity: 1_000,
            ceiling: 1_000,
            settled: used,
            unaccounted: 0,
            used,
            leased: 0,
            remaining: 1_000 - used,
            fired: Vec::new(),
            leases: 0,
        };
        Account { view, recent }
    }

    fn catalog(forecast: bool) -> Catalog {
        let rule = AlertRule {
            thresholds: Vec::new(),
            forecast,
            limits: vec!["plan/shop/".into()],
            channels: Vec::new(),
        };
        Catalog { alerts: BTreeMap::from([("shop/quota".to_owned(), rule)]), ..Catalog::default() }
    }

    #[test]
    fn a_rate_that_leads_to_the_limit_warns_once() {
        let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-23T12:05:00Z".parse().unwrap();
        let first = alerts(&[account(400, (60, 60.0))], &catalog(true), noon);
        let second = alerts(&[account(500, (60, 60.0))], &catalog(true), later);
        assert_eq!((first.len(), first[0].kind), (1, Kind::Forecast));
        assert_eq!(first[0].exhausted_at.unwrap().to_string(), "2026-11-23T12:10:00Z");
        assert_eq!(first[0].id, second[0].id, "the same warning has the same name");
    }

    #[test]
    fn nobody_is_warned_without_need() {
        let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let cases = [
            ("slow", account(400, (1, 120.0)), true),
            ("hardly begun", account(100, (60, 60.0)), true),
            ("hardly watched", account(400, (60, 5.0)), true),
            ("full already", account(1_000, (60, 60.0)), true),
            ("not asked for", account(400, (60, 60.0)), false),
        ];
        for (name, account, asked) in cases {
            assert!(alerts(&[account], &catalog(asked), noon).is_empty(), "{name}");
        }
    }
}
