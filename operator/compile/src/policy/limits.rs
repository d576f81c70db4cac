//! Quotas, as plans and QuotaPolicies write them.

use std::collections::BTreeSet;

use crds::plan::{Mode as RawMode, Period as RawPeriod, Quota, Unit as RawUnit};
use gateway_quota::{Limit, Mode, Period, Unit, WindowSpec};

use crate::check::shown;
use crate::field::Field;
use crate::problem::Problem;

/// Limits that one request can be charged to, those of its plan and of policies together: a record has room for no
/// more.
pub(crate) const MAX_CHARGED: usize = 4;

/// Limits named `prefix/name`, in the order written; names are unique.
pub(crate) fn limits(raw: &[Quota], prefix: &str, field: &Field<'_>) -> Result<Vec<Limit>, Problem> {
    if raw.len() > MAX_CHARGED {
        let message =
            format!("has {} quotas; one request can be charged to {MAX_CHARGED} at most", raw.len());
        return Err(Problem::invalid(field, message));
    }
    let mut names = BTreeSet::new();
    raw.iter()
        .enumerate()
        .map(|(index, quota)| {
            let field = field.index(index);
            if !names.insert(quota.name.as_str()) {
                let message = format!("{} is the name of two quotas; rename one", shown(&quota.name));
                return Err(Problem::invalid(&field.key("name"), message));
            }
            limit(quota, prefix, &field)
        })
        .collect()
}

fn limit(raw: &Quota, prefix: &str, field: &Field<'_>) -> Result<Limit, Problem> {
    if raw.name.is_empty() || raw.name.contains('/') {
        let message = format!("{} is not a name; use lower-case letters, digits and `-`", shown(&raw.name));
        return Err(Problem::invalid(&field.key("name"), message));
    }
    let mode = match (raw.mode, raw.overdraft) {
        (RawMode::Soft, overdraft) => Mode::Soft { overdraft: overdraft.unwrap_or(0) },
        (_, Some(1..)) => {
            return Err(Problem::invalid(&field.key("overdraft"), "is only for mode Soft; take it out"));
        }
        (RawMode::Hard, _) => Mode::Hard,
        (RawMode::Observe, _) => Mode::Observe,
    };
    let window = WindowSpec::calendar(period(raw.period), &raw.zone)
        .map_err(|error| Problem::invalid(field, error))?;
    let mut thresholds = raw.alert_at.clone();
    thresholds.sort_unstable();
    thresholds.dedup();
    let limit = Limit {
        id: format!("{prefix}/{}", raw.name).into(),
        unit: match raw.unit {
            RawUnit::Requests => Unit::Requests,
            RawUnit::Bytes => Unit::Bytes,
        },
        quantity: raw.quantity,
        window,
        mode,
        thresholds,
    };
    limit.validate().map_err(|error| Problem::invalid(field, error))?;
    Ok(limit)
}

const fn period(raw: RawPeriod) -> Period {
    match raw {
        RawPeriod::Minute => Period::Minute,
        RawPeriod::Hour => Period::Hour,
        RawPeriod::Day => Period::Day,
        RawPeriod::Week => Period::Week,
        RawPeriod::Month => Period::Month,
        RawPeriod::Year => Period::Year,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_is_charged_to_no_more_limits_than_a_record_holds() {
        assert_eq!(super::MAX_CHARGED, analytics_record::MAX_CHARGES);
    }
}
