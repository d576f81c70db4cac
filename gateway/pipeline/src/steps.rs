//! The decision: every step that a request takes on its way in, in one order.
//!
//! In: a request head. Out: forward, an answer of our own, or a lease that is needed first. Each step is a
//! small function below; [`Exchange::decide`] says in which order they come and why.

use std::sync::Arc;

use bytes::Bytes;
use gateway_quota::Mono;
use gateway_snapshot::Stage;
use http::{HeaderMap, header};

use analytics_record::{MAX_HOST_BYTES, MAX_PATH_BYTES, Reason, Text};

use crate::address::{self, Address, AddressFault, Host};
use crate::admission::{Attempt, TermsRef};
use crate::callers::{Product, Standing};
use crate::condition::Facts;
use crate::cors::{self, Preflight};
use crate::credential::{self, Presented};
use crate::exchange::{Exchange, Step, body_too_large};
use crate::filters::Answer;
use crate::head::{Now, RequestHead};
use crate::location::{self, Original};
use crate::policies::Caller;
use crate::refusal::{LocalResponse, Refusal};
use crate::rule::Target;

type Decision<T> = Result<T, Refusal>;

/// Why the steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// A request came in.
    First,
    /// It waited for a lease.
    Resumed { timed_out: bool },
    /// Someone asks what would happen: nothing is charged.
    Rehearsal,
}

impl Exchange {
    /// The steps in their order.
    pub(crate) fn decide(&mut self, head: &RequestHead<'_>, now: Now, call: Call) -> Decision<Step> {
        let malformed = |fault: AddressFault| Refusal::new(Reason::MalformedRequest, fault.to_string());
        let address = address::address(head).map_err(malformed)?;
        // A request that waited for a lease keeps what was decided before.
        if self.matched.is_none() {
            self.note(&address);
            // The listener first: it decides which routes exist at all.
            self.match_listener(head, &address)?;
            let preflight = cors::preflight(head);
            self.match_route(head, &address, preflight.as_ref())?;
            // Before authentication: browsers send preflights without credentials.
            if let Some(asked) = preflight
                && let Some(response) = self.preflight(&asked)
            {
                return Ok(Step::Answer(Box::new(response)));
            }
            self.allow_origin(head);
            // Who it is, before what it may: a refusal must not tell strangers what exists for others.
            self.authenticate(head, &address, now)?;
            self.authorize()?;
            self.subscribe(now)?;
            // Before anything is charged, as it can never succeed.
            self.check_length(head)?;
        }
        // Last of the refusals: what is taken here is charged.
        if let Some(step) = self.admit(head, now, call)? {
            return Ok(step);
        }
        // Only admitted requests reach a backend, a redirect or a mock.
        self.dispatch(head, &address, now)
    }

    /// What the record says of host and path.
    fn note(&mut self, address: &Address<'_>) {
        let host = address.host.as_ref().map_or("", Host::as_str);
        self.cut = host.len() > MAX_HOST_BYTES || address.path.len() > MAX_PATH_BYTES;
        (self.host, self.path) = (Text::new(host), Text::new(&address.path));
    }

    /// By port, then by host. On HTTPS the handshake has already chosen a listener by server name: when the
    /// host belongs to another one, the client must open another connection (GEP-3567). A handshake without
    /// a server name has chosen nothing.
    fn match_listener(&mut self, head: &RequestHead<'_>, address: &Address<'_>) -> Decision<()> {
        let prepared = &self.prepared;
        let https = head.tls.is_some();
        let find = |host: Option<&str>| prepared.routing.listener(head.listener_port, https, host);
        let by_host = find(address.host.as_ref().map(Host::as_str));
        let server_name =
            head.tls.and_then(|tls| tls.server_name).and_then(|name| Host::new(name.as_bytes()));
        let by_name = server_name.as_ref().and_then(|name| find(Some(name.as_str())));
        self.listener = by_host.or(by_name);
        match (by_host, by_name) {
            (None, _) => Err(no_route("no listener on this port serves this host")),
            (Some(host), Some(name)) if host != name => Err(Refusal::new(
                Reason::NoListenerHost,
                "open a connection with this host as its server name",
            )),
            (Some(_), _) => Ok(()),
        }
    }

