//! One rule of a route → one rule of the snapshot.
//!
//! A rule with a wrong value is dropped whole. References that lead nowhere stay visible to callers as 500s, in
//! the share that they would have had, and are reported beside.

use std::collections::{BTreeMap, BTreeSet};

use crds::conditions::Reason;
use crds::gateway_api::{self, BackendObjectReference, HttpRouteRetry, HttpRouteTimeouts};
use gateway_snapshot::{
    BackendChoice, BackendRef, Filter, Key, Match, PathMatch, Retry, RouteKind, Rule, Timeouts,
};

use crate::backend::{self, Refusal, Target};
use crate::check;
use crate::field::Field;
use crate::policy::PolicyKind;
use crate::problem::{InField, Problem};
use crate::reference::End;
use crate::resources::ObjectName;
use crate::route::filters::{Place, filters};
use crate::route::matches::matches;
use crate::route::view::{BackendView, RuleView};
use crate::world::World;

/// Gateway API's own limits.
const MAX_BACKENDS: usize = 16;
const MAX_WEIGHT: i32 = 1_000_000;
/// Attempts beyond this help nobody and multiply load.
const MAX_ATTEMPTS: i64 = 10;
/// Pause before the first retry when the route does not say, milliseconds.
const DEFAULT_BACKOFF: u64 = 25;
/// Longest pause and longest time-out, milliseconds: an hour and a week.
const MAX_BACKOFF: u64 = 3_600_000;
const MAX_TIMEOUT: u64 = 7 * 24 * 3_600_000;

/// What a rule may look at and what it leaves behind.
pub(crate) struct RuleContext<'a, 'w> {
    pub(crate) world: &'a World<'w>,
    pub(crate) kind: RouteKind,
    pub(crate) namespace: &'a str,
    /// The rule has exactly one match, and that is by prefix.
    pub(crate) single_prefix: bool,
    /// References of the whole route.
    pub(crate) found: &'a mut Found,
    /// Policies that the rule's extension filters name.
    pub(crate) extensions: Vec<(PolicyKind, Key)>,
    /// Why every request to the rule must fail.
    pub(crate) refused: Option<String>,
}

/// What the rules of a route refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Backends to build, by their key.
    pub(crate) targets: BTreeMap<Key, Target>,
    /// Backends that exist, whether or not they can be built.
    pub(crate) objects: BTreeSet<(&'static str, ObjectName)>,
    /// References that lead nowhere.
    pub(crate) unresolved: Vec<Problem>,
    /// What is worth saying although nothing is wrong by itself.
    pub(crate) notes: Vec<String>,
}

/// A rule and the policies that its extension filters name.
#[derive(Debug, Clone)]
pub(crate) struct CheckedRule {
    pub(crate) rule: Rule,
    pub(crate) extensions: Vec<(PolicyKind, Key)>,
}

impl RuleContext<'_, '_> {
    /// Key of the backend that `reference` leads to; otherwise the problem is noted and its text comes out.
    pub(crate) fn backend(
        &mut self,
        reference: &BackendObjectReference,
        field: &Field<'_>,
    ) -> Result<Key, String> {
        let http2 = self.kind == RouteKind::Grpc;
        match backend::resolve(self.world, self.from(), reference, http2, field) {
            Ok(resolved) => {
                self.found.objects.insert(resolved.target.object());
                match resolved.refused {
                    None => {
                        let key = resolved.target.key();
                        self.found.targets.insert(key.clone(), resolved.target);
                        Ok(key)
                    }
                    Some(Refusal::Elsewhere(message)) => Err(message),
                    Some(Refusal::Here(problem)) => Err(self.unresolved(problem)),
                }
            }
            Err(problem) => Err(self.unresolved(problem)),
        }
    }

    fn unresolved(&mut self, problem: Problem) -> String {
        let message = problem.message.clone();
        self.found.unresolved.push(problem);
        message
    }

    fn from(&self) -> End<'_> {
        End { group: gateway_api::GROUP, kind: kind_name(self.kind), namespace: self.namespace }
    }
}

/// Name of the resource kind.
pub(crate) const fn kind_name(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Http => "HTTPRoute",
        RouteKind::Grpc => "GRPCRoute",
    }
}

