//! Listeners and routes as look-up tables.
//!
//! In: the listeners and routes of a snapshot. Out: for a port and host the listener; for a listener, host and
//! path the winning match. Precedence is Gateway API's (HTTPRouteRule): the most specific hostname, then the
//! path, then a method, more header conditions, more query conditions, the older route, the name, the order
//! of rules. A hostname whose routes do not take the request leaves it to the next less specific one.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::cmp::{Ordering, Reverse};
use std::ops::Range;
use std::sync::Arc;

use analytics_record::NameId;
use gateway_snapshot::{ListenerProtocol, PathMatch, Shared};
use hashbrown::HashMap;

use crate::callers::positions;
use crate::condition::{Conditions, Facts};
use crate::hosts::HostIndex;
use crate::path;
use crate::paths::{MatchId, PathIndex, PathRule};
use crate::prepare::{Context, References};
use crate::rule::Rule;

#[derive(Clone, Default)]
pub(crate) struct Routing {
    ports: HashMap<(u16, bool), HostIndex<u32>>,
    pub(crate) listeners: Vec<Listener>,
    /// Those of one route stand together, in the order of its rules.
    pub(crate) matches: Vec<Arc<Candidate>>,
    /// Of them, those whose route is no more.
    stale: usize,
    /// In the order of their keys.
    routes: Vec<Arc<Placed>>,
    /// Hashes of the settings and keys that rules were made with, and of the listeners.
    basis: [u64; 2],
}

/// Where a route is to be found.
struct Placed {
    head: Arc<RouteHead>,
    /// Of the route as it is written.
    hash: u64,
    matches: Range<MatchId>,
    at: Places,
}

/// Listeners, each with a hostname; none: any.
type Places = Box<[(u32, Option<Box<str>>)]>;

#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) key: Arc<str>,
    pub(crate) hostname: Option<Arc<str>>,
    pub(crate) gateway: NameId,
    pub(crate) name: NameId,
    pub(crate) hosts: HostIndex<Arc<PathIndex>>,
}

/// What the rules of a route have in common.
pub(crate) struct RouteHead {
    pub(crate) key: Box<str>,
    /// `namespace/name`, by which equals are ordered.
    pub(crate) title: Box<str>,
    pub(crate) name: NameId,
    created: i64,
}

/// One match of one rule.
pub(crate) struct Candidate {
    pub(crate) rule: Arc<Rule>,
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
    /// Made of `previous` where that can be: then only routes that differ cost more than a look.
    pub(crate) fn new(context: &mut Context<'_>, previous: Option<&Self>) -> Self {
        let snapshot = context.snapshot;
        let basis = [snapshot.references_hash(), snapshot.listeners.hash()];
        let mut routing = previous
            .filter(|previous| previous.leads_to(basis))
            .cloned()
            .unwrap_or_else(|| Self::of_listeners(context, basis));
        let mut before = std::mem::take(&mut routing.routes).into_iter().peekable();
        let references = LazyCell::new(|| References::new(snapshot));
        let listeners = LazyCell::new(|| positions(snapshot.listeners.keys()));
        for (key, route) in snapshot.routes.iter_shared() {
            while let Some(gone) = before.next_if(|known| *known.head.key < **key) {
                routing.take_out(&gone);
            }
            let known = before.next_if(|known| *known.head.key == **key);
            if let Some(same) = known.as_ref().filter(|known| known.hash == route.hash()) {
                routing.routes.push(Arc::clone(same));
                continue;
            }
            if let Some(other) = known {
                routing.take_out(&other);
            }
            routing.add_route(context, &references, places(route, &listeners), (key, route));
        }
        before.for_each(|gone| routing.take_out(&gone));
        routing
    }

    /// Whether the next one can be made of this: the same is referred to, and most of it is in use.
    fn leads_to(&self, basis: [u64; 2]) -> bool {
        self.basis == basis && self.stale <= self.matches.len() / 2
    }

