//! The limits that a catalog asks for, with the thresholds that its alert rules add.

use gateway_quota::Limit;
use gateway_snapshot::{AlertRule, Catalog};

/// All limits of `catalog`; one that is not valid is left out and said, so that it cannot stop the others.
pub(super) fn of(catalog: &Catalog) -> Vec<Limit> {
    let mut limits = Vec::with_capacity(catalog.limits.len());
    for entry in catalog.limits.values() {
        let mut limit = entry.limit.clone();
        for rule in catalog.alerts.values().filter(|rule| concerns(rule, limit.id.as_str())) {
            limit.thresholds.extend(rule.thresholds.iter().copied().filter(|percent| *percent > 0));
        }
        limit.thresholds.sort_unstable();
        limit.thresholds.dedup();
        limit.thresholds.truncate(Limit::MAX_THRESHOLDS);
        match limit.validate() {
            Ok(()) => limits.push(limit),
            Err(error) => {
                tracing::error!(limit = %limit.id, source = entry.source, %error, "limit is left out");
            }
        }
    }
    limits
}

/// Whether `rule` is about the limit of this id.
pub(crate) fn concerns(rule: &AlertRule, limit: &str) -> bool {
    rule.concerns(limit)
}