/// The rule, or the first thing that makes it invalid.
pub(crate) fn rule(
    view: &RuleView<'_>,
    mut context: RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<CheckedRule, Problem> {
    if view.session_persistence {
        let message = "is not supported; take it out";
        return Err(Problem::value(&field.key("sessionPersistence"), message));
    }
    let matches = matches(&view.matches, &field.key("matches"))?;
    let list = field.key("matches");
    for (index, found) in matches.iter().enumerate() {
        context.found.notes.extend(idle_match(found, &list.index(index)));
    }
    context.single_prefix = matches!(matches.as_slice(), [Match { path: PathMatch::Prefix(_), .. }]);
    let rule_filters = filters(&view.filters, Place::Rule, &mut context, &field.key("filters"))?;
    if rule_filters.iter().any(|filter| matches!(filter, Filter::Redirect(_))) && !view.backends.is_empty() {
        let message = "stand beside a RequestRedirect filter, which answers by itself; take one of them out";
        return Err(Problem::at(Reason::IncompatibleFilters, &field.key("backendRefs"), message));
    }
    let mut rule = Rule {
        name: view.name.map(str::to_owned),
        matches,
        filters: rule_filters,
        backends: backends(&view.backends, &mut context, &field.key("backendRefs"))?,
        timeouts: timeouts(view.timeouts, &field.key("timeouts"))?,
        retry: view.retry.map(|raw| retry(raw, &field.key("retry"))).transpose()?,
        ..Rule::default()
    };
    if let Some(message) = context.refused {
        rule.filters.clear();
        rule.backends =
            vec![BackendChoice { backend: BackendRef::Invalid(message), weight: 1, filters: vec![] }];
    }
    Ok(CheckedRule { rule, extensions: context.extensions })
}

/// Why a match takes no request, or takes fewer than it seems to.
fn idle_match(found: &Match, field: &Field<'_>) -> Option<String> {
    match &found.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => check::refused_part(path).map(|part| {
            format!(
                "{field}: takes no request, because requests with {part} in the path are refused; correct {}",
                check::shown(path)
            )
        }),
        PathMatch::Regex(pattern) => check::vanished_part(pattern).map(|part| {
            format!(
                "{field}: {part} stands in no path, because paths are normalised before they are matched; correct {}",
                check::shown(pattern)
            )
        }),
    }
}

fn backends(
    views: &[BackendView<'_>],
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Vec<BackendChoice>, Problem> {
    if views.len() > MAX_BACKENDS {
        let message = format!("has {} backends; a rule has at most {MAX_BACKENDS}", views.len());
        return Err(Problem::value(field, message));
    }
    views
        .iter()
        .enumerate()
        .map(|(index, view)| {
            let field = &field.index(index);
            let weight = view.weight.unwrap_or(1);
            let Some(weight) = u32::try_from(weight).ok().filter(|_| weight <= MAX_WEIGHT) else {
                let message = format!("{weight} is not between 0 and {MAX_WEIGHT}");
                return Err(Problem::value(&field.key("weight"), message));
            };
            let filters = filters(&view.filters, Place::Backend, context, &field.key("filters"))?;
            let backend = match context.backend(&view.reference, field) {
                Ok(key) => BackendRef::To(key),
                Err(message) => BackendRef::Invalid(message),
            };
            Ok(BackendChoice { backend, weight, filters })
        })
        .collect()
}

fn timeouts(raw: Option<&HttpRouteTimeouts>, field: &Field<'_>) -> Result<Timeouts, Problem> {
    let Some(raw) = raw else { return Ok(Timeouts::default()) };
    let read = |text: &Option<String>, name| {
        text.as_deref().map(|text| check::duration_ms(text, MAX_TIMEOUT).at(&field.key(name))).transpose()
    };
    let request_ms = read(&raw.request, "request")?;
    let backend_request_ms = read(&raw.backend_request, "backendRequest")?;
    // 0 switches a time-out off, so nothing is longer than it.
    if let (Some(request @ 1..), Some(backend)) = (request_ms, backend_request_ms)
        && backend > request
    {
        let message = "is longer than timeouts.request, which covers it; make it shorter";
        return Err(Problem::value(&field.key("backendRequest"), message));
    }
    Ok(Timeouts { request_ms, backend_request_ms })
}

fn retry(raw: &HttpRouteRetry, field: &Field<'_>) -> Result<Retry, Problem> {
    let attempts = raw.attempts.unwrap_or(1);
    if !(0..=MAX_ATTEMPTS).contains(&attempts) {
        let message = format!("{attempts} is not between 0 and {MAX_ATTEMPTS}");
        return Err(Problem::value(&field.key("attempts"), message));
    }
    let list = field.key("codes");
    let mut codes = Vec::with_capacity(raw.codes.len());
    for (index, code) in raw.codes.iter().enumerate() {
        match u16::try_from(*code) {
            Ok(code @ 400..=599) => codes.push(code),
            _ => {
                return Err(Problem::value(&list.index(index), format!("{code} is not between 400 and 599")));
            }
        }
    }
    codes.sort_unstable();
    codes.dedup();
    let backoff_ms = match raw.backoff.as_deref() {
        Some(text) => check::duration_ms(text, MAX_BACKOFF).at(&field.key("backoff"))?,
        None => DEFAULT_BACKOFF,
    };
    Ok(Retry { codes, attempts: attempts as u8, backoff_ms })
}
