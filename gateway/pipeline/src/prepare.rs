//! A snapshot made ready to serve: everything sorted, compiled and indexed once, so that a request parses
//! nothing and allocates nothing.
//!
//! In: a snapshot, what was prepared before it, and a way to name things in records. Out: [`Prepared`], or the
//! findings for which the snapshot cannot be served. Never changes after it is made, but for the buckets and
//! slots inside it, which are shared with the preparation that follows.

use std::sync::Arc;

use analytics_record::NameId;
use gateway_quota::LimitId;
use gateway_snapshot::{
    BackendProtocol, BackendTls, Endpoint, Finding, Key, Settings, Snapshot, lint, lint_but_callers, regex_of,
};
use hashbrown::HashMap;
use regex::Regex;

use crate::callers::{Callers, Groups, positions};
use crate::policies::Policies;
use crate::routing::Routing;

/// A snapshot ready to serve. One request uses one of these from start to end.
pub struct Prepared {
    version: String,
    settings: Settings,
    backends: Vec<Backend>,
    pub(crate) routing: Routing,
    /// Callers and policies together number the groups, and go together from one preparation to the next.
    pub(crate) callers: Arc<Callers>,
    pub(crate) policies: Arc<Policies>,
    /// Hash of what they were made of.
    callers_hash: u64,
}

/// Where requests can go. The shell keeps its connections in the order of [`Prepared::backends`].
#[derive(Debug, Clone)]
pub struct Backend {
    /// Key in the snapshot.
    pub key: Key,
    /// The key's id in records.
    pub name: NameId,
    /// Ready endpoints; none: 503.
    pub endpoints: Vec<Endpoint>,
    /// What they speak.
    pub protocol: BackendProtocol,
    /// TLS towards them.
    pub tls: Option<BackendTls>,
}

/// Index into [`Prepared::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId(pub(crate) u32);

impl BackendId {
    /// The index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Prepared {
    /// Prepares a snapshot. `previous` hands its token buckets and quota slots over, by the ids of their
    /// limits, so that a reload resets nothing. `intern` names an entry for records.
    ///
    /// # Errors
    /// Everything for which the snapshot cannot be served; then the previous one stays in use.
    pub fn new(
        snapshot: &Snapshot,
        previous: Option<&Self>,
        intern: &mut dyn FnMut(&str) -> NameId,
    ) -> Result<Self, Vec<Finding>> {
        let callers_hash = snapshot.callers_hash();
        let same = previous.filter(|old| old.callers_hash == callers_hash);
        let findings = if same.is_some() { lint_but_callers(snapshot) } else { lint(snapshot) };
        if !findings.is_empty() {
            return Err(findings);
        }
        let mut context = Context { snapshot, intern, patterns: Patterns::default(), findings };
        let backends = backends(&mut context);
        let (callers, policies) = match same {
            Some(same) => (Arc::clone(&same.callers), Arc::clone(&same.policies)),
            None => callers(&mut context, previous),
        };
        let routing = Routing::new(&mut context, previous.map(|old| &old.routing));
        if !context.findings.is_empty() {
            return Err(context.findings);
        }
        let (version, settings) = (snapshot.version.clone(), snapshot.settings.clone());
        Ok(Self { version, settings, backends, routing, callers, policies, callers_hash })
    }

    /// Version of the snapshot.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Limits and behaviour of the process.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All backends; [`BackendId`]s index this.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Every quota limit in use, for `Holder::retain`. May name one twice.
    pub fn limits(&self) -> impl Iterator<Item = &LimitId> {
        let plans = self.callers.plans.iter().map(|plan| &plan.terms);
        plans.chain(self.policies.terms()).flat_map(|terms| terms.quotas.iter().map(|term| &term.id))
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What every step of the preparation needs.
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    intern: &'a mut dyn FnMut(&str) -> NameId,
    pub(crate) patterns: Patterns,
    findings: Vec<Finding>,
}

impl Context<'_> {
    pub(crate) fn name(&mut self, text: &str) -> NameId {
        (self.intern)(text)
    }

    pub(crate) fn fault(&mut self, object: String, problem: String) {
        self.findings.push(Finding { object, problem });
    }
}

/// Compiled regular expressions; equal patterns are compiled once.
#[derive(Default)]
pub(crate) struct Patterns(HashMap<Box<str>, Arc<Regex>>);

impl Patterns {
    pub(crate) fn regex(&mut self, pattern: &str) -> Result<Arc<Regex>, String> {
        if let Some(regex) = self.0.get(pattern) {
            return Ok(Arc::clone(regex));
        }
        let regex = regex_of(pattern).map_err(|error| format!("pattern {pattern:?}: {error}"))?;
        let regex = Arc::new(regex);
        self.0.insert(pattern.into(), Arc::clone(&regex));
        Ok(regex)
    }
}

/// Positions of the things that rules refer to; `lint` has checked that they exist.
pub(crate) struct References<'a> {
    pub(crate) backends: HashMap<&'a str, u32>,
    pub(crate) auth: HashMap<&'a str, u32>,
    pub(crate) rates: HashMap<&'a str, u32>,
    pub(crate) quotas: HashMap<&'a str, u32>,
    pub(crate) products: HashMap<&'a str, u32>,
}

impl<'a> References<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            backends: positions(snapshot.backends.keys()),
            auth: positions(snapshot.auth_policies.keys()),
            rates: positions(snapshot.rate_limit_policies.keys()),
            quotas: positions(snapshot.quota_policies.keys()),
            products: positions(snapshot.products.keys()),
        }
    }
}

fn callers(context: &mut Context<'_>, previous: Option<&Prepared>) -> (Arc<Callers>, Arc<Policies>) {
    let mut groups = Groups::default();
    let callers = Callers::new(context, &mut groups, previous.map(|old| &*old.callers));
    let policies = Policies::new(context, &mut groups, previous.map(|old| &*old.policies));
    (Arc::new(callers), Arc::new(policies))
}

fn backends(context: &mut Context<'_>) -> Vec<Backend> {
    let snapshot = context.snapshot;
    let backend = |(key, found): (&Key, &gateway_snapshot::Backend)| Backend {
        key: key.clone(),
        name: context.name(key),
        endpoints: found.endpoints.clone(),
        protocol: found.protocol,
        tls: found.tls.clone(),
    };
    snapshot.backends.iter().map(backend).collect()
}