    fn match_route(
        &mut self,
        head: &RequestHead<'_>,
        address: &Address<'_>,
        preflight: Option<&Preflight<'_>>,
    ) -> Decision<()> {
        let Some(listener) = self.listener else { return Err(no_route("no listener serves this host")) };
        let facts = Facts { head, query: address.query, preflight: preflight.map(|asked| asked.method) };
        let host = address.host.as_ref().map(Host::as_str);
        self.matched = self.prepared.routing.find(listener, host, &address.path, &facts);
        if self.matched.is_none() {
            return Err(no_route(
                "no rule of any route on this listener takes this host, path, method, headers and query",
            ));
        }
        self.product = self.rule().and_then(|rule| rule.product);
        Ok(())
    }

    /// The answer to a preflight, if the rule has CORS; else the upstream may know.
    fn preflight(&mut self, asked: &Preflight<'_>) -> Option<LocalResponse> {
        let response = self.answer_preflight(self.rule()?.filters.cors.as_deref()?, asked);
        self.reason = Reason::CorsPreflight;
        Some(response)
    }

    fn allow_origin(&mut self, head: &RequestHead<'_>) {
        let Some(cors) = self.rule().and_then(|rule| rule.filters.cors.as_deref()) else { return };
        let origin = head.headers.first(&header::ORIGIN).filter(|origin| cors.allows(origin));
        self.origin = origin.map(Box::from);
    }

    /// Fails closed: only a missing credential may pass, and only where the policy says so.
    fn authenticate(&mut self, head: &RequestHead<'_>, address: &Address<'_>, now: Now) -> Decision<()> {
        let prepared = &self.prepared;
        let Some(policy) = self.rule().and_then(|rule| rule.auth) else { return Ok(()) };
        let policy = &prepared.policies.auth[policy as usize];
        let key = match credential::present(&policy.sources, head, address.query) {
            Presented::Nothing if policy.allow_anonymous => return Ok(()),
            Presented::Nothing => return Err(Refusal::new(Reason::AuthMissing, "no API key was sent")),
            Presented::Unusable(why) => return Err(Refusal::new(Reason::AuthInvalid, why)),
            Presented::Key(key) => key,
        };
        let Some(found) = prepared.callers.by_key(&credential::hash(&key)) else {
            return Err(Refusal::new(Reason::AuthInvalid, "the API key is not known"));
        };
        self.consumer = Some(found.consumer);
        if now.unix_s() >= found.not_after {
            return Err(Refusal::new(Reason::AuthExpired, "the API key is past its end"));
        }
        Ok(())
    }

    /// What the consumer may do at all, whatever it subscribed to.
    fn authorize(&self) -> Decision<()> {
        let Some(policy) = self.rule().and_then(|rule| rule.auth) else { return Ok(()) };
        let groups = &self.prepared.policies.auth[policy as usize].groups;
        let Some(consumer) = self.consumer.map(|at| &self.prepared.callers.consumers[at as usize]) else {
            // Nobody is in no group.
            let open = groups.is_empty();
            return if open {
                Ok(())
            } else {
                Err(Refusal::new(Reason::AuthMissing, "a group is required here"))
            };
        };
        if consumer.disabled {
            return Err(Refusal::new(Reason::Forbidden, "the consumer is disabled"));
        }
        if !groups.is_empty() && !consumer.groups.iter().any(|group| groups.contains(group)) {
            return Err(Refusal::new(
                Reason::Forbidden,
                "the consumer is in none of the groups that may do this",
            ));
        }
        Ok(())
    }

