//! Builders for snapshots and requests, and a lease desk that answers at once.

#![expect(clippy::unwrap_used, clippy::option_option, reason = "builders of tests, as tests may")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use analytics_record::{NameId, Record};
use gateway_pipeline::{
    Exchange, HeaderSink, Lease, LeaseNeed, LocalResponse, Now, Outcome, Prepared, RequestHead, Step, TlsHead,
};
use gateway_quota::{
    Authority, AuthorityConfig, Holder, HolderConfig, Limit, Mode, Mono, Period, Slot, Unit, WindowSpec,
};
use gateway_snapshot::{
    ApiKeySource, Attachment, AuthPolicy, Backend, BackendChoice, BackendProtocol, BackendRef, Consumer,
    Credential, Endpoint, Listener, ListenerProtocol, Match, PathMatch, Plan, Product, Route, RouteKind,
    Rule, Snapshot, Stage, Subscription, SubscriptionState,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use sha2::{Digest, Sha256};

pub(crate) const NOON: i64 = 1_800_000_000;

pub(crate) fn at(mono_ms: u64) -> Now {
    Now { mono_ns: mono_ms * 1_000_000, unix_us: (NOON * 1000 + mono_ms as i64) * 1000 }
}

/// A snapshot with an HTTP listener on 80, an HTTPS listener on 443 and one backend, `shop/echo:80`.
pub(crate) fn shop() -> Snapshot {
    let mut snapshot =
        Snapshot { format: gateway_snapshot::FORMAT, version: "v1".into(), ..Snapshot::default() };
    listener(&mut snapshot, "http", 80, None);
    backend(&mut snapshot, "shop/echo:80");
    snapshot
}

pub(crate) fn listener(snapshot: &mut Snapshot, name: &str, port: u16, hostname: Option<&str>) -> String {
    let key = format!("shop/gw/{name}");
    let https = port == 443;
    let listener = Listener {
        gateway: "shop/gw".into(),
        name: name.into(),
        port,
        protocol: if https { ListenerProtocol::Https } else { ListenerProtocol::Http },
        hostname: hostname.map(str::to_owned),
        tls: https.then(|| gateway_snapshot::ListenerTls { certificates: vec![], callers: None }),
        client_certificate: None,
    };
    snapshot.listeners.insert(key.clone(), listener);
    key
}

pub(crate) fn backend(snapshot: &mut Snapshot, key: &str) {
    let endpoints = vec![Endpoint { host: "127.0.0.1".into(), port: 9000 }];
    let backend = Backend { endpoints, protocol: BackendProtocol::Http1, tls: None };
    snapshot.backends.insert(key.into(), backend);
}

/// A route on the HTTP listener.
pub(crate) fn route(snapshot: &mut Snapshot, name: &str, hostnames: &[&str], rules: Vec<Rule>) {
    route_on(snapshot, "shop/gw/http", name, hostnames, rules);
}

pub(crate) fn route_on(
    snapshot: &mut Snapshot,
    listener: &str,
    name: &str,
    hostnames: &[&str],
    rules: Vec<Rule>,
) {
    let hostnames = hostnames.iter().map(|name| (*name).to_owned()).collect();
    let route = Route {
        kind: RouteKind::Http,
        name: format!("shop/{name}"),
        created: 0,
        attachments: vec![Attachment { listener: listener.into(), hostnames }],
        rules,
    };
    snapshot.routes.insert(format!("httproute/shop/{name}"), route);
}

pub(crate) fn to(key: &str, weight: u32) -> BackendChoice {
    BackendChoice { backend: BackendRef::To(key.into()), weight, filters: vec![] }
}

pub(crate) fn rule(matches: Vec<Match>) -> Rule {
    Rule { matches, backends: vec![to("shop/echo:80", 1)], ..Rule::default() }
}

pub(crate) fn path(path: PathMatch) -> Match {
    Match { path, headers: vec![], query: vec![], method: None }
}

pub(crate) fn prefix(text: &str) -> Match {
    path(PathMatch::Prefix(text.into()))
}

pub(crate) fn exact(text: &str) -> Match {
    path(PathMatch::Exact(text.into()))
}

/// An AuthPolicy `shop/keys`: `X-API-Key`, then `Authorization: Bearer`, then the query, then a cookie.
pub(crate) fn keys() -> AuthPolicy {
    AuthPolicy {
        api_key: vec![
            ApiKeySource::Header { name: "x-api-key".into(), scheme: None },
            ApiKeySource::Header { name: "authorization".into(), scheme: Some("Bearer".into()) },
            ApiKeySource::Query { name: "key".into() },
            ApiKeySource::Cookie { name: "key".into() },
        ],
        allow_anonymous: false,
        groups: vec![],
        hide_credentials: false,
    }
}

/// A consumer `shop/NAME` whose key is `key-NAME`.
pub(crate) fn consumer(snapshot: &mut Snapshot, name: &str) {
    let sha256 = hex(&Sha256::digest(format!("key-{name}")));
    let credentials = vec![Credential::ApiKey { sha256, not_after: None }];
    let consumer = Consumer { groups: vec!["all".into(), name.into()], credentials, disabled: false };
    snapshot.consumers.insert(format!("shop/{name}"), consumer);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(crate) fn limit(id: &str, unit: Unit, quantity: u64) -> Limit {
    let window = WindowSpec::calendar(Period::Day, "UTC").unwrap();
    Limit { id: id.into(), unit, quantity, window, mode: Mode::Hard, thresholds: vec![] }
}

/// Product `shop/api`, plan `shop/gold` with the limits, and alice's subscription `shop/alice-gold`.
pub(crate) fn sell(snapshot: &mut Snapshot, limits: Vec<Limit>) {
    consumer(snapshot, "alice");
    snapshot.auth_policies.insert("shop/keys".into(), keys());
    let product = Product {
        stage: Stage::Published,
        deprecated_at: None,
        sunset_at: None,
        subscription_required: true,
    };
    snapshot.products.insert("shop/api".into(), product);
    snapshot.plans.insert("shop/gold".into(), Plan { rates: vec![], limits });
    let subscription = Subscription {
        consumer: "shop/alice".into(),
        product: "shop/api".into(),
        plan: "shop/gold".into(),
        state: SubscriptionState::Active,
        not_before: None,
        not_after: None,
    };
    snapshot.subscriptions.insert("shop/alice-gold".into(), subscription);
}

/// A rule of the product behind `shop/keys`.
pub(crate) fn sold(matches: Vec<Match>) -> Rule {
    Rule { auth: Some("shop/keys".into()), product: Some("shop/api".into()), ..rule(matches) }
}

/// Names of records: the id's text comes back by position.
#[derive(Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn intern(&mut self, name: &str) -> NameId {
        let at = self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        NameId(at as u32 + 2)
    }

    pub(crate) fn of(&self, id: NameId) -> &str {
        match id {
            NameId::NONE => "",
            NameId(at) => &self.0[at as usize - 2],
        }
    }
}

