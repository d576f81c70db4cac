//! What a policy applies to.

use crds::conditions::Reason;
use crds::{PolicyTarget, gateway_api};

use crate::problem::Problem;
use crate::resources::{ObjectName, Resources};

/// A target that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A whole Gateway.
    Gateway(ObjectName),
    /// A listener of a Gateway.
    Listener(ObjectName, String),
    /// A whole route, by kind.
    Route(&'static str, ObjectName),
    /// A named rule of a route.
    Rule(&'static str, ObjectName, String),
}

/// A rule of a route as it is reached through one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) kind: &'static str,
    pub(crate) route: &'a ObjectName,
    pub(crate) rule: Option<&'a str>,
    pub(crate) gateway: &'a ObjectName,
    pub(crate) listener: &'a str,
}

impl Scope<'_> {
    /// Targets that take this rule in, the most specific first.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        let rule = self.rule.map(|rule| Target::Rule(self.kind, self.route.clone(), rule.to_owned()));
        rule.into_iter().chain([
            Target::Route(self.kind, self.route.clone()),
            Target::Listener(self.gateway.clone(), self.listener.to_owned()),
            Target::Gateway(self.gateway.clone()),
        ])
    }
}

/// The target that `raw` names in `namespace`.
pub(crate) fn find(resources: &Resources, namespace: &str, raw: &PolicyTarget) -> Result<Target, Problem> {
    let name = ObjectName { namespace: namespace.to_owned(), name: raw.name.clone() };
    let missing = |message: String| Problem { reason: Reason::TargetNotFound, message };
    let gone = || missing(format!("{} {name} does not exist; create it or correct the name", raw.kind));
    let sections: Vec<Option<&str>> = match (raw.group.as_str(), raw.kind.as_str()) {
        (gateway_api::GROUP, "Gateway") => {
            let gateway = resources.gateways.get(&name).ok_or_else(gone)?;
            gateway.spec.listeners.iter().map(|listener| Some(listener.name.as_str())).collect()
        }
        (gateway_api::GROUP, "HTTPRoute") => {
            let route = resources.http_routes.get(&name).ok_or_else(gone)?;
            route.spec.rules.iter().map(|rule| rule.name.as_deref()).collect()
        }
        (gateway_api::GROUP, "GRPCRoute") => {
            let route = resources.grpc_routes.get(&name).ok_or_else(gone)?;
            route.spec.rules.iter().map(|rule| rule.name.as_deref()).collect()
        }
        (group, kind) => {
            let message =
                format!("kind {kind} of group {group:?} is no target; use Gateway, HTTPRoute or GRPCRoute");
            return Err(Problem { reason: Reason::Invalid, message });
        }
    };
    let Some(section) = &raw.section_name else {
        return Ok(whole(&raw.kind, name));
    };
    if !sections.contains(&Some(section.as_str())) {
        let part = if raw.kind == "Gateway" { "listener" } else { "rule" };
        return Err(missing(format!("{} {name} has no {part} named {section}", raw.kind)));
    }
    Ok(match whole(&raw.kind, name) {
        Target::Gateway(name) => Target::Listener(name, section.clone()),
        Target::Route(kind, name) => Target::Rule(kind, name, section.clone()),
        other => other,
    })
}

fn whole(kind: &str, name: ObjectName) -> Target {
    match kind {
        "Gateway" => Target::Gateway(name),
        "GRPCRoute" => Target::Route("GRPCRoute", name),
        _ => Target::Route("HTTPRoute", name),
    }
}
