//! Broken invariants of a snapshot. The compiler never makes one; the operator asks before publishing and
//! the gateway before swapping, so that a bug or a damaged file is refused by name instead of being served.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use gateway_quota::rate::Rate;

use crate::{BackendRef, Entries, FORMAT, Filter, ListenerProtocol, Route, RouteKind, Rule, Snapshot};

/// One broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind and key of the entry.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.problem)
    }
}

/// All broken invariants, in a stable order; empty when the snapshot can be served.
pub fn lint(snapshot: &Snapshot) -> Vec<Finding> {
    let mut report = Report { snapshot, findings: lint_but_callers(snapshot) };
    report.limits();
    report.subscriptions();
    report.findings
}

/// Those that do not lie in what [`Snapshot::callers_hash`] names alone: enough where that is known to be sound.
pub fn lint_but_callers(snapshot: &Snapshot) -> Vec<Finding> {
    let mut report = Report::of_processes(snapshot);
    snapshot.routes.iter().for_each(|(key, route)| report.route(key, route));
    report.findings
}

/// The same as [`lint`], in time that depends on what differs from `before`, which is sound.
pub fn lint_after(before: &Snapshot, snapshot: &Snapshot) -> Vec<Finding> {
    if loses_references(before, snapshot) || before.callers_hash() != snapshot.callers_hash() {
        return lint(snapshot);
    }
    let mut report = Report::of_processes(snapshot);
    before.routes.compare(&snapshot.routes, |key, _, is| {
        if let Some(route) = is {
            report.route(key, route);
        }
    });
    report.findings
}

/// Whether an entry is gone that a route may refer to.
fn loses_references(before: &Snapshot, snapshot: &Snapshot) -> bool {
    fn loses<V>(before: &Entries<V>, now: &Entries<V>) -> bool {
        let mut lost = false;
        before.compare(now, |_, _, is| lost |= is.is_none());
        lost
    }
    // The others are among the callers.
    loses(&before.listeners, &snapshot.listeners) || loses(&before.backends, &snapshot.backends)
}

struct Report<'a> {
    snapshot: &'a Snapshot,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// With what is wrong outside of routes and callers.
    fn of_processes(snapshot: &'a Snapshot) -> Self {
        let mut report = Self { snapshot, findings: Vec::new() };
        if snapshot.format != FORMAT {
            report.add("snapshot", format!("format is {}, this gateway reads {FORMAT}", snapshot.format));
        }
        report.settings();
        report.listeners();
        report.certificates();
        report
    }
}

