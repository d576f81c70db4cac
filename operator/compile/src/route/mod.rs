//! Routes: from resource to snapshot entries and status, one generic path for every kind.
//!
//! [`compile`] looks at one route and the world, never at other routes; [`entries`] adds the policies. So one changed
//! route is one route compiled anew, and a broken one touches no other.

mod attach;
mod cors;
mod entries;
mod extension;
mod filters;
mod matches;
mod rule;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::conditions::{ConditionType, Reason};
use gateway_snapshot::{Hostname, RouteKind};

pub(crate) use attach::ParentOutcome;
pub(crate) use entries::{Uses, entries};
pub(crate) use extension::mock;
pub(crate) use rule::{CheckedRule, Found, kind_name};
pub(crate) use view::RouteView;

use crate::check;
use crate::field::SPEC;
use crate::listener::Gateways;
use crate::order;
use crate::problem::{InField, Problem};
use crate::resources::ObjectName;
use crate::route::rule::RuleContext;
use crate::status::{Condition, ParentStatus, Status, Truth};
use crate::world::World;

/// A route, compiled but for its policies.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRoute {
    pub(crate) kind: RouteKind,
    pub(crate) name: ObjectName,
    pub(crate) created: i64,
    pub(crate) generation: Option<i64>,
    pub(crate) parents: Vec<ParentOutcome>,
    /// What is worth saying about parents that are not ours.
    pub(crate) foreign: Vec<String>,
    /// Why nothing of it is served.
    pub(crate) refused: Option<Problem>,
    pub(crate) rules: Vec<CheckedRule>,
    /// Rules that are left out.
    pub(crate) dropped: Vec<Problem>,
    pub(crate) found: Found,
    /// None when none of its parents is ours.
    pub(crate) status: Option<Arc<Status>>,
}

/// Compiles one route.
pub(crate) fn compile(world: &World<'_>, gateways: &Gateways, view: &RouteView<'_>) -> CompiledRoute {
    let hostnames = hostnames(view);
    let empty = Vec::new();
    let (parents, foreign) = attach::parents(world, gateways, view, hostnames.as_ref().unwrap_or(&empty));
    let mut route = CompiledRoute {
        kind: view.kind,
        name: order::name(view.meta),
        created: order::created(view.meta),
        generation: view.meta.generation,
        parents,
        foreign,
        refused: hostnames.err(),
        rules: Vec::with_capacity(view.rules.len()),
        dropped: Vec::new(),
        found: Found::default(),
        status: None,
    };
    rules(world, view, &mut route);
    if route.rules.is_empty() && route.refused.is_none() {
        route.refused = route.dropped.first().cloned();
    }
    route.status = route.status();
    route
}

fn hostnames(view: &RouteView<'_>) -> Result<Vec<Hostname>, Problem> {
    let list = SPEC.key("hostnames");
    view.hostnames
        .iter()
        .enumerate()
        .map(|(index, name)| check::hostname(name).at(&list.index(index)))
        .collect()
}

fn rules(world: &World<'_>, view: &RouteView<'_>, route: &mut CompiledRoute) {
    let list = SPEC.key("rules");
    let namespace = route.name.namespace.clone();
    let mut names = BTreeSet::new();
    for (index, raw) in view.rules.iter().enumerate() {
        let field = list.index(index);
        if let Some(name) = raw.name.filter(|name| !names.insert(*name)) {
            let message = format!("{name} is the name of two rules; rename one");
            route.dropped.push(Problem::value(&field.key("name"), message));
            continue;
        }
        let context = RuleContext {
            world,
            kind: view.kind,
            namespace: &namespace,
            single_prefix: false,
            found: &mut route.found,
            extensions: Vec::new(),
            refused: None,
        };
        match rule::rule(raw, context, &field) {
            Ok(rule) => route.rules.push(rule),
            Err(problem) => route.dropped.push(problem),
        }
    }
}

impl CompiledRoute {
    /// `kind/namespace/name`.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", kind_name(self.kind).to_ascii_lowercase(), self.name)
    }

    /// The same, but nothing of it is served.
    pub(crate) fn refused(&self, problem: Problem) -> Self {
        let mut route = Self { refused: Some(problem), ..self.clone() };
        route.status = route.status();
        route
    }

    fn status(&self) -> Option<Arc<Status>> {
        let of = |outcome: &ParentOutcome| ParentStatus {
            parent: outcome.parent.clone(),
            conditions: self.conditions(outcome.problem.as_ref()),
        };
        let parents: Vec<ParentStatus> = self.parents.iter().map(of).collect();
        let status = || Status { generation: self.generation, parents, ..Status::default() };
        (!self.parents.is_empty()).then(|| status().into())
    }

    fn conditions(&self, parent: Option<&Problem>) -> Vec<Condition> {
        let problem = parent.or(self.refused.as_ref());
        let mut conditions =
            vec![Condition::accepted_unless(problem), Condition::resolved_refs(&self.found.unresolved)];
        if let Some(first) = self.dropped.first().filter(|_| problem.is_none()) {
            // The prefix is demanded by RouteConditionPartiallyInvalid.
            let list: Vec<&str> = self.dropped.iter().map(|problem| problem.message.as_str()).collect();
            conditions.push(Condition {
                status: Truth::True,
                ..Condition::no(
                    ConditionType::PartiallyInvalid,
                    partial_reason(first),
                    format!("Dropped Rule: {}", list.join("; ")),
                )
            });
        }
        conditions
    }
}

/// `UnsupportedValue` is the reason of the specification; incompatible filters keep their more precise word.
fn partial_reason(problem: &Problem) -> Reason {
    match problem.reason {
        Reason::IncompatibleFilters => Reason::IncompatibleFilters,
        _ => Reason::UnsupportedValue,
    }
}
