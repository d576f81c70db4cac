//! Why a match did not win: the first thing that spoke against it.

use crate::address::{self, Host};
use crate::condition::{Facts, Unmet};
use crate::cors;
use crate::exchange::Exchange;
use crate::explain::{MAX_OTHERS, Other};
use crate::head::RequestHead;
use crate::paths::{MatchId, PathRule};
use crate::routing::{Candidate, Routing};

/// How near a match came; the nearest are told first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    LessSpecific,
    Condition,
    Path,
    Hostname,
}

/// All matches of the listener but the winner, nearest first, and how many were left out.
pub(super) fn others(exchange: &Exchange, head: &RequestHead<'_>) -> (Vec<Other>, usize) {
    let prepared = exchange.prepared();
    let routing = &prepared.routing;
    let (Some(listener), Ok(address)) = (exchange.listener, address::address(head)) else {
        return Default::default();
    };
    let preflight = cors::preflight(head).map(|asked| asked.method);
    let asked = Asked {
        routing,
        host: address.host.as_ref().map(Host::as_str),
        path: &address.path,
        facts: Facts { head, query: address.query, preflight },
    };
    let hosts = &routing.listeners[listener as usize].hosts;
    let mut found: Vec<(Distance, String, MatchId, String)> = Vec::new();
    let winner = exchange.matched.map(|id| {
        let names = hosts
            .iter()
            .filter(|(name, paths)| takes(name, asked.host) && paths.ids().any(|other| other == id));
        let hostname = names.map(|(name, _)| name).max_by_key(|name| rank(name)).unwrap_or_default();
        (id, hostname)
    });
    for (hostname, paths) in hosts.iter() {
        for id in paths.ids() {
            if winner.as_ref().is_some_and(|(won, name)| *won == id && *name == hostname) {
                continue;
            }
            let (distance, because) = asked.against(&hostname, id, winner.as_ref());
            found.push((distance, hostname.clone(), id, because));
        }
    }
    found.sort();
    let left_out = found.len().saturating_sub(MAX_OTHERS);
    let told = found.into_iter().take(MAX_OTHERS).map(|(_, hostname, id, because)| {
        let rule = routing.rule_of(id);
        let wants = format!("host {hostname}, {}", wants(&routing.matches[id as usize]));
        let route = rule.route.key.to_string();
        Other { route, rule: rule.label.to_string(), wants, because }
    });
    (told.collect(), left_out)
}

struct Asked<'a> {
    routing: &'a Routing,
    host: Option<&'a str>,
    path: &'a str,
    facts: Facts<'a>,
}

impl Asked<'_> {
    fn against(&self, hostname: &str, id: MatchId, winner: Option<&(MatchId, String)>) -> (Distance, String) {
        let candidate = &self.routing.matches[id as usize];
        if !takes(hostname, self.host) {
            return (
                Distance::Hostname,
                format!("hostname {hostname} does not take {}", self.host.unwrap_or("no host")),
            );
        }
        if !candidate.path.takes(self.path) {
            return (Distance::Path, format!("{} does not take {}", candidate.path, self.path));
        }
        let unmet = candidate.conditions.as_ref().and_then(|conditions| conditions.unmet(&self.facts));
        if let Some(unmet) = unmet {
            return (Distance::Condition, said(unmet));
        }
        let because = match winner {
            Some((won, name)) => self.less_specific(hostname, id, name, *won),
            None => "it takes the request".to_owned(),
        };
        (Distance::LessSpecific, because)
    }

    /// The first rule of precedence that decided between two matches that both take the request.
    fn less_specific(&self, hostname: &str, id: MatchId, won_hostname: &str, won: MatchId) -> String {
        let (candidate, winner) = (&self.routing.matches[id as usize], &self.routing.matches[won as usize]);
        let by = if rank(hostname) != rank(won_hostname) {
            format!("hostname {won_hostname} is more specific than {hostname}")
        } else if weight(&candidate.path) != weight(&winner.path) {
            format!("{} is more specific than {}", winner.path, candidate.path)
        } else if let Some(by) = winner.more_specific(candidate) {
            by.to_owned()
        } else {
            self.routing.tie(id, won).to_owned()
        };
        let rule = self.routing.rule_of(won);
        format!("less specific than {} rule {}: {by}", rule.route.key, rule.label)
    }
}

/// What a match asks for.
pub(super) fn wants(candidate: &Candidate) -> String {
    match &candidate.conditions {
        Some(conditions) => format!("{}{conditions}", candidate.path),
        None => candidate.path.to_string(),
    }
}

fn said(unmet: Unmet<'_>) -> String {
    match unmet {
        Unmet::Method(method) => format!("method is not {method}"),
        Unmet::Header(name) => format!("header {name} does not match"),
        Unmet::Query(name) => format!("query parameter {name} does not match"),
    }
}

/// Whether a hostname of the configuration takes a host.
fn takes(hostname: &str, host: Option<&str>) -> bool {
    match (hostname, host) {
        ("*", _) => true,
        (_, None) => false,
        (name, Some(host)) => match name.strip_prefix("*.") {
            Some(suffix) => {
                host.strip_suffix(suffix).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
            }
            None => name == host,
        },
    }
}

/// Exact before wildcard before any; longer before shorter.
fn rank(hostname: &str) -> (u8, usize) {
    match hostname {
        "*" => (0, 0),
        name if name.starts_with("*.") => (1, name.len()),
        name => (2, name.len()),
    }
}

/// Equal for paths between which precedence does not decide.
fn weight(path: &PathRule) -> (u8, usize) {
    match path {
        PathRule::Exact(_) => (0, 0),
        PathRule::Regex(pattern, _) => (1, pattern.len()),
        PathRule::Prefix(prefix) => (2, prefix.len()),
    }
}