    fn of_listeners(context: &mut Context<'_>, basis: [u64; 2]) -> Self {
        let mut routing = Self { basis, ..Self::default() };
        for (key, found) in &context.snapshot.listeners {
            let index = routing.listeners.len() as u32;
            let port = (found.port, found.protocol == ListenerProtocol::Https);
            // Of two listeners for one host the first by name serves; the compiler reports the conflict.
            routing.ports.entry(port).or_default().entry(found.hostname.as_deref(), || index);
            routing.listeners.push(Listener {
                key: key.as_str().into(),
                hostname: found.hostname.as_deref().map(Arc::from),
                gateway: context.name(&found.gateway),
                name: context.name(&found.name),
                hosts: HostIndex::default(),
            });
        }
        routing
    }

    fn add_route(
        &mut self,
        context: &mut Context<'_>,
        references: &References<'_>,
        at: Places,
        (key, route): (&str, &Shared<gateway_snapshot::Route>),
    ) {
        let head = Arc::new(RouteHead {
            key: key.into(),
            title: route.name.as_str().into(),
            name: context.name(&route.name),
            created: route.created,
        });
        let first = self.matches.len() as MatchId;
        for position in 0..route.rules.len() {
            let added = Rule::new(context, references, (&head, route), position)
                .and_then(|rule| self.add_rule(context, &Arc::new(rule), &route.rules[position]));
            if let Err(problem) = added {
                context.fault(format!("route {key} rule {position}"), problem);
            }
        }
        let matches = first..self.matches.len() as MatchId;
        let placed = Placed { head, hash: route.hash(), matches, at };
        self.visit(&placed, |paths, matches, id| {
            paths.insert(&matches[id as usize].path, id, |a, b| precedence(matches, a, b));
        });
        self.routes.push(Arc::new(placed));
    }

    fn take_out(&mut self, placed: &Placed) {
        self.visit(placed, |paths, matches, id| paths.remove(&matches[id as usize].path, id));
        self.stale += placed.matches.len();
    }

    /// The index of each hostname of a route, with each of its matches.
    fn visit(&mut self, placed: &Placed, mut change: impl FnMut(&mut PathIndex, &[Arc<Candidate>], MatchId)) {
        for (listener, hostname) in &placed.at {
            let paths = self.listeners[*listener as usize].hosts.entry(hostname.as_deref(), Arc::default);
            let paths = Arc::make_mut(paths);
            placed.matches.clone().for_each(|id| change(paths, &self.matches, id));
        }
    }

    fn add_rule(
        &mut self,
        context: &mut Context<'_>,
        rule: &Arc<Rule>,
        written: &gateway_snapshot::Rule,
    ) -> Result<(), String> {
        let preflights = rule.filters.cors.is_some();
        for found in &written.matches {
            // Requests with such a path are refused before routing: the match takes nothing.
            let Some(path) = path_rule(&found.path, context)? else { continue };
            self.matches.push(Arc::new(Candidate {
                rule: Arc::clone(rule),
                path,
                conditions: Conditions::new(found, preflights, &mut context.patterns)?,
                order: Order {
                    method: found.method.is_some(),
                    headers: found.headers.len() as u16,
                    query: found.query.len() as u16,
                },
            }));
        }
        Ok(())
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
        &self.matches[id as usize].rule
    }
}

impl Routing {
    /// What decides between two matches that ask for equally much.
    pub(crate) fn tie(&self, id: MatchId, won: MatchId) -> &'static str {
        let (rule, winner) = (self.rule_of(id), self.rule_of(won));
        let (route, winning) = (&rule.route, &winner.route);
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

/// The listeners and hostnames of a route. `lint` has checked that the listeners exist.
fn places(route: &gateway_snapshot::Route, listeners: &HashMap<&str, u32>) -> Places {
    let places = route.attachments.iter().flat_map(|attachment| {
        let listener = listeners[attachment.listener.as_str()];
        let any = attachment.hostnames.is_empty().then_some(None);
        let names = attachment.hostnames.iter().map(|name| Some(name.as_str().into()));
        names.chain(any).map(move |hostname| (listener, hostname))
    });
    places.collect()
}

/// Order of two matches of one path: the winner is less.
fn precedence(matches: &[Arc<Candidate>], a: MatchId, b: MatchId) -> Ordering {
    let key = |id: MatchId| {
        let candidate = &matches[id as usize];
        let (rule, route) = (&candidate.rule, &candidate.rule.route);
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
