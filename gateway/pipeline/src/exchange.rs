//! One request from its head to its record.
//!
//! In: what the shell sees happen. Out: what it shall do, and at the end exactly one record. An exchange keeps
//! the preparation that it began with, so one request sees one snapshot. It never reads a clock and never
//! waits: where it needs the outside it says so and is resumed.

use std::net::IpAddr;
use std::sync::Arc;

use analytics_record::{Flags, Method, NameId, Protocol, Reason, Record, Text};
use gateway_quota::{Mono, Slot};
use gateway_snapshot::Retry;
use http::{HeaderName, Version, header};

use crate::admission::{Admission, Attempt, LeaseNeed};
use crate::filters::Filters;
use crate::head::{Now, RequestHead};
use crate::paths::MatchId;
use crate::prepare::{BackendId, Prepared};
use crate::refusal::{LocalResponse, Refusal};
use crate::rule::{Rule, Timeouts};
use crate::steps::Call;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the shell does next.
#[derive(Debug)]
pub enum Step {
    /// Send the request to [`Exchange::plan`]'s backend.
    Forward,
    /// Send this and finish.
    Answer(Box<LocalResponse>),
    /// Fetch a lease, then [`Exchange::resume`].
    NeedLease(LeaseNeed),
}

/// What came of waiting for a lease.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The slot of the key that was asked for.
    pub slot: Arc<Slot>,
    /// Nothing changed within the time that a request may wait.
    pub timed_out: bool,
}

/// Whether body bytes may pass.
#[derive(Debug)]
pub enum Flow {
    /// Pass them on.
    Pass,
    /// Fetch a lease and ask again with the same bytes; when it does not come, [`Exchange::fail`] with
    /// [`Reason::QuotaUnavailable`].
    NeedLease(LeaseNeed),
    /// Do not pass them on. Send this if no response head was sent, else break the stream off.
    Stop(Box<LocalResponse>),
}

/// Where a request goes, and within which limits.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Index into [`Prepared::backends`].
    pub backend: BackendId,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Option<&'a Retry>,
    /// Request body limit; [`Exchange::request_bytes`] enforces it, too.
    pub max_body_bytes: u64,
}

/// What the shell knows at the end.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Status sent downstream; 0: none was.
    pub status: u16,
    /// From the upstream's trailers or head; -1: none. Refusals of ours fill it in themselves.
    pub grpc_status: i16,
    /// Endpoint tried last.
    pub endpoint: NameId,
    /// Attempts made at upstreams.
    pub attempts: u8,
    /// From sending to the first byte of the answer, microseconds.
    pub upstream_us: u32,
    /// Bytes of a local response's body that were sent; these are never charged.
    pub local_bytes: u64,
    /// The downstream left before the answer was complete.
    pub aborted: bool,
    /// W3C trace id; zero when not sampled.
    pub trace_id: [u8; 16],
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            status: 0,
            grpc_status: -1,
            endpoint: NameId::NONE,
            attempts: 0,
            upstream_us: 0,
            local_bytes: 0,
            aborted: false,
            trace_id: [0; 16],
        }
    }
}

/// One request.
pub struct Exchange {
    pub(crate) prepared: Arc<Prepared>,
    started: Now,
    pub(crate) request_id: u128,
    pub(crate) client: IpAddr,
    /// The peer is a trusted proxy.
    pub(crate) trusted: bool,
    pub(crate) tls: bool,
    method: Method,
    protocol: Protocol,
    pub(crate) host: Text<64>,
    pub(crate) path: Text<128>,
    pub(crate) cut: bool,
    pub(crate) listener: Option<u32>,
    pub(crate) matched: Option<MatchId>,
    pub(crate) consumer: Option<u32>,
    pub(crate) subscription: Option<u32>,
    pub(crate) product: Option<u32>,
    pub(crate) admission: Admission,
    /// Position of the chosen backend in the rule, and which it is.
    pub(crate) choice: Option<(usize, BackendId)>,
    /// One bit for each mirror that gets a copy: the rule's first, then the backend's.
    pub(crate) mirrored: u32,
    /// Origin that may read the response.
    pub(crate) origin: Option<Box<[u8]>>,
    /// Target to send upstream, when other than received.
    pub(crate) target: Option<Box<str>>,
    pub(crate) reason: Reason,
    request_bytes: u64,
    response_bytes: u64,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("request_id", &self.request_id())
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// What is to be done with a new request. It must be [finished](Self::finish), whatever the step.
    pub fn begin(&mut self, head: &RequestHead<'_>, now: Now) -> Step {
        self.decide(head, now, Call::First).unwrap_or_else(|refusal| self.answer(&refusal, now))
    }

    /// Goes on after [`Step::NeedLease`] with the same head.
    pub fn resume(&mut self, head: &RequestHead<'_>, lease: &Lease, now: Now) -> Step {
        self.admission.install(&lease.slot);
        let step = self.decide(head, now, Call::Resumed { timed_out: lease.timed_out });
        step.unwrap_or_else(|refusal| self.answer(&refusal, now))
    }

