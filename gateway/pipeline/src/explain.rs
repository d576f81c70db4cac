//! The decision, told to people: what would happen to a request, and why nothing else.
//!
//! In: a described request. Out: the same steps that serve requests, taken without charging anything, with
//! the winner, everything in force for it, and for every other match of the listener why it did not win.
//! Never tells more about a credential than whom it belongs to.

mod render;
mod why_not;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use serde::{Deserialize, Serialize};

use crate::exchange::{Exchange, Step};
use crate::head::{Now, RequestHead, TlsHead};
use crate::prepare::Prepared;
use crate::rule::{Rule, Target};
use crate::steps::Call;
use crate::terms::Terms;

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainRequest {
    /// HTTP method.
    pub method: String,
    /// Absolute: `https://shop.example/orders?limit=1`.
    pub url: String,
    /// Name and value, credentials included.
    pub headers: Vec<(String, String)>,
    /// Port of the listener, when other than the URL's.
    pub listener_port: Option<u16>,
    /// Other end of the connection.
    pub client: IpAddr,
    /// When, seconds since 1970: keys and subscriptions may have ended.
    pub unix_s: i64,
}

impl Default for ExplainRequest {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            url: String::new(),
            headers: Vec::new(),
            listener_port: None,
            client: Ipv4Addr::LOCALHOST.into(),
            unix_s: 0,
        }
    }
}

/// Why a request cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// Not `http://host…` or `https://host…`.
    #[error("url {0:?} is not absolute: write http://host/path or https://host/path")]
    Url(String),
    /// Not a header field.
    #[error("header {0:?} is not valid: write a name and a value")]
    Header(String),
}

/// What would happen to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Version of the snapshot that was asked.
    pub version: String,
    /// `forward`, or the word of the reason for the answer.
    pub outcome: String,
    /// Status of an answer of the gateway's own.
    pub status: Option<u16>,
    /// Detail of a refusal, or the location of a redirect.
    pub detail: Option<String>,
    /// `namespace/gateway/listener` and its hostname.
    pub listener: Option<String>,
    /// `kind/namespace/name`.
    pub route: Option<String>,
    /// Name or position.
    pub rule: Option<String>,
    /// The match that won.
    pub matched: Option<String>,
    /// AuthPolicy in force.
    pub auth: Option<String>,
    /// Who the credential belongs to.
    pub consumer: Option<String>,
    /// ApiProduct of the rule.
    pub product: Option<String>,
    /// Subscription in use.
    pub subscription: Option<String>,
    /// Its plan.
    pub plan: Option<String>,
    /// Rates and quotas that would be charged.
    pub limits: Vec<String>,
    /// Backends with their share of requests.
    pub backends: Vec<String>,
    /// Path and query that the upstream sees.
    pub upstream_target: Option<String>,
    /// Other matches of the listener, nearest first, at most [`MAX_OTHERS`].
    pub others: Vec<Other>,
    /// How many more there are.
    pub others_left_out: usize,
}

/// Matches that are told about.
pub const MAX_OTHERS: usize = 100;

/// A match that did not win.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// `kind/namespace/name`.
    pub route: String,
    /// Name or position.
    pub rule: String,
    /// What it asks for.
    pub wants: String,
    /// The first thing that spoke against it.
    pub because: String,
}

/// Takes the steps of a request without charging anything.
///
/// # Errors
/// The request is not one.
pub fn explain(prepared: &Arc<Prepared>, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    let (https, authority) = split(&request.url)?;
    let headers = fields(request, authority)?;
    let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let (name, port) = host.map_or((authority, None), |(name, port)| (name, port.parse().ok()));
    let port = port.unwrap_or(if https { 443 } else { 80 });
    let head = RequestHead {
        method: &request.method,
        target: request.url.as_bytes(),
        authority: None,
        version: Version::HTTP_11,
        headers: &headers,
        peer: request.client,
        listener_port: request.listener_port.unwrap_or(port),
        local_port: port,
        tls: https.then_some(TlsHead { server_name: Some(name) }),
        request_id: 0,
        random: 0,
    };
    let now = Now { mono_ns: 0, unix_us: request.unix_s.saturating_mul(1_000_000) };
    Ok(told(prepared, &head, now))
}