    /// The subscription through which the consumer uses the product of the rule.
    fn subscribe(&mut self, now: Now) -> Decision<()> {
        let callers = &self.prepared.callers;
        let Some(index) = self.product else { return Ok(()) };
        let product = &callers.products[index as usize];
        if product.stage == Stage::Retired {
            return Err(Refusal::new(Reason::ProductRetired, "this API has been switched off"));
        }
        let found = match self.consumer {
            Some(consumer) => callers.subscriptions_of(consumer, index),
            None => &[],
        };
        let standing = |at: &u32| callers.subscriptions[*at as usize].standing(now.unix_s());
        if let Some(usable) = found.iter().find(|at| standing(at) == Standing::Usable) {
            self.subscription = Some(*usable);
            return Ok(());
        }
        match found.first() {
            Some(first) if product.subscription_required => {
                let standing = standing(first);
                // It is refused, but the record shows by which subscription.
                self.subscription = Some(*first);
                Err(unusable(standing))
            }
            _ => unsubscribed(product),
        }
    }

    /// A body that announces that it is too large.
    fn check_length(&self, head: &RequestHead<'_>) -> Decision<()> {
        let limit = self.rule().map_or(0, |rule| rule.max_body_bytes);
        let length =
            head.headers.first(&header::CONTENT_LENGTH).and_then(|value| std::str::from_utf8(value).ok());
        match length.and_then(|text| text.trim().parse::<u64>().ok()) {
            Some(length) if length > limit => Err(body_too_large(limit)),
            _ => Ok(()),
        }
    }

    /// Collects the accounts that this request is charged to.
    fn open_accounts(&mut self, head: &RequestHead<'_>, now: Now) -> Decision<()> {
        let prepared = Arc::clone(&self.prepared);
        let Some(rule) = self.matched.map(|id| prepared.routing.rule_of(id)) else { return Ok(()) };
        let consumer = self.consumer.map(|at| &*prepared.callers.consumers[at as usize].key);
        let caller = Caller { consumer, client: self.client, headers: head.headers };
        let mono = Mono::from_nanos(now.mono_ns);
        let rates = rule.rates.iter().map(|at| (TermsRef::Rate(*at), &prepared.policies.rates[*at as usize]));
        let quotas =
            rule.quotas.iter().map(|at| (TermsRef::Quota(*at), &prepared.policies.quotas[*at as usize]));
        let policies = rates.chain(quotas).map(|(terms, policy)| (terms, policy.accounts(&caller, mono)));
        let plan = self.subscription.map(|at| {
            let plan = prepared.callers.subscriptions[at as usize].plan;
            (TermsRef::Plan(plan), Arc::clone(prepared.callers.accounts(at)))
        });
        let added = plan
            .into_iter()
            .chain(policies)
            .try_for_each(|(terms, accounts)| self.admission.add(terms, accounts));
        added.and_then(|()| self.admission.list(&prepared)).map_err(|denied| self.denied(denied, now))
    }

    /// One request from every rate and quota, all or none.
    fn admit(&mut self, head: &RequestHead<'_>, now: Now, call: Call) -> Decision<Option<Step>> {
        let timed_out = match call {
            Call::Rehearsal => return Ok(None),
            Call::First => {
                self.open_accounts(head, now)?;
                false
            }
            Call::Resumed { timed_out } => timed_out,
        };
        match self.admission.admit(&self.prepared, Mono::from_nanos(now.mono_ns), timed_out) {
            Attempt::Done => Ok(None),
            Attempt::Wait(need) => Ok(Some(Step::NeedLease(need))),
            Attempt::Denied(denied) => Err(self.denied(denied, now)),
        }
    }

    /// A redirect or mock of the rule, else a backend by weight, then the target that it sees.
    fn dispatch(&mut self, head: &RequestHead<'_>, address: &Address<'_>, now: Now) -> Decision<Step> {
        if let Some(response) = self.answer_of_filters(head, address, now) {
            return Ok(Step::Answer(Box::new(response)));
        }
        let Some(rule) = self.rule() else { return Err(no_route("no rule")) };
        let Some((at, choice)) = rule.backends.choose(head.random) else {
            return Err(Refusal::new(Reason::NoBackend, "no backend of the rule has a weight"));
        };
        let Target::Backend(backend) = choice.to else {
            return Err(Refusal::new(
                Reason::InvalidRoute,
                "the chosen backend of the rule does not resolve",
            ));
        };
        self.choice = Some((at, backend));
        if let Some(response) = self.answer_of_filters(head, address, now) {
            return Ok(Step::Answer(Box::new(response)));
        }
        if self.prepared.backends()[backend.index()].endpoints.is_empty() {
            return Err(Refusal::new(Reason::NoEndpoints, Reason::NoEndpoints.title()));
        }
        self.target = self.upstream(address).map(String::into_boxed_str);
        self.mirrored = self.draw_mirrors(head.random);
        Ok(Step::Forward)
    }

