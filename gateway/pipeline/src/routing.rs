//! Listeners and routes as look-up tables.
//!
//! In: the listeners and routes of a snapshot. Out: for a port and host the listener; for a listener, host and
//! path the winning match. Precedence is Gateway API's (HTTPRouteRule): the most specific hostname, then the
//! path, then a method, more header conditions, more query conditions, the older route, the name, the order
//! of rules. A hostname whose routes do not take the request leaves it to the next less specific one.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};

use analytics_record::NameId;
use gateway_snapshot::{ListenerProtocol, PathMatch};
use hashbrown::HashMap;

use crate::callers::positions;
use crate::condition::{Conditions, Facts};
use crate::hosts::HostIndex;
use crate::path;
use crate::paths::{MatchId, PathIndex, PathRule};
use crate::prepare::{Context, References};
use crate::rule::Rule;

#[derive(Default)]
pub(crate) struct Routing {
    ports: HashMap<(u16, bool), HostIndex<u32>>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) matches: Vec<Candidate>,
}

pub(crate) struct Listener {
    pub(crate) key: Box<str>,
    pub(crate) hostname: Option<Box<str>>,
    pub(crate) gateway: NameId,
    pub(crate) name: NameId,
    pub(crate) hosts: HostIndex<PathIndex>,
}

pub(crate) struct Route {
    pub(crate) key: Box<str>,
    /// `namespace/name`, by which equals are ordered.
    pub(crate) title: Box<str>,
    pub(crate) name: NameId,
    created: i64,
}

/// One match of one rule.
pub(crate) struct Candidate {
    pub(crate) rule: u32,
    pub(crate) path: PathRule,
    pub(crate) conditions: Option<Box<Conditions>>,
    order: Order,
}

/// How much a match asks for besides its path; more is more specific.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    method: bool,
    headers: u16,
    query: u16,
}

impl Routing {
    pub(crate) fn new(context: &mut Context<'_>) -> Self {
        let mut routing = Self::default();
        routing.add_listeners(context);
        let references = References::new(context.snapshot);
        let listeners = positions(context.snapshot.listeners.keys());
        for (key, route) in &context.snapshot.routes {
            let first = routing.matches.len() as u32;
            routing.add_route(context, &references, key, route);
            let ids = first..routing.matches.len() as u32;
            for attachment in &route.attachments {
                // `lint` has checked that the listener exists.
                routing.attach(listeners[attachment.listener.as_str()], &attachment.hostnames, ids.clone());
            }
        }
        routing.sort();
        routing
    }

    fn add_listeners(&mut self, context: &mut Context<'_>) {
        for (key, found) in &context.snapshot.listeners {
            let index = self.listeners.len() as u32;
            let port = (found.port, found.protocol == ListenerProtocol::Https);
            // Of two listeners for one host the first by name serves; the compiler reports the conflict.
            self.ports.entry(port).or_default().entry(found.hostname.as_deref(), || index);
            self.listeners.push(Listener {
                key: key.as_str().into(),
                hostname: found.hostname.as_deref().map(Box::from),
                gateway: context.name(&found.gateway),
                name: context.name(&found.name),
                hosts: HostIndex::default(),
            });
        }
    }

    fn add_route(
        &mut self,
        context: &mut Context<'_>,
        references: &References<'_>,
        key: &str,
        route: &gateway_snapshot::Route,
    ) {
        let index = self.routes.len() as u32;
        self.routes.push(Route {
            key: key.into(),
            title: route.name.as_str().into(),
            name: context.name(&route.name),
            created: route.created,
        });
        for position in 0..route.rules.len() {
            let added = Rule::new(context, references, (index, route), position)
                .and_then(|rule| self.add_rule(context, rule, &route.rules[position]));
            if let Err(problem) = added {
                context.fault(format!("route {key} rule {position}"), problem);
            }
        }
    }

    fn add_rule(
        &mut self,
        context: &mut Context<'_>,
        rule: Rule,
        written: &gateway_snapshot::Rule,
    ) -> Result<(), String> {
        let preflights = rule.filters.cors.is_some();
        for found in &written.matches {
            // Requests with such a path are refused before routing: the match takes nothing.
            let Some(path) = path_rule(&found.path, context)? else { continue };
            self.matches.push(Candidate {
                rule: self.rules.len() as u32,
                path,
                conditions: Conditions::new(found, preflights, &mut context.patterns)?,
                order: Order {
                    method: found.method.is_some(),
                    headers: found.headers.len() as u16,
                    query: found.query.len() as u16,
                },
            });
        }
        self.rules.push(rule);
        Ok(())
    }