    /// A request whose head could not be read or was too large. `head` says what is known.
    pub fn unparsed(
        prepared: &Arc<Prepared>,
        head: &RequestHead<'_>,
        reason: Reason,
        now: Now,
    ) -> (Self, LocalResponse) {
        let mut exchange = Self::new(prepared, head, now);
        exchange.listener = prepared.routing.listener(head.listener_port, head.tls.is_some(), None);
        let response = exchange.fail(reason, now);
        (exchange, response)
    }

    /// A request; next, it [begins](Self::begin), where it stays: it is large.
    pub fn new(prepared: &Arc<Prepared>, head: &RequestHead<'_>, now: Now) -> Self {
        let (client, trusted) = crate::forwarded::client(head, &prepared.settings().trusted_proxies);
        Self {
            prepared: Arc::clone(prepared),
            started: now,
            request_id: crate::forwarded::request_id(head, trusted),
            client,
            trusted,
            tls: head.tls.is_some(),
            method: Method::from_token(head.method),
            protocol: protocol(head),
            host: Text::EMPTY,
            path: Text::EMPTY,
            cut: false,
            listener: None,
            matched: None,
            consumer: None,
            subscription: None,
            product: None,
            admission: Admission::default(),
            choice: None,
            mirrored: 0,
            origin: None,
            target: None,
            reason: Reason::Ok,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// Where the request goes; nothing unless the step was [`Step::Forward`].
    pub fn plan(&self) -> Option<Plan<'_>> {
        let (_, backend) = self.choice?;
        let rule = self.rule()?;
        let (timeouts, retry) = (rule.timeouts, rule.retry.as_ref());
        Some(Plan { backend, timeouts, retry, max_body_bytes: rule.max_body_bytes })
    }

    /// Backends that get a copy of the request; answers to it are dropped.
    pub fn mirrors(&self) -> impl Iterator<Item = BackendId> + '_ {
        let mirrors = self.filters().flat_map(|filters| &filters.mirrors);
        mirrors
            .enumerate()
            .filter(|(at, _)| self.mirrored & (1 << at) != 0)
            .filter_map(|(_, mirror)| mirror.backend)
    }