pub(crate) fn prepare(snapshot: &Snapshot) -> Arc<Prepared> {
    prepare_after(snapshot, None, &mut Names::default())
}

pub(crate) fn prepare_after(
    snapshot: &Snapshot,
    previous: Option<&Prepared>,
    names: &mut Names,
) -> Arc<Prepared> {
    match Prepared::new(snapshot, previous, &mut |name| names.intern(name)) {
        Ok(prepared) => Arc::new(prepared),
        Err(findings) => panic!("{findings:?}"),
    }
}

/// A request that owns its parts.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: Vec<u8>,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) port: u16,
    pub(crate) tls: Option<Option<String>>,
    pub(crate) peer: IpAddr,
    pub(crate) random: u64,
}

impl Request {
    /// `http://host/path?query`; the target is origin-form.
    pub(crate) fn get(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let (host, target) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        let https = scheme == "https";
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let name = host.split(':').next().unwrap_or_default().to_owned();
        Self {
            method: "GET".into(),
            target: target.into(),
            headers,
            version: Version::HTTP_11,
            port: if https { 443 } else { 80 },
            tls: https.then_some(Some(name)),
            peer: Ipv4Addr::new(192, 0, 2, 1).into(),
            random: 0,
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        self
    }

    pub(crate) fn key(self, name: &str) -> Self {
        self.header("x-api-key", &format!("key-{name}"))
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: &self.target,
            authority: None,
            version: self.version,
            headers: &self.headers,
            peer: self.peer,
            listener_port: self.port,
            local_port: self.port,
            tls: self.tls.as_ref().map(|name| TlsHead { server_name: name.as_deref() }),
            request_id: 7,
            random: self.random,
        }
    }

