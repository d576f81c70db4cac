//! ExtensionRef filters: our kinds that a rule can name.
//!
//! TransformPolicy answers by itself; AuthPolicy, RateLimitPolicy and QuotaPolicy are put in force for this rule,
//! as the most specific policy there is.

use crds::conditions::Reason;
use crds::gateway_api::LocalObjectReference;
use gateway_snapshot::{DirectResponse, Filter};

use crate::check;
use crate::field::Field;
use crate::policy::PolicyKind;
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::route::rule::RuleContext;

/// The filter that `part` stands for, if it is one; a policy is noted in the context instead.
///
/// A reference that leads nowhere is noted, and refuses every request to the rule: a filter is never skipped.
pub(crate) fn extension(
    part: &LocalObjectReference,
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Option<Filter> {
    match resolve(part, context, field) {
        Ok(filter) => filter,
        Err(problem) => {
            context.refused.get_or_insert_with(|| problem.message.clone());
            context.found.unresolved.push(problem);
            None
        }
    }
}

fn resolve(
    part: &LocalObjectReference,
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Option<Filter>, Problem> {
    let name = ObjectName { namespace: context.namespace.to_owned(), name: part.name.clone() };
    let resources = context.world.resources;
    let (kind, exists) = match (part.group.as_str(), part.kind.as_str()) {
        (crds::GROUP, "TransformPolicy") => {
            let Some(policy) = resources.transform_policies.get(&name) else {
                return Err(missing(part, &name, field));
            };
            return mock(policy).map(Some).map_err(|what| {
                let message = format!("TransformPolicy {name} is not valid: {what}");
                Problem::at(Reason::InvalidKind, field, message)
            });
        }
        (crds::GROUP, "AuthPolicy") => (PolicyKind::Auth, resources.auth_policies.contains_key(&name)),
        (crds::GROUP, "RateLimitPolicy") => {
            (PolicyKind::RateLimit, resources.rate_limit_policies.contains_key(&name))
        }
        (crds::GROUP, "QuotaPolicy") => (PolicyKind::Quota, resources.quota_policies.contains_key(&name)),
        (group, kind) => {
            let message = format!(
                "kind {kind} of group {group:?} is no filter; use TransformPolicy, AuthPolicy, RateLimitPolicy or QuotaPolicy of {}",
                crds::GROUP
            );
            return Err(Problem::at(Reason::InvalidKind, &field.key("kind"), message));
        }
    };
    if !exists {
        return Err(missing(part, &name, field));
    }
    context.extensions.push((kind, name.to_string()));
    Ok(None)
}

fn missing(part: &LocalObjectReference, name: &ObjectName, field: &Field<'_>) -> Problem {
    let message = format!("{} {name} does not exist; create it or correct the name", part.kind);
    Problem::at(Reason::BackendNotFound, field, message)
}

/// The answer that a TransformPolicy mocks.
pub(crate) fn mock(policy: &crds::TransformPolicy) -> Result<Filter, String> {
    let mock = &policy.spec.mock;
    if !(200..=599).contains(&mock.status) {
        return Err(format!("spec.mock.status: {} is not between 200 and 599", mock.status));
    }
    let headers = mock
        .headers
        .iter()
        .map(|header| Ok((check::header_name(&header.name)?, check::header_value(&header.value)?)))
        .collect::<Result<_, check::Wrong>>()
        .map_err(|wrong| format!("spec.mock.headers: {wrong}"))?;
    Ok(Filter::Direct(DirectResponse { status: mock.status, headers, body: mock.body.clone() }))
}
