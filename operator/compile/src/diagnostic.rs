//! Statuses and warnings as lines for people, each with file and line of the object.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::conditions::{ConditionType, Reason};

use crate::object::ObjectRef;
use crate::resources::{Diagnostic, Resources, Severity};
use crate::status::{Condition, Status, Truth};

/// Something worth saying that is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) object: ObjectRef,
    pub(crate) message: String,
}

/// Bad conditions as errors, and the warnings; sorted by object.
pub(crate) fn collect(
    resources: &Resources,
    statuses: &BTreeMap<ObjectRef, Arc<Status>>,
    warnings: &[Warning],
) -> Vec<Diagnostic> {
    let line = |object: &ObjectRef, severity, problem| {
        let origin = resources.origin(object.kind, &object.name).cloned().unwrap_or_default();
        Diagnostic {
            severity,
            file: origin.file,
            line: origin.line,
            column: 0,
            object: Some(object.to_string()),
            field: None,
            problem,
            cure: String::new(),
        }
    };
    let mut found: Vec<(&ObjectRef, Diagnostic)> = Vec::new();
    for (object, status) in statuses {
        for (part, condition) in worth_saying(status) {
            // An overridden policy is as its author may have wanted it.
            let wanted = condition.reason == Reason::Overridden;
            let severity = if wanted { Severity::Warning } else { Severity::Error };
            found.push((object, line(object, severity, sentence(&part, condition))));
        }
    }
    for warning in warnings {
        found.push((&warning.object, line(&warning.object, Severity::Warning, warning.message.clone())));
    }
    found.sort_by(|left, right| left.0.cmp(right.0));
    let mut lines: Vec<Diagnostic> = found.into_iter().map(|(_, line)| line).collect();
    lines.dedup();
    lines
}

/// Bad conditions, without those that only repeat another one.
fn worth_saying(status: &Status) -> impl Iterator<Item = (String, &Condition)> {
    status.all_conditions().filter(|(part, condition)| {
        // A listener is `Invalid` because of its Gateway, which says so itself.
        let of_gateway = part.starts_with("listener ") && condition.reason == Reason::Invalid;
        // These say themselves why; otherwise Programmed repeats the others.
        let of_address = matches!(condition.reason, Reason::AddressNotUsable | Reason::AddressNotAssigned);
        let repeats = matches!(condition.kind, ConditionType::Programmed | ConditionType::Conflicted);
        condition.is_bad() && !of_gateway && (of_address || !repeats) && !condition.message.is_empty()
    })
}

fn sentence(part: &str, condition: &Condition) -> String {
    let verdict = match (condition.status, condition.kind.as_str()) {
        (Truth::False, kind) => format!("not {kind}"),
        (_, kind) => kind.to_owned(),
    };
    let part = if part.is_empty() { String::new() } else { format!("{part}: ") };
    format!("{part}{verdict} ({}): {}", condition.reason, condition.message)
}

/// One line for each object with a status: what `turnpike up` and `doctor` print when everything is asked for.
///
/// `HTTPRoute shop/orders: Accepted, ResolvedRefs` or `…: not ResolvedRefs (BackendNotFound): …`.
pub fn render(statuses: &BTreeMap<ObjectRef, Arc<Status>>) -> Vec<String> {
    let mut lines = Vec::new();
    for (object, status) in statuses {
        let bad: Vec<String> =
            worth_saying(status).map(|(part, condition)| sentence(&part, condition)).collect();
        if bad.is_empty() {
            lines.push(format!("{object}: ok"));
        }
        lines.extend(bad.into_iter().map(|sentence| format!("{object}: {sentence}")));
    }
    lines
}
