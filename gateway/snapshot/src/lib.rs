//! The compiled configuration that a gateway serves: plain, checked, immutable data.
//!
//! `operator-compile` makes a [`Snapshot`] (for gateways) and a [`Catalog`] (for analytics) from resources;
//! both travel as JSON. Every entry is keyed by the name of the resource that it came from and points up at
//! its parent, so one changed resource is one changed entry ([`Snapshot::diff`]).
//!
//! Nothing here reads files, clocks or Kubernetes, and nothing here decides about a request: that is
//! `gateway-pipeline`. Values are already checked: a host, path or header name in a snapshot is valid.

mod backend;
mod catalog;
mod consumer;
mod diff;
mod entries;
mod filter;
mod lint;
mod listener;
mod part;
mod pattern;
mod policy;
mod route;
mod used;

use serde::{Deserialize, Deserializer, Serialize};

pub use backend::{Backend, BackendProtocol, BackendTls, Endpoint};
pub use catalog::{AlertChannel, AlertRule, Catalog, CatalogConsumer, CatalogLimit, Price};
pub use consumer::{Consumer, Credential, Plan, Product, Rate, Stage, Subscription, SubscriptionState};
pub use diff::Diff;
pub use entries::{Entries, Iter, Shared};
pub use filter::{Cors, DirectResponse, Filter, HeaderEdit, Mirror, PathRewrite, Redirect, Rewrite};
pub use lint::{Finding, lint, lint_after, lint_but_callers};
pub use listener::{
    CallerCertificateMode, CallerCertificates, Certificate, Listener, ListenerProtocol, ListenerTls,
    UNPRIVILEGED,
};
pub use part::Part;
pub use pattern::{REGEX_SIZE_LIMIT, REGEX_TOTAL_LIMIT, regex_cost, regex_of};
pub use policy::{ApiKeySource, AuthPolicy, Dimension, QuotaPolicy, RateLimitPolicy};
pub use route::{
    Attachment, BackendChoice, BackendRef, HeaderMatch, Hostname, Match, PathMatch, QueryMatch, Retry, Route,
    RouteKind, Rule, StringMatch, Timeouts,
};
pub use used::{Counts, Used};

/// `namespace/name` of the resource that an entry came from; parts below it are appended with more slashes
/// (a listener is `namespace/gateway/listener`).
pub type Key = String;

/// The format of this crate's types on the wire. A gateway refuses any other.
pub const FORMAT: u32 = 1;

/// Everything that a gateway needs to serve, complete in itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Always [`FORMAT`].
    pub format: u32,
    /// Names this content: equal versions mean equal content. Hex, made by the compiler.
    pub version: String,
    /// Limits and behaviour of the process as a whole.
    pub settings: Settings,
    /// By `namespace/gateway/listener`, or `namespace/gateway/namespace/listenerset/listener`.
    pub listeners: Entries<Listener>,
    /// By `namespace/secret`.
    pub certificates: Entries<Certificate>,
    /// By `kind/namespace/name`, kind in lower case (`httproute/shop/orders`). A route that means different things on
    /// different listeners (policies on listeners or Gateways) has further entries, with a listener's key behind.
    pub routes: Entries<Route>,
    /// By `namespace/name:port` of a Service, or `namespace/name` of an XBackend; `/h2` behind it for the HTTP/2 form
    /// of a backend that does not say what it speaks, as GRPCRoutes need it.
    pub backends: Entries<Backend>,
    /// AuthPolicies that some rule uses.
    pub auth_policies: Entries<AuthPolicy>,
    /// RateLimitPolicies that some rule uses.
    pub rate_limit_policies: Entries<RateLimitPolicy>,
    /// QuotaPolicies that some rule uses.
    pub quota_policies: Entries<QuotaPolicy>,
    /// ApiProducts that some rule belongs to.
    pub products: Entries<Product>,
    /// Plans that some subscription uses.
    pub plans: Entries<Plan>,
    /// All consumers.
    pub consumers: Entries<Consumer>,
    /// All subscriptions, whatever their state.
    pub subscriptions: Entries<Subscription>,
}

impl Snapshot {
    /// Names the content, whatever the version: 128 bits of XXH3 over format, settings and the hashes of the entries of each
    /// kind. No defence against forgery.
    pub fn hash(&self) -> u128 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let settings =
            serde_json::to_vec(&(self.format, &self.settings)).expect("settings have string keys only");
        hash.update(&settings);
        for kind in self.hashes() {
            hash.update(&kind.to_le_bytes());
        }
        hash.digest128()
    }

    /// Names the settings and the keys of everything that rules refer to, in their order: what a rule means depends on
    /// nothing else outside of its route.
    pub fn references_hash(&self) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&serde_json::to_vec(&self.settings).expect("settings have string keys only"));
        let kinds: [&mut dyn Iterator<Item = &Key>; 5] = [
            &mut self.backends.keys(),
            &mut self.auth_policies.keys(),
            &mut self.rate_limit_policies.keys(),
            &mut self.quota_policies.keys(),
            &mut self.products.keys(),
        ];
        for keys in kinds {
            for key in keys {
                hash.update(key.as_bytes());
                hash.update(&[0xff]);
            }
            hash.update(&[0xfe]);
        }
        hash.digest()
    }

    /// Names consumers and all that is asked of them: policies, products, plans and subscriptions.
    pub fn callers_hash(&self) -> u64 {
        let kinds = [
            self.consumers.hash(),
            self.subscriptions.hash(),
            self.plans.hash(),
            self.products.hash(),
            self.auth_policies.hash(),
            self.rate_limit_policies.hash(),
            self.quota_policies.hash(),
        ];
        xxhash_rust::xxh3::xxh3_64(kinds.map(u64::to_le_bytes).as_flattened())
    }
}

/// Limits of a gateway process; each has a default and none is infinite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Open downstream connections, over all listeners.
    pub max_connections: u32,
    /// Sum of the lengths of all request header names and values, in bytes.
    pub max_header_bytes: u32,
    /// Number of request header fields.
    pub max_headers: u32,
    /// Length of the request target, in bytes.
    pub max_uri_bytes: u32,
    /// Request body, in bytes.
    pub max_body_bytes: u64,
    /// Time from accept to the end of the TLS handshake, and for each request head, in milliseconds.
    pub header_timeout_ms: u64,
    /// Idle time of a downstream keep-alive connection, in milliseconds.
    pub idle_timeout_ms: u64,
    /// A request without a timeout of its own, in milliseconds.
    pub request_timeout_ms: u64,
    /// Establishing an upstream connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Time for running requests to end after SIGTERM, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Addresses whose `X-Forwarded-*` and `X-Request-Id` fields are believed (CIDR).
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Write a JSON access log to standard output.
    pub access_log: bool,
    /// Where spans go, by OTLP over HTTP (for example `http://127.0.0.1:4318`); none: no spans.
    pub otlp_endpoint: Option<String>,
    /// Share of requests that get a span when the caller did not decide, in thousandths.
    pub trace_per_mille: u16,
    /// Carry plain HTTP/1.1 exchanges on the short path.
    pub fast_path: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_header_bytes: 64 * 1024,
            max_headers: 128,
            max_uri_bytes: 8 * 1024,
            max_body_bytes: 64 * 1024 * 1024,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            request_timeout_ms: 60_000,
            connect_timeout_ms: 2_000,
            drain_timeout_ms: 30_000,
            trusted_proxies: Vec::new(),
            access_log: false,
            otlp_endpoint: None,
            trace_per_mille: 10,
            fast_path: true,
        }
    }
}

/// A list without room for more: most have one item, for which room for four would be made.
fn tight<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}