impl Report<'_> {
    /// Names of objects are written when something is wrong with them, and only then.
    fn add(&mut self, object: impl Display, problem: impl Into<String>) {
        self.findings.push(Finding { object: object.to_string(), problem: problem.into() });
    }

    fn settings(&mut self) {
        let settings = &self.snapshot.settings;
        let sizes = [
            (u64::from(settings.max_connections), "max_connections"),
            (u64::from(settings.max_header_bytes), "max_header_bytes"),
            (u64::from(settings.max_headers), "max_headers"),
            (u64::from(settings.max_uri_bytes), "max_uri_bytes"),
            (settings.header_timeout_ms, "header_timeout_ms"),
            (settings.idle_timeout_ms, "idle_timeout_ms"),
            (settings.connect_timeout_ms, "connect_timeout_ms"),
        ];
        for (_, name) in sizes.into_iter().filter(|(size, _)| *size == 0) {
            self.add("settings", format!("{name} is 0"));
        }
    }

    fn certificates(&mut self) {
        for (key, certificate) in &self.snapshot.certificates {
            if certificate.chain.is_empty() || certificate.key.is_empty() {
                self.add(format_args!("certificate {key}"), "chain or key is missing");
            }
        }
    }

    fn limits(&mut self) {
        let snapshot = self.snapshot;
        let plans = snapshot.plans.iter().map(|(key, plan)| (format!("plan {key}"), &plan.limits));
        let policies = snapshot
            .quota_policies
            .iter()
            .map(|(key, policy)| (format!("quota policy {key}"), &policy.limits));
        let mut ids = BTreeSet::new();
        for (object, limit) in plans
            .chain(policies)
            .flat_map(|(object, limits)| limits.iter().map(move |limit| (object.clone(), limit)))
        {
            if let Err(error) = limit.validate() {
                self.add(&object, error.to_string());
            }
            if !ids.insert(&limit.id) {
                self.add(&object, format!("limit {} is there twice", limit.id));
            }
        }
        let rates = snapshot.plans.iter().flat_map(|(key, plan)| {
            plan.rates
                .iter()
                .map(move |rate| (format!("plan {key}"), rate.requests, rate.period_ms, rate.burst))
        });
        let policies = snapshot.rate_limit_policies.iter().map(|(key, policy)| {
            (format!("rate limit policy {key}"), policy.requests, policy.period_ms, policy.burst)
        });
        for (object, requests, period_ms, burst) in rates.chain(policies) {
            if let Err(error) = Rate::new(requests, Duration::from_millis(period_ms), burst) {
                self.add(&object, error.to_string());
            }
        }
    }

    fn listeners(&mut self) {
        let mut ports = BTreeMap::new();
        for (key, listener) in &self.snapshot.listeners {
            let object = format_args!("listener {key}");
            if (listener.protocol == ListenerProtocol::Https) != listener.tls.is_some() {
                self.add(object, "protocol and tls do not agree");
            }
            if let Some(tls) = listener.tls.as_ref().filter(|_| listener.port != 0)
                && *ports.entry(listener.port).or_insert(&tls.callers) != &tls.callers
            {
                self.add(object, "other certificates of callers than its port's first listener");
            }
            for certificate in listener.certificates() {
                if !self.snapshot.certificates.contains_key(certificate) {
                    self.add(object, format!("certificate {certificate} is missing"));
                }
            }
        }
    }

    fn route(&mut self, key: &str, route: &Route) {
        let object = format_args!("route {key}");
        let kind = match route.kind {
            RouteKind::Http => "httproute/",
            RouteKind::Grpc => "grpcroute/",
        };
        if !key.strip_prefix(kind).is_some_and(|rest| rest.starts_with(&route.name)) {
            self.add(object, "its key does not begin with its kind and name");
        }
        for attachment in &route.attachments {
            if !self.snapshot.listeners.contains_key(&attachment.listener) {
                self.add(object, format!("listener {} is missing", attachment.listener));
            }
        }
        for (index, rule) in route.rules.iter().enumerate() {
            self.rule(&format_args!("{object} rule {index}"), rule);
        }
    }

    fn rule(&mut self, object: &dyn Display, rule: &Rule) {
        if rule.matches.is_empty() {
            self.add(object, "no match");
        }
        if rule.retry.as_ref().is_some_and(|retry| retry.codes.iter().any(|code| !(100..=599).contains(code)))
        {
            self.add(object, "a retry code is no status");
        }
        for choice in &rule.backends {
            self.backend(object, &choice.backend);
            self.filters(object, &choice.filters);
        }
        self.filters(object, &rule.filters);
        let snapshot = self.snapshot;
        for key in rule.auth.iter().filter(|key| !snapshot.auth_policies.contains_key(key)) {
            self.add(object, format!("auth policy {key} is missing"));
        }
        for key in rule.rate_limits.iter().filter(|key| !snapshot.rate_limit_policies.contains_key(key)) {
            self.add(object, format!("rate limit policy {key} is missing"));
        }
        for key in rule.quotas.iter().filter(|key| !snapshot.quota_policies.contains_key(key)) {
            self.add(object, format!("quota policy {key} is missing"));
        }
        for key in rule.product.iter().filter(|key| !snapshot.products.contains_key(key)) {
            self.add(object, format!("product {key} is missing"));
        }
    }

    fn filters(&mut self, object: &dyn Display, filters: &[Filter]) {
        for filter in filters {
            if let Filter::Mirror(mirror) = filter {
                self.backend(object, &mirror.backend);
                if mirror.denominator == 0 {
                    self.add(object, "mirror denominator is 0");
                }
            }
        }
    }

    fn backend(&mut self, object: &dyn Display, backend: &BackendRef) {
        if let BackendRef::To(key) = backend
            && !self.snapshot.backends.contains_key(key)
        {
            self.add(object, format!("backend {key} is missing"));
        }
    }

    fn subscriptions(&mut self) {
        for (key, subscription) in &self.snapshot.subscriptions {
            let object = format_args!("subscription {key}");
            if !self.snapshot.consumers.contains_key(&subscription.consumer) {
                self.add(object, format!("consumer {} is missing", subscription.consumer));
            }
            if !self.snapshot.plans.contains_key(&subscription.plan) {
                self.add(object, format!("plan {} is missing", subscription.plan));
            }
        }
    }
}

#[cfg(test)]
mod tests;