    /// The redirect or mock of the filters that come last: the rule's, then the chosen backend's.
    fn answer_of_filters(
        &mut self,
        head: &RequestHead<'_>,
        address: &Address<'_>,
        now: Now,
    ) -> Option<LocalResponse> {
        let (reason, parts) = match self.filters().last()?.answer.as_deref()? {
            Answer::Redirect(redirect, status) => {
                let original = Original {
                    https: head.tls.is_some(),
                    host: address.host.as_ref().map(Host::as_str),
                    port: head.local_port,
                    path: &address.path,
                    query: address.query,
                    taken: self.taken(&address.path),
                };
                let location = location::redirect(redirect, &original).try_into().ok()?;
                let headers = HeaderMap::from_iter([(header::LOCATION, location)]);
                (Reason::Redirected, (*status, headers, Bytes::new()))
            }
            Answer::Direct(direct) => {
                (Reason::Mocked, (direct.status, direct.headers.clone(), direct.body.clone()))
            }
        };
        self.reason = reason;
        Some(self.own(parts, now))
    }

    /// Path and query for the upstream, when other than received.
    fn upstream(&self, address: &Address<'_>) -> Option<String> {
        let rewrites = self.filters().filter_map(|filters| filters.rewrite.as_deref());
        let path = rewrites.filter_map(|rewrite| rewrite.path.as_ref()).last();
        let path = path.map(|path| location::rewritten(path, &address.path, self.taken(&address.path)));
        let hidden = self.hides().and_then(|sources| credential::hidden_query(sources, address.query));
        if path.is_none() && hidden.is_none() && !address.rewritten {
            return None;
        }
        let path = path.unwrap_or_else(|| address.path.clone().into_owned());
        let query = match &hidden {
            Some(query) => Some(query.as_str()).filter(|query| !query.is_empty()),
            None => address.query,
        };
        Some(location::with_query(path, query))
    }

    fn taken<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.prepared.routing.matches[self.matched? as usize].path.taken(path)
    }

    /// Which mirrors get a copy, each by a draw of its own.
    fn draw_mirrors(&self, random: u64) -> u32 {
        let mirrors = self.filters().flat_map(|filters| &filters.mirrors).take(32);
        mirrors.enumerate().fold(0, |chosen, (at, mirror)| {
            let draw = mixed(random, at as u64) % u64::from(mirror.denominator.max(1));
            let gets = mirror.backend.is_some() && draw < u64::from(mirror.numerator);
            chosen | u32::from(gets) << at
        })
    }
}

/// Independent bits for each draw from one random number (the finaliser of SplitMix64).
fn mixed(random: u64, draw: u64) -> u64 {
    let mut bits = random ^ (draw + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn no_route(detail: &'static str) -> Refusal {
    Refusal::new(Reason::NoRoute, detail)
}

fn unsubscribed(product: &Product) -> Decision<()> {
    if product.subscription_required {
        return Err(Refusal::new(
            Reason::SubscriptionMissing,
            format!("a subscription to {} is required", product.key),
        ));
    }
    Ok(())
}

fn unusable(standing: Standing) -> Refusal {
    match standing {
        Standing::Pending => {
            Refusal::new(Reason::SubscriptionPending, "the subscription is not approved yet")
        }
        Standing::NotYet => Refusal::new(Reason::SubscriptionPending, "the subscription has not begun yet"),
        Standing::Expired => Refusal::new(Reason::SubscriptionExpired, "the subscription is past its end"),
        Standing::Suspended | Standing::Usable => {
            Refusal::new(Reason::Forbidden, "the subscription is suspended")
        }
    }
}
