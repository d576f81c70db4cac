//! What each policy says, checked, wherever it is attached.

use std::collections::BTreeMap;

use gateway_snapshot::{AuthPolicy, Dimension, Key, QuotaPolicy, RateLimitPolicy};

use super::{auth, limits, rate};
use crate::check;
use crate::field::{Field, SPEC};
use crate::order;
use crate::problem::{InField, Problem};
use crate::resources::Resources;

/// All policies by `namespace/name`.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// A broken policy is here as one that lets nobody pass, with what is wrong.
    pub(crate) auth: BTreeMap<Key, (AuthPolicy, Option<Problem>)>,
    pub(crate) rate_limits: BTreeMap<Key, Result<RateLimitPolicy, Problem>>,
    pub(crate) quotas: BTreeMap<Key, Result<QuotaPolicy, Problem>>,
}

impl Contents {
    /// Checks every policy once.
    pub(crate) fn new(resources: &Resources) -> Self {
        let auth = resources.auth_policies.values().map(|policy| {
            let checked = match auth::auth(&policy.spec) {
                Ok(content) => (content, None),
                Err(problem) => (auth::nobody(), Some(problem)),
            };
            (order::key(&policy.metadata), checked)
        });
        let rate_limits = resources
            .rate_limit_policies
            .values()
            .map(|policy| (order::key(&policy.metadata), rate_limit(&policy.spec)));
        let quotas = resources.quota_policies.values().map(|policy| {
            let key = order::key(&policy.metadata);
            let content = quota(&key, &policy.spec);
            (key, content)
        });
        Self { auth: auth.collect(), rate_limits: rate_limits.collect(), quotas: quotas.collect() }
    }
}

fn rate_limit(spec: &crds::rate_limit_policy::RateLimitPolicySpec) -> Result<RateLimitPolicy, Problem> {
    let period_ms = rate::period_ms(&spec.period, &SPEC)?;
    let (requests, burst) = rate::rate(spec.requests, period_ms, spec.burst, &SPEC)?;
    Ok(RateLimitPolicy { requests, period_ms, burst, by: dimension(&spec.by, &SPEC.key("by"))? })
}

fn quota(key: &str, spec: &crds::quota_policy::QuotaPolicySpec) -> Result<QuotaPolicy, Problem> {
    let limits = limits::limits(&spec.limits, &format!("quotapolicy/{key}"), &SPEC.key("limits"))?;
    Ok(QuotaPolicy { limits, by: dimension(&spec.by, &SPEC.key("by"))? })
}

fn dimension(by: &crds::By, field: &Field<'_>) -> Result<Dimension, Problem> {
    let header = field.key("header");
    match (by.dimension, &by.header) {
        (crds::Dimension::Header, Some(name)) => check::header_name(name).at(&header).map(Dimension::Header),
        (crds::Dimension::Header, None) => {
            Err(Problem::invalid(&header, "is needed, because type is Header"))
        }
        (_, Some(_)) => Err(Problem::invalid(&header, "is only for type Header; take it out")),
        (crds::Dimension::All, None) => Ok(Dimension::All),
        (crds::Dimension::Consumer, None) => Ok(Dimension::Consumer),
        (crds::Dimension::ClientAddress, None) => Ok(Dimension::ClientAddress),
    }
    .map_err(Problem::into_invalid)
}