    fn attach(&mut self, listener: u32, hostnames: &[String], ids: std::ops::Range<MatchId>) {
        let hosts = &mut self.listeners[listener as usize].hosts;
        let names = hostnames.iter().map(|name| Some(name.as_str()));
        let any = hostnames.is_empty().then_some(None);
        for hostname in names.chain(any) {
            let paths = hosts.entry(hostname, PathIndex::default);
            for id in ids.clone() {
                paths.insert(&self.matches[id as usize].path, id);
            }
        }
    }

    fn sort(&mut self) {
        let (matches, rules, routes) = (&self.matches, &self.rules, &self.routes);
        for listener in &mut self.listeners {
            for paths in listener.hosts.values_mut() {
                paths.sort(|a, b| precedence((matches, rules, routes), a, b));
            }
        }
    }

    /// The listener for a host on a port: exact name, longest wildcard, any.
    pub(crate) fn listener(&self, port: u16, https: bool, host: Option<&str>) -> Option<u32> {
        self.ports.get(&(port, https))?.serving(host).next().copied()
    }

    /// The winning match on a listener.
    pub(crate) fn find(
        &self,
        listener: u32,
        host: Option<&str>,
        path: &str,
        facts: &Facts<'_>,
    ) -> Option<MatchId> {
        let holds = |id: MatchId| {
            let conditions = &self.matches[id as usize].conditions;
            conditions.as_ref().is_none_or(|conditions| conditions.unmet(facts).is_none())
        };
        self.listeners[listener as usize].hosts.serving(host).find_map(|paths| paths.find(path, holds))
    }

    pub(crate) fn rule_of(&self, id: MatchId) -> &Rule {
        &self.rules[self.matches[id as usize].rule as usize]
    }

    pub(crate) fn route_of(&self, rule: &Rule) -> &Route {
        &self.routes[rule.route as usize]
    }
}

impl Routing {
    /// What decides between two matches that ask for equally much.
    pub(crate) fn tie(&self, id: MatchId, won: MatchId) -> &'static str {
        let (rule, winner) = (self.rule_of(id), self.rule_of(won));
        let (route, winning) = (self.route_of(rule), self.route_of(winner));
        if route.created != winning.created {
            "that route is older"
        } else if route.key != winning.key {
            "that route's name comes first"
        } else {
            "that rule comes first in the route"
        }
    }
}

impl Candidate {
    /// In what this match asks for more than another of the same path.
    pub(crate) fn more_specific(&self, other: &Self) -> Option<&'static str> {
        let (own, others) = (self.order, other.order);
        if own.method != others.method {
            Some("it has a method")
        } else if own.headers != others.headers {
            Some("it has more header conditions")
        } else if own.query != others.query {
            Some("it has more query conditions")
        } else {
            None
        }
    }
}

/// Order of two matches of one path: the winner is less.
fn precedence(
    (matches, rules, routes): (&[Candidate], &[Rule], &[Route]),
    a: MatchId,
    b: MatchId,
) -> Ordering {
    let key = |id: MatchId| {
        let candidate = &matches[id as usize];
        let rule = &rules[candidate.rule as usize];
        let route = &routes[rule.route as usize];
        (Reverse(candidate.order), route.created, &route.title, &route.key, rule.position, id)
    };
    key(a).cmp(&key(b))
}

/// The canonical condition; nothing when no request can have such a path.
fn path_rule(found: &PathMatch, context: &mut Context<'_>) -> Result<Option<PathRule>, String> {
    let canonical = |text: &str| path::canonical(text.as_bytes()).ok().map(Cow::into_owned);
    Ok(match found {
        PathMatch::Exact(text) => canonical(text).map(|path| PathRule::Exact(path.into())),
        PathMatch::Prefix(text) => {
            canonical(text).map(|path| PathRule::Prefix(path.trim_end_matches('/').into()))
        }
        PathMatch::Regex(pattern) => {
            let regex = context.patterns.regex(pattern)?;
            Some(PathRule::Regex(pattern.as_str().into(), regex))
        }
    })
}
