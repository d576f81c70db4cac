//! Listeners and routes as look-up tables.
//!
//! In: the listeners and routes of a snapshot. Out: for a port and host the listener; for a listener, host and
//! path the winning match. Precedence is Gateway API's (HTTPRouteRule): the most specific hostname, then the
//! path, then a method, more header conditions, more query conditions, the older route, the name, the order
//! of rules. A hostname whose routes do not take the request leaves it to the next less specific one.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

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
    /// Those of one route stand together. Shared with the preparations before and after this one.
    pub(crate) matches: Vec<Arc<Candidate>>,
    /// Routes with a match, by key.
    kept: Vec<Kept>,
    /// Of the settings and keys that rules were made with.
    references: u64,
}

/// What a route of the next snapshot may find here.
struct Kept {
    /// Of the route as it is written.
    hash: u64,
    matches: std::ops::Range<MatchId>,
}

pub(crate) struct Listener {
    pub(crate) key: Box<str>,
    pub(crate) hostname: Option<Box<str>>,
    pub(crate) gateway: NameId,
    pub(crate) name: NameId,
    pub(crate) hosts: HostIndex<PathIndex>,
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
    /// Routes that have not changed since `previous` are taken from it.
    pub(crate) fn new(context: &mut Context<'_>, previous: Option<&Self>) -> Self {
        let snapshot = context.snapshot;
        let mut routing = Self { references: snapshot.references_hash(), ..Self::default() };
        routing.add_listeners(context);
        let previous = previous.filter(|previous| previous.references == routing.references);
        let mut before = previous.into_iter().flat_map(Self::kept).peekable();
        let references = References::new(snapshot);
        let listeners = positions(snapshot.listeners.keys());
        for (key, route) in snapshot.routes.iter_shared() {
            let first = routing.matches.len() as u32;
            while before.next_if(|(known, _, _)| **known < **key).is_some() {}
            match before.next_if(|(known, hash, _)| **known == **key && *hash == route.hash()) {
                Some((_, _, matches)) => routing.matches.extend_from_slice(matches),
                None => routing.add_route(context, &references, key, route),
            }
            let ids = first..routing.matches.len() as u32;
            for attachment in &route.attachments {
                // `lint` has checked that the listener exists.
                routing.attach(listeners[attachment.listener.as_str()], &attachment.hostnames, ids.clone());
            }
            if !ids.is_empty() {
                routing.kept.push(Kept { hash: route.hash(), matches: ids });
            }
        }
        routing.sort();
        routing
    }

    /// Key, hash and matches of each route.
    fn kept(&self) -> impl Iterator<Item = (&str, u64, &[Arc<Candidate>])> {
        self.kept.iter().map(|kept| {
            let matches = &self.matches[kept.matches.start as usize..kept.matches.end as usize];
            (&*matches[0].rule.route.key, kept.hash, matches)
        })
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
        let head = Arc::new(RouteHead {
            key: key.into(),
            title: route.name.as_str().into(),
            name: context.name(&route.name),
            created: route.created,
        });
        for position in 0..route.rules.len() {
            let added = Rule::new(context, references, (&head, route), position)
                .and_then(|rule| self.add_rule(context, &Arc::new(rule), &route.rules[position]));
            if let Err(problem) = added {
                context.fault(format!("route {key} rule {position}"), problem);
            }
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
        for listener in &mut self.listeners {
            for paths in listener.hosts.values_mut() {
                paths.sort(|a, b| precedence(&self.matches, a, b));
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