fn told(prepared: &Arc<Prepared>, head: &RequestHead<'_>, now: Now) -> Explanation {
    let mut exchange = Exchange::new(prepared, head, now);
    let decision = exchange.decide(head, now, Call::Rehearsal);
    let mut explanation = Explanation { version: prepared.version().to_owned(), ..Explanation::default() };
    match decision {
        Ok(Step::Answer(response)) => {
            explanation.outcome = exchange.reason().to_string();
            explanation.status = Some(response.status.as_u16());
            let location = response.headers.get(header::LOCATION);
            explanation.detail = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        }
        Ok(_) => "forward".clone_into(&mut explanation.outcome),
        Err(refusal) => {
            explanation.outcome = refusal.reason.to_string();
            explanation.status = refusal.reason.status();
            explanation.detail = Some(refusal.detail.into_owned());
        }
    }
    explanation.describe(&exchange, head);
    explanation
}

impl Explanation {
    fn describe(&mut self, exchange: &Exchange, head: &RequestHead<'_>) {
        let prepared = exchange.prepared();
        let (routing, callers) = (&prepared.routing, &prepared.callers);
        if let Some(listener) = exchange.listener.map(|at| &routing.listeners[at as usize]) {
            let hostname = listener.hostname.as_deref().unwrap_or("*");
            self.listener = Some(format!("{} ({hostname})", listener.key));
        }
        if let Some(rule) = exchange.rule() {
            self.describe_rule(exchange, rule);
        }
        self.matched = exchange.matched.map(|id| why_not::wants(&routing.matches[id as usize]));
        self.consumer = exchange.consumer().map(str::to_owned);
        if let Some(subscription) = exchange.subscription.map(|at| &callers.subscriptions[at as usize]) {
            self.subscription = Some(subscription.key.to_string());
            let plan = &callers.plans[subscription.plan as usize];
            self.plan = Some(plan.key.to_string());
            self.limits.extend(limits(&plan.terms));
        }
        (self.others, self.others_left_out) = why_not::others(exchange, head);
    }

    fn describe_rule(&mut self, exchange: &Exchange, rule: &Rule) {
        let prepared = exchange.prepared();
        self.route = Some(rule.route.key.to_string());
        self.rule = Some(rule.label.to_string());
        self.auth = rule.auth.map(|at| prepared.policies.auth[at as usize].key.to_string());
        self.product = rule.product.map(|at| prepared.callers.products[at as usize].key.to_string());
        let rates = rule.rates.iter().map(|at| &prepared.policies.rates[*at as usize]);
        let quotas = rule.quotas.iter().map(|at| &prepared.policies.quotas[*at as usize]);
        for counted in rates.chain(quotas) {
            self.limits.extend(limits(&counted.terms).map(|limit| format!("{limit} ({})", counted.key)));
        }
        let total = rule.backends.total();
        for choice in rule.backends.iter() {
            let share = (u64::from(choice.weight) * 100).checked_div(total).unwrap_or(0);
            self.backends.push(match &choice.to {
                Target::Backend(id) => {
                    let backend = &prepared.backends()[id.index()];
                    format!("{} {share}% ({} endpoints)", backend.key, backend.endpoints.len())
                }
                Target::Invalid(why) => format!("invalid {share}%: {why}"),
            });
        }
        if exchange.choice.is_some() {
            self.upstream_target = exchange.upstream_target().map(str::to_owned);
        }
    }
}

fn limits(terms: &Terms) -> impl Iterator<Item = String> {
    let rates = terms.rates.iter().map(|term| {
        let (rate, period) = (&term.rate, term.rate.period());
        format!("{}: {} requests per {period:?}, burst {}", term.id, rate.units(), rate.burst())
    });
    let quotas = terms.quotas.iter().map(|term| {
        let unit = if term.bytes { "bytes" } else { "requests" };
        let ceiling = if term.observe { "any number of".to_owned() } else { term.ceiling.to_string() };
        format!("{}: {ceiling} {unit} per window", term.id)
    });
    rates.chain(quotas)
}

fn split(url: &str) -> Result<(bool, &str), ExplainError> {
    let bad = || ExplainError::Url(url.chars().take(200).collect());
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(bad()),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() { Err(bad()) } else { Ok((https, authority)) }
}

fn fields(request: &ExplainRequest, authority: &str) -> Result<HeaderMap, ExplainError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let bad = || ExplainError::Header(name.clone());
        let name = HeaderName::try_from(name).map_err(|_| bad())?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| bad())?);
    }
    if !headers.contains_key(header::HOST) {
        let host = HeaderValue::try_from(authority).map_err(|_| ExplainError::Url(request.url.clone()))?;
        headers.insert(header::HOST, host);
    }
    Ok(headers)
}