    pub(crate) fn begin(&self, prepared: &Arc<Prepared>, now: Now) -> (Exchange, Step) {
        let mut exchange = Exchange::new(prepared, &self.head(), now);
        let step = exchange.begin(&self.head(), now);
        (exchange, step)
    }
}

/// What came of a request, in a few words: the route's rule, or the reason.
pub(crate) fn outcome(prepared: &Arc<Prepared>, request: &Request) -> String {
    let (exchange, step) = request.begin(prepared, at(0));
    match step {
        Step::Forward => exchange.route().unwrap_or("?").rsplit('/').next().unwrap_or_default().to_owned(),
        Step::Answer(response) => format!("{} {}", response.status.as_u16(), exchange.reason()),
        Step::NeedLease(need) => format!("lease {}", need.key.limit),
    }
}

pub(crate) fn answer(prepared: &Arc<Prepared>, request: &Request) -> LocalResponse {
    match request.begin(prepared, at(0)).1 {
        Step::Answer(response) => *response,
        other => panic!("{other:?}"),
    }
}

/// The request as the upstream would see it: target and header.
pub(crate) fn upstream(prepared: &Arc<Prepared>, request: &Request) -> (String, HeaderMap) {
    let (exchange, step) = request.begin(prepared, at(0));
    assert!(matches!(step, Step::Forward), "{step:?}");
    let mut headers = request.headers.clone();
    exchange.edit_request(&request.head(), &mut headers as &mut dyn HeaderSink);
    let received = String::from_utf8(request.target.clone()).unwrap();
    (exchange.upstream_target().map_or(received, str::to_owned), headers)
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("-", |value| value.to_str().unwrap())
}

pub(crate) fn finish(mut exchange: Exchange, status: u16, now: Now) -> Record {
    exchange.finish(&Outcome { status, ..Outcome::default() }, now)
}

/// An authority and a lease task that talk without a network.
pub(crate) struct Desk {
    authority: Authority,
    holder: Holder,
}

impl Desk {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let mut authority = Authority::restore(AuthorityConfig::default(), [], wall(at(0)));
        let mut limits: BTreeMap<String, Limit> = BTreeMap::new();
        let of_plans = snapshot.plans.values().flat_map(|plan| &plan.limits);
        for limit in of_plans.chain(snapshot.quota_policies.values().flat_map(|policy| &policy.limits)) {
            limits.insert(limit.id.to_string(), limit.clone());
        }
        authority.set_limits(limits.into_values(), wall(at(0)));
        Self { authority, holder: Holder::new(HolderConfig::new("gateway-1", 1), Mono::ZERO) }
    }

    pub(crate) fn fetch(&mut self, need: &LeaseNeed, now: Now) -> Lease {
        let slot = need.slot.clone().unwrap_or_else(|| self.holder.slot(&need.key));
        self.refill(&slot, now);
        Lease { slot, timed_out: false }
    }

    pub(crate) fn refill(&mut self, slot: &Arc<Slot>, now: Now) {
        let mono = Mono::from_nanos(now.mono_ns);
        self.holder.nudge(slot);
        while let Some(batch) = self.holder.poll(mono) {
            if let Some(reply) = self.authority.handle(&batch, wall(now)).reply {
                self.holder.apply(&reply, mono);
            }
        }
    }

    /// Drives a request until it is decided.
    pub(crate) fn drive(
        &mut self,
        prepared: &Arc<Prepared>,
        request: &Request,
        now: Now,
    ) -> (Exchange, Step) {
        let (mut exchange, mut step) = request.begin(prepared, now);
        while let Step::NeedLease(need) = &step {
            let lease = self.fetch(need, now);
            step = exchange.resume(&request.head(), &lease, now);
        }
        exchange.nudges(&mut |slot| self.refill(slot, now));
        (exchange, step)
    }
}

fn wall(now: Now) -> gateway_quota::Now {
    let wall = jiff::Timestamp::from_microsecond(now.unix_us).unwrap();
    gateway_quota::Now { mono: Mono::from_nanos(now.mono_ns), wall }
}
