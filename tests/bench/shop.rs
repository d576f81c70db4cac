//! The shop that is measured: any number of routes and consumers, and a lease desk without a network.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use analytics_record::NameId;
use gateway_pipeline::{Lease, LeaseNeed, Now, Prepared, RequestHead};
use gateway_quota::{
    Authority, AuthorityConfig, Holder, HolderConfig, Limit, Mode, Mono, Period, QuotaKey, Slot, Unit,
    WindowSpec,
};
use gateway_snapshot::{
    ApiKeySource, Attachment, AuthPolicy, Backend, BackendChoice, BackendProtocol, BackendRef, Consumer,
    Credential, Endpoint, Listener, ListenerProtocol, Match, PathMatch, Plan, Product, Rate, Route,
    RouteKind, Rule, Snapshot, Stage, Subscription, SubscriptionState,
};
use http::{HeaderMap, Version};
use sha2::{Digest, Sha256};

/// Id of the plan's limit.
pub(crate) const LIMIT: &str = "plan/shop/gold/daily";
const LISTENER: &str = "shop/gw/http";
/// More than a benchmark can use.
const PLENTY: u64 = 1 << 40;

/// How many consumers there are, each with a key and a subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callers(pub(crate) usize);

/// Three routes' worth of rules at each path `/route-N`: open, with a key, and sold.
pub(crate) fn shop(routes: usize, callers: Callers) -> Snapshot {
    let mut snapshot =
        Snapshot { format: gateway_snapshot::FORMAT, version: "bench".into(), ..Snapshot::default() };
    let listener = Listener {
        gateway: "shop/gw".into(),
        name: "http".into(),
        port: 80,
        protocol: ListenerProtocol::Http,
        hostname: None,
        tls: None,
        client_certificate: None,
    };
    snapshot.listeners.insert(LISTENER.into(), listener);
    let endpoints = vec![Endpoint { host: "127.0.0.1".into(), port: 9000 }];
    let backend = Backend { endpoints, protocol: BackendProtocol::Http1, tls: None };
    snapshot.backends.insert("shop/echo:80".into(), backend);
    let keys = vec![ApiKeySource::Header { name: "x-api-key".into(), scheme: None }];
    let policy = AuthPolicy { api_key: keys, allow_anonymous: false, groups: vec![], hide_credentials: true };
    snapshot.auth_policies.insert("shop/keys".into(), policy);
    let product = Product {
        stage: Stage::Published,
        deprecated_at: None,
        sunset_at: None,
        subscription_required: true,
    };
    snapshot.products.insert("shop/api".into(), product);
    snapshot.plans.insert("shop/gold".into(), plan());
    (0..routes).for_each(|n| route(&mut snapshot, &format!("route-{n}"), |_| {}));
    route(&mut snapshot, "keyed", |rule| rule.auth = Some("shop/keys".into()));
    route(&mut snapshot, "sold", |rule| {
        (rule.auth, rule.product) = (Some("shop/keys".into()), Some("shop/api".into()));
    });
    (0..callers.0).for_each(|n| caller(&mut snapshot, n));
    snapshot
}

fn plan() -> Plan {
    let window = WindowSpec::calendar(Period::Day, "UTC").unwrap();
    let limit = Limit {
        id: LIMIT.into(),
        unit: Unit::Requests,
        quantity: PLENTY,
        window,
        mode: Mode::Hard,
        thresholds: vec![],
    };
    let id = "plan/shop/gold/burst".into();
    Plan {
        rates: vec![Rate { id, requests: 1_000_000, period_ms: 1_000, burst: 1_000_000 }],
        limits: vec![limit],
    }
}

fn route(snapshot: &mut Snapshot, name: &str, change: impl FnOnce(&mut Rule)) {
    let path = PathMatch::Prefix(format!("/{name}"));
    let to = BackendChoice { backend: BackendRef::To("shop/echo:80".into()), weight: 1, filters: vec![] };
    let matches = vec![Match { path, headers: vec![], query: vec![], method: None }];
    let mut rule = Rule { matches, backends: vec![to], ..Rule::default() };
    change(&mut rule);
    let attachments = vec![Attachment { listener: LISTENER.into(), hostnames: vec![] }];
    let (kind, name) = (RouteKind::Http, format!("shop/{name}"));
    let route = Route { kind, name: name.clone(), created: 0, attachments, rules: vec![rule] };
    snapshot.routes.insert(format!("httproute/{name}"), route);
}

fn key(n: usize) -> String {
    format!("tk_00000000000000000000000000000000{n:08}")
}