    /// Path and query to send upstream; nothing: as received.
    pub fn upstream_target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The id of the request, as a UUID.
    pub fn request_id(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.request_id)
    }

    /// Why it ended so, as far as is known.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Other end of the connection, or whom a trusted proxy named.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The route, `kind/namespace/name`, for logs and spans.
    pub fn route(&self) -> Option<&str> {
        self.rule().map(|rule| &*rule.route.key)
    }

    /// The consumer, `namespace/name`.
    pub fn consumer(&self) -> Option<&str> {
        self.consumer.map(|at| &*self.prepared.callers.consumers[at as usize].key)
    }

    /// The preparation that this request uses.
    pub fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// Place of its listener among the snapshot's, in the order of their keys.
    pub fn listener(&self) -> Option<usize> {
        self.listener.map(|at| at as usize)
    }

    /// Hands over the slots that want the lease task's attention. Call after `begin`, `resume`, and bytes.
    pub fn nudges(&mut self, nudge: &mut dyn FnMut(&Arc<Slot>)) {
        self.admission.nudges(nudge);
    }

    /// Asks whether bytes of the request body may go upstream; call before passing them on.
    pub fn request_bytes(&mut self, bytes: u64, now: Now) -> Flow {
        let limit = self.rule().map_or(0, |rule| rule.max_body_bytes);
        if self.request_bytes.saturating_add(bytes) > limit {
            return Flow::Stop(Box::new(self.refuse(&body_too_large(limit), now)));
        }
        let flow = self.spend(bytes, now);
        if matches!(flow, Flow::Pass) {
            self.request_bytes += bytes;
        }
        flow
    }

    /// Asks whether bytes of the response body may go downstream; call before passing them on.
    pub fn response_bytes(&mut self, bytes: u64, now: Now) -> Flow {
        let flow = self.spend(bytes, now);
        if matches!(flow, Flow::Pass) {
            self.response_bytes += bytes;
        }
        flow
    }

    fn spend(&mut self, bytes: u64, now: Now) -> Flow {
        match self.admission.spend_bytes(&self.prepared, bytes, Mono::from_nanos(now.mono_ns)) {
            Attempt::Done => Flow::Pass,
            Attempt::Wait(need) => Flow::NeedLease(need),
            Attempt::Denied(denied) => {
                let refusal = self.denied(denied, now);
                Flow::Stop(Box::new(self.refuse(&refusal, now)))
            }
        }
    }

    /// The shell could not get an answer from the upstream, or may not go on. The response is for the case
    /// that no head was sent yet; the reason is noted in any case.
    pub fn fail(&mut self, reason: Reason, now: Now) -> LocalResponse {
        // Names of backends stay inside; the record has them.
        let detail = reason.title();
        self.refuse(&Refusal::new(reason, detail), now)
    }

    /// Ends the request. Call exactly once, whatever happened.
    pub fn finish(&mut self, outcome: &Outcome, now: Now) -> Record {
        let charges = self.admission.settle();
        let mut record = Record::at(u64::try_from(now.unix_us).unwrap_or(0));
        record.request_id = self.request_id.to_be_bytes();
        record.trace_id = outcome.trace_id;
        self.names(&mut record);
        record.endpoint = outcome.endpoint;
        record.method = self.method;
        record.protocol = self.protocol;
        record.reason = self.final_reason(outcome);
        record.status = if outcome.status == 0 { 499 } else { outcome.status };
        record.grpc_status = self.grpc_status(outcome, record.reason);
        record.flags = self.flags(outcome);
        record.attempts = outcome.attempts;
        let duration_ns = now.mono_ns.saturating_sub(self.started.mono_ns);
        record.duration_us = u32::try_from(duration_ns / 1000).unwrap_or(u32::MAX);
        record.upstream_us = outcome.upstream_us;
        record.request_bytes = self.request_bytes;
        record.response_bytes = self.response_bytes + outcome.local_bytes;
        record.charges = charges;
        record.host = self.host;
        record.path = self.path;
        record
    }

    fn names(&self, record: &mut Record) {
        let prepared = &self.prepared;
        if let Some(listener) = self.listener.map(|at| &prepared.routing.listeners[at as usize]) {
            (record.gateway, record.listener) = (listener.gateway, listener.name);
        }
        if let Some(rule) = self.rule() {
            (record.route, record.rule) = (rule.route.name, rule.name);
        }
        let callers = &prepared.callers;
        record.product = self.product.map_or(NameId::NONE, |at| callers.products[at as usize].name);
        record.consumer = self.consumer.map_or(NameId::NONE, |at| callers.consumers[at as usize].name);
        if let Some(subscription) = self.subscription.map(|at| &callers.subscriptions[at as usize]) {
            record.subscription = subscription.name;
            record.plan = callers.plans[subscription.plan as usize].name;
        }
        record.backend = self.choice.map_or(NameId::NONE, |(_, id)| prepared.backends()[id.index()].name);
    }

    /// A downstream that left is only a reason when nothing else went wrong before.
    fn final_reason(&self, outcome: &Outcome) -> Reason {
        let left = outcome.aborted || outcome.status == 0;
        if left && self.reason == Reason::Ok { Reason::DownstreamClosed } else { self.reason }
    }

    fn grpc_status(&self, outcome: &Outcome, reason: Reason) -> i16 {
        match (self.protocol, outcome.grpc_status, reason) {
            (Protocol::Grpc, -1, Reason::Ok) => -1,
            (Protocol::Grpc, -1, reason) => crate::refusal::grpc_status(reason),
            (_, status, _) => status,
        }
    }

    fn flags(&self, outcome: &Outcome) -> Flags {
        [
            (self.tls, Flags::TLS),
            (outcome.attempts > 1, Flags::RETRIED),
            (outcome.aborted, Flags::ABORTED),
            (self.mirrored != 0, Flags::MIRRORED),
            (outcome.trace_id != [0; 16], Flags::SAMPLED),
            (self.cut, Flags::CUT),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(Flags(0), |flags, (_, flag)| flags.with(flag))
    }

    pub(crate) fn rule(&self) -> Option<&Rule> {
        self.matched.map(|id| self.prepared.routing.rule_of(id))
    }

    /// Filters in force: the rule's, then the chosen backend's.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filters> {
        let rule = self.rule();
        let choice = self.choice.and_then(|(at, _)| rule?.backends.get(at)?.filters.as_deref());
        rule.map(|rule| &rule.filters).into_iter().chain(choice)
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    fn answer(&mut self, refusal: &Refusal, now: Now) -> Step {
        Step::Answer(Box::new(self.refuse(refusal, now)))
    }
}

pub(crate) fn body_too_large(limit: u64) -> Refusal {
    Refusal::new(Reason::BodyTooLarge, format!("the limit is {limit} bytes"))
}

fn protocol(head: &RequestHead<'_>) -> Protocol {
    let starts = |name: &HeaderName, with: &[u8]| {
        let value = head.headers.first(name);
        value.is_some_and(|v| v.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with)))
    };
    let h2 = head.version == Version::HTTP_2;
    match (h2, head.tls.is_some()) {
        (true, _) if starts(&header::CONTENT_TYPE, b"application/grpc") => Protocol::Grpc,
        (false, _) if starts(&header::UPGRADE, b"websocket") => Protocol::Websocket,
        (true, true) => Protocol::H2,
        (true, false) => Protocol::H2c,
        (false, _) => Protocol::H1,
    }
}
