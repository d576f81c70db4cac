//! What goes back: edits to the upstream's response, and everything that our own answers carry.
//!
//! In: the exchange and the limits as they stand. Out: header fields. Every response carries the request id;
//! every response of a rule with limits carries how they stand (draft-ietf-httpapi-ratelimit-headers).

use bytes::Bytes;
use gateway_quota::Mono;
use gateway_quota::rate::Verdict;
use http::{HeaderMap, HeaderName, StatusCode, header};

use analytics_record::Reason;

use crate::admission::Denied;
use crate::cors::{Cors, Preflight};
use crate::credential::{self, Source};
use crate::exchange::{Exchange, REQUEST_ID};
use crate::forwarded::{self, joined};
use crate::head::{HeaderSink, Now, RequestHead};
use crate::refusal::{self, LocalResponse, Refusal, whole_seconds};
use crate::terms::{Accounts, Terms};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

impl Exchange {
    /// Edits the request for the upstream. The target is [`Exchange::upstream_target`]'s part, hop-by-hop fields
    /// are the shell's. Filters come last, so that they have the last word.
    pub fn edit_request(&self, head: &RequestHead<'_>, sink: &mut dyn HeaderSink) {
        // Host is what was routed by, wherever it was written.
        if let Ok(Some(authority)) = crate::address::authority_of(head)
            && head.headers.first(&header::HOST) != Some(authority)
        {
            sink.set(&header::HOST, authority);
        }
        forwarded::edit(head, self.trusted, self.request_id, sink);
        if let Some(sources) = self.hides() {
            credential::hide(sources, head, sink);
        }
        for filters in self.filters() {
            filters.request.apply(sink);
            if let Some(host) = filters.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_ref()) {
                sink.set(&header::HOST, host.as_bytes());
            }
        }
    }

    /// Edits the upstream's response; call once, on its final head.
    pub fn edit_response(&self, sink: &mut dyn HeaderSink, now: Now) {
        self.mark(sink, now);
        for filters in self.filters() {
            filters.response.apply(sink);
        }
        let cors = self.rule().and_then(|rule| rule.filters.cors.as_deref());
        if let Some(cors) = cors {
            cors.share(self.origin.as_deref(), sink);
        }
    }

    /// The places of the policy to hide, if it hides.
    pub(crate) fn hides(&self) -> Option<&[Source]> {
        let policy = &self.prepared.policies.auth[self.rule()?.auth? as usize];
        policy.hide.then_some(policy.sources.as_slice())
    }

    /// A refusal in the form that the downstream understands; notes its reason.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, now: Now) -> LocalResponse {
        self.reason = refusal.reason;
        let id = self.request_id().to_string();
        let mut response =
            if self.is_grpc() { refusal::grpc(refusal) } else { refusal::problem(refusal, &id) };
        if refusal.reason.status() == Some(401)
            && let Some(policy) = self.rule().and_then(|rule| rule.auth)
        {
            let challenge = self.prepared.policies.auth[policy as usize].challenge.clone();
            response.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        self.mark(&mut response.headers, now);
        let cors = self.rule().and_then(|rule| rule.filters.cors.as_deref());
        if let Some(cors) = cors {
            // Without these fields a script could not read why it was refused.
            cors.share(self.origin.as_deref(), &mut response.headers);
        }
        response
    }

    /// A redirect or mock: it gets what a response of the upstream would get.
    pub(crate) fn own(
        &self,
        (status, mut headers, body): (StatusCode, HeaderMap, Bytes),
        now: Now,
    ) -> LocalResponse {
        self.edit_response(&mut headers, now);
        LocalResponse { status, headers, body }
    }

    /// The answer to a preflight; the policy alone decides what is in it.
    pub(crate) fn answer_preflight(&self, cors: &Cors, asked: &Preflight<'_>) -> LocalResponse {
        let mut headers = HeaderMap::new();
        set_request_id(self.request_id(), &mut headers);
        cors.answer(asked, &mut headers);
        LocalResponse { status: StatusCode::OK, headers, body: Bytes::new() }
    }

    /// Fields that every response of a rule carries.
    fn mark(&self, sink: &mut dyn HeaderSink, now: Now) {
        set_request_id(self.request_id(), sink);
        if let Some(product) = self.product.map(|at| &self.prepared.callers.products[at as usize]) {
            if let Some(deprecation) = &product.deprecation {
                sink.set(&DEPRECATION, deprecation.as_bytes());
            }
            if let Some(sunset) = &product.sunset {
                sink.set(&SUNSET, sunset.as_bytes());
            }
        }
        if self.admission.has_sets() {
            // An upstream's own limits are not ours.
            sink.remove(&RATE_LIMIT);
            sink.remove(&RATE_LIMIT_POLICY);
            for (terms, accounts) in self.admission.sets(&self.prepared) {
                standing(terms, accounts, Mono::from_nanos(now.mono_ns), sink);
            }
        }
    }

    /// The refusal of a limit, with its name and when to come back.
    pub(crate) fn denied(&self, denied: Denied, now: Now) -> Refusal {
        let limit = denied.limit(&self.prepared).map(str::to_owned);
        let (reason, detail, retry_after) = match denied {
            Denied::Rate { retry_after, .. } => {
                (Reason::RateLimited, "too many requests in a short time", Some(retry_after))
            }
            Denied::Quota { quota, terms } => {
                let reset = self.admission.reset(terms, quota, Mono::from_nanos(now.mono_ns));
                (Reason::QuotaExceeded, "the quota of this window is used up", reset)
            }
            Denied::Unavailable { .. } => {
                let soon = std::time::Duration::from_secs(1);
                (Reason::QuotaUnavailable, "the quota could not be checked in time", Some(soon))
            }
            Denied::TooMany => (Reason::InvalidRoute, "more quotas apply than can be accounted for", None),
        };
        Refusal { limit, retry_after, ..Refusal::new(reason, detail) }
    }
}

fn set_request_id(id: uuid::Uuid, sink: &mut dyn HeaderSink) {
    sink.set(&REQUEST_ID, id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes());
}

/// `RateLimit` and `RateLimit-Policy` of one set of limits.
fn standing(terms: &Terms, accounts: &Accounts, now: Mono, sink: &mut dyn HeaderSink) {
    if terms.policy_field.is_empty() {
        return;
    }
    sink.append(&RATE_LIMIT_POLICY, terms.policy_field.as_bytes());
    let mut field = [0_u8; 256];
    let mut append = |start: &str, remaining: u64, reset: std::time::Duration| {
        let (mut left, mut seconds) = (itoa::Buffer::new(), itoa::Buffer::new());
        let parts = [start, left.format(remaining), ";t=", seconds.format(whole_seconds(reset))];
        sink.append(&RATE_LIMIT, joined(&mut field, &parts));
    };
    for (term, bucket) in terms.rates.iter().zip(&accounts.buckets) {
        let (remaining, reset) = match bucket.take(&term.rate, 0, now) {
            Verdict::Allowed { remaining, reset } => (remaining, reset),
            Verdict::Limited { remaining, retry_after } => (remaining, retry_after),
        };
        append(&term.field, remaining, reset);
    }
    for (term, cell) in terms.quotas.iter().zip(&accounts.slots) {
        if let Some(standing) = cell.slot.get().and_then(|slot| slot.standing(now)) {
            append(&term.field, standing.remaining, standing.reset);
        }
    }
}
