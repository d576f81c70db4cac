//! From a crossing that the authority saw to an alert.

use gateway_quota::Crossing;
use gateway_snapshot::Catalog;

use super::{Alert, Kind};
use crate::authority::concerns;

/// The alert of a crossing, with a delivery for every channel that wants it.
pub(crate) fn alert(found: &Crossing, catalog: &Catalog) -> Alert {
    let (limit, subject) = (found.key.limit.as_str(), found.key.subject.as_str());
    let entry = catalog.limits.get(limit);
    let own = entry.is_some_and(|entry| entry.limit.thresholds.contains(&found.threshold));
    let (rules, deliveries) = super::deliveries(catalog, |rule| {
        concerns(rule, limit) && (own || rule.thresholds.contains(&found.threshold))
    });
    let (start, version) = (found.window.start.to_string(), found.version.to_string());
    Alert {
        id: super::id(&["threshold", limit, subject, &start, &version, &found.threshold.to_string()]),
        kind: Kind::Threshold,
        rules,
        limit: limit.into(),
        subject: subject.into(),
        consumer: super::consumer_of(subject, catalog).into(),
        threshold: found.threshold,
        used: found.used,
        max: found.quantity,
        unit: entry.map_or("units", |entry| entry.limit.unit.word()).into(),
        window_start: found.window.start,
        window_end: found.window.end,
        fired_at: found.at,
        exhausted_at: None,
        deliveries,
    }
}