fn caller(snapshot: &mut Snapshot, n: usize) {
    let sha256 = Sha256::digest(key(n)).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let credentials = vec![Credential::ApiKey { sha256, not_after: None }];
    snapshot
        .consumers
        .insert(format!("shop/c{n}"), Consumer { groups: vec![], credentials, disabled: false });
    let subscription = Subscription {
        consumer: format!("shop/c{n}"),
        product: "shop/api".into(),
        plan: "shop/gold".into(),
        state: SubscriptionState::Active,
        not_before: None,
        not_after: None,
    };
    snapshot.subscriptions.insert(format!("shop/c{n}-gold"), subscription);
}

pub(crate) fn prepare(snapshot: &Snapshot) -> Arc<Prepared> {
    prepare_after(snapshot, None)
}

pub(crate) fn prepare_after(snapshot: &Snapshot, previous: Option<&Prepared>) -> Arc<Prepared> {
    let mut next = 1;
    let mut name = |_: &str| {
        next += 1;
        NameId(next)
    };
    match Prepared::new(snapshot, previous, &mut name) {
        Ok(prepared) => Arc::new(prepared),
        Err(findings) => panic!("{findings:?}"),
    }
}

/// A request as a client sends it.
pub(crate) struct Request {
    target: String,
    pub(crate) headers: HeaderMap,
}

impl Request {
    /// To route `n`, for anybody.
    pub(crate) fn open(n: usize) -> Self {
        Self::to(&format!("route-{n}"))
    }

    /// By consumer `n`, with a key.
    pub(crate) fn keyed(n: usize) -> Self {
        Self::by(n, "keyed")
    }

    /// By consumer `n`, within the subscription.
    pub(crate) fn sold(n: usize) -> Self {
        Self::by(n, "sold")
    }

    fn by(n: usize, route: &str) -> Self {
        let mut request = Self::to(route);
        request.headers.insert("x-api-key", key(n).parse().unwrap());
        request
    }

    fn to(route: &str) -> Self {
        let mut headers = HeaderMap::new();
        let fields = [
            ("host", "shop.example"),
            ("user-agent", "curl/8.5.0"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
        ];
        for (name, value) in fields {
            headers.insert(name, value.parse().unwrap());
        }
        Self { target: format!("/{route}/items/17?page=2"), headers }
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: "GET",
            target: self.target.as_bytes(),
            authority: None,
            version: Version::HTTP_11,
            headers: &self.headers,
            peer: Ipv4Addr::LOCALHOST.into(),
            listener_port: 80,
            local_port: 80,
            tls: None,
            request_id: 7,
            random: 7,
        }
    }
}

/// One instant on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(Now);

impl Moment {
    pub(crate) fn mono(self) -> Mono {
        Mono::from_nanos(self.0.mono_ns)
    }
}

/// An authority and a lease task that talk without a network.
pub(crate) struct Desk {
    authority: Authority,
    holder: Holder,
    start: Instant,
    wall: jiff::Timestamp,
}

impl Desk {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let wall = jiff::Timestamp::now();
        let now = gateway_quota::Now { mono: Mono::ZERO, wall };
        let mut authority = Authority::restore(AuthorityConfig::default(), [], now);
        authority.set_limits(snapshot.plans.values().flat_map(|plan| plan.limits.clone()), now);
        let holder = Holder::new(HolderConfig::new("bench", 1), Mono::ZERO);
        Self { authority, holder, start: Instant::now(), wall }
    }

    /// The present; reads the clock once.
    pub(crate) fn now(&self) -> Now {
        let passed = self.start.elapsed();
        Now {
            mono_ns: passed.as_nanos() as u64,
            unix_us: self.wall.as_microsecond() + passed.as_micros() as i64,
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment(self.now())
    }

    /// A slot with a lease.
    pub(crate) fn slot(&mut self, key: &QuotaKey) -> Arc<Slot> {
        let slot = self.holder.slot(key);
        slot.want(1);
        self.refill(&slot);
        slot
    }

    pub(crate) fn fetch(&mut self, need: &LeaseNeed) -> Lease {
        let slot = need.slot.clone().unwrap_or_else(|| self.holder.slot(&need.key));
        slot.want(need.units);
        self.refill(&slot);
        Lease { slot, timed_out: false }
    }

    pub(crate) fn refill(&mut self, slot: &Arc<Slot>) {
        let now = self.now();
        let mono = Mono::from_nanos(now.mono_ns);
        let wall = jiff::Timestamp::from_microsecond(now.unix_us).unwrap();
        self.holder.nudge(slot);
        while let Some(batch) = self.holder.poll(mono) {
            let step = self.authority.handle(&batch, gateway_quota::Now { mono, wall });
            if let Some(reply) = step.reply {
                self.holder.apply(&reply, mono);
            }
        }
    }
}
