//! Plans: rates, quotas, prices.

use std::collections::{BTreeMap, BTreeSet};

use crds::plan::{PlanSpec, Price as RawPrice, Unit};
use gateway_snapshot::{Key, Plan, Price, Rate};

use crate::check::shown;
use crate::field::{Field, SPEC};
use crate::order;
use crate::policy;
use crate::problem::Problem;
use crate::resources::Resources;

/// A plan and its price lines.
#[derive(Debug)]
pub(crate) struct CompiledPlan {
    pub(crate) plan: Plan,
    pub(crate) prices: Vec<Price>,
}

/// Every plan by `namespace/name`. A broken one is not sold at all: it would cost the wrong thing.
pub(crate) fn plans(resources: &Resources) -> BTreeMap<Key, Result<CompiledPlan, Problem>> {
    resources
        .plans
        .values()
        .map(|plan| {
            let key = order::key(&plan.metadata);
            let compiled = one(&key, &plan.spec);
            (key, compiled)
        })
        .collect()
}

fn one(key: &Key, spec: &PlanSpec) -> Result<CompiledPlan, Problem> {
    let prefix = format!("plan/{key}");
    let limits = policy::limits(&spec.quotas, &prefix, &SPEC.key("quotas"))?;
    let rates = rates(spec, &prefix, &SPEC.key("rates"))?;
    // A refused request names its limit, so one name cannot stand for two of them.
    if let Some(rate) = rates.iter().find(|rate| limits.iter().any(|limit| limit.id.as_str() == rate.id)) {
        let name = rate.id.rsplit('/').next().unwrap_or_default();
        let message = format!("{} is the name of a quota, too; rename one", shown(name));
        return Err(Problem::invalid(&SPEC.key("rates"), message));
    }
    Ok(CompiledPlan { plan: Plan { rates, limits }, prices: prices(spec, &SPEC.key("prices"))? })
}

fn rates(spec: &PlanSpec, prefix: &str, field: &Field<'_>) -> Result<Vec<Rate>, Problem> {
    let mut names = BTreeSet::new();
    let mut out = Vec::with_capacity(spec.rates.len());
    for (index, raw) in spec.rates.iter().enumerate() {
        let field = field.index(index);
        if raw.name.is_empty() || raw.name.contains('/') || !names.insert(raw.name.as_str()) {
            let message =
                format!("{} is empty, has a `/` or is the name of two rates; rename it", shown(&raw.name));
            return Err(Problem::invalid(&field.key("name"), message));
        }
        let period_ms = policy::period_ms(&raw.period, &field)?;
        let (requests, burst) = policy::rate(raw.requests, period_ms, raw.burst, &field)?;
        out.push(Rate { id: format!("{prefix}/{}", raw.name), requests, period_ms, burst });
    }
    Ok(out)
}

fn prices(spec: &PlanSpec, field: &Field<'_>) -> Result<Vec<Price>, Problem> {
    let mut units = BTreeSet::new();
    let mut out = Vec::with_capacity(spec.prices.len());
    for (index, raw) in spec.prices.iter().enumerate() {
        let field = field.index(index);
        if !units.insert(raw.unit) {
            return Err(Problem::invalid(
                &field.key("unit"),
                "has a price already; put everything into one line",
            ));
        }
        out.push(price(raw, &field)?);
    }
    Ok(out)
}

fn price(raw: &RawPrice, field: &Field<'_>) -> Result<Price, Problem> {
    if !is_decimal(&raw.amount) {
        let message = format!("{} is not a decimal number such as `0.25`", shown(&raw.amount));
        return Err(Problem::invalid(&field.key("amount"), message));
    }
    if raw.currency.len() != 3 || !raw.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let message = format!("{} is not a currency of ISO 4217 such as `EUR`", shown(&raw.currency));
        return Err(Problem::invalid(&field.key("currency"), message));
    }
    if raw.per == 0 {
        return Err(Problem::invalid(&field.key("per"), "is 0; say how many units the amount buys"));
    }
    Ok(Price {
        unit: match raw.unit {
            Unit::Requests => "requests".to_owned(),
            Unit::Bytes => "bytes".to_owned(),
        },
        included: raw.included,
        amount: raw.amount.clone(),
        currency: raw.currency.clone(),
        per: raw.per,
    })
}

/// Digits, and at most one point between them; nothing that a sum could not be exact with.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 32
        && match text.split_once('.') {
            None => digits(text),
            Some((whole, part)) => digits(whole) && digits(part),
        }
}
