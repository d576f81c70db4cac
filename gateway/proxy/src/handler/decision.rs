//! What the pipeline decides of a request, and what it does to the header on its way up.

use std::sync::Arc;

use gateway_pipeline::{Exchange, LocalResponse, Step};
use http::header::{COOKIE, HOST};
use http::{HeaderName, HeaderValue, Version};
use pingora_error::Result;
use pingora_http::RequestHeader;

use super::context::{Context, Facts, look};
use super::head::{Received, RequestEdits};
use super::mirror;
use crate::listen::Connection;
use crate::telemetry::Trace;

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What can be known before the pipeline begins.
pub(crate) fn facts(received: &Received<'_>, connection: &Arc<Connection>, ctx: &Context) -> Facts {
    let headers = received.headers();
    let (mut traceparent, mut count) = (None, 0);
    headers.each(&TRACEPARENT, &mut |value| {
        (traceparent, count) = (Some(value), count + 1);
    });
    // Of two, neither can be trusted to be the caller's.
    let traceparent = traceparent.filter(|_| count == 1);
    let [first, second, random, trace @ ..]: [u64; 6] = rand::random();
    Facts {
        connection: Arc::clone(connection),
        request_id: request_id(ctx, first, second as u16),
        random,
        trace: Trace::new(traceparent, trace, ctx.config.settings.trace_per_mille),
        upgrade: received.asks_for_tunnel(),
    }
}

/// A fresh UUIDv7 (RFC 9562, 5.7), by the clock that the record goes by.
fn request_id(ctx: &Context, first: u64, second: u16) -> u128 {
    let millis = u64::try_from(ctx.shared.clock.at(ctx.start).unix_us / 1_000).unwrap_or(0);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&first.to_le_bytes());
    random[8..].copy_from_slice(&second.to_le_bytes());
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128()
}

/// The pipeline's decision: an answer of our own, or none: forward.
pub(crate) async fn decide(received: &Received<'_>, ctx: &mut Context) -> Option<LocalResponse> {
    let clock = &ctx.shared.clock;
    let facts = ctx.facts.as_ref()?;
    let now = clock.at(ctx.now());
    // The head, which is no one else's to see, is gone before anything is waited for.
    let (exchange, mut step) = {
        let head = received.head(facts);
        let exchange = ctx.exchange.insert(Exchange::new(&ctx.config.prepared, &head, now));
        let step = exchange.begin(&head, now);
        (exchange, step)
    };
    loop {
        exchange.nudges(&mut |slot| ctx.shared.leases.nudge(slot));
        match step {
            Step::Answer(response) => return Some(*response),
            Step::Forward => return None,
            Step::NeedLease(need) => {
                let lease = ctx.shared.leases.get(need, ctx.start).await;
                let now = look(&mut ctx.looked);
                step = exchange.resume(&received.head(facts), &lease, clock.at(now));
            }
        }
    }
}

/// Takes over what the pipeline planned.
pub(crate) fn plan(ctx: &mut Context) {
    let Some(exchange) = &ctx.exchange else { return };
    let Some(plan) = exchange.plan() else { return };
    let backend = |index: usize| ctx.config.upstreams.get(index).cloned();
    ctx.attempts.backend = backend(plan.backend.index());
    ctx.attempts.certificate = ctx.config.client_certificate(exchange.listener()).cloned();
    let tunnel = ctx.facts.as_ref().is_some_and(|facts| facts.upgrade);
    // A tunnel lives as long as both sides want.
    ctx.attempts.deadline = plan.timeouts.request.filter(|_| !tunnel).map(|timeout| ctx.start + timeout);
    if !tunnel {
        let mirrors = exchange.mirrors().filter_map(|mirror| backend(mirror.index()));
        ctx.copies = mirror::Copies::to(mirrors.collect(), ctx.attempts.certificate.clone());
    }
}

/// The header as it goes upstream.
pub(crate) fn edit_request(
    received: &RequestHeader,
    upstream: &mut RequestHeader,
    ctx: &mut Context,
) -> Result<()> {
    let (Some(exchange), Some(facts)) = (&ctx.exchange, &ctx.facts) else { return Ok(()) };
    // HTTP/2 needs no Host; the edits do.
    if !upstream.headers.contains_key(HOST)
        && let Some(authority) = received.uri.authority()
    {
        upstream.insert_header(HOST, authority.as_str())?;
    }
    exchange.edit_request(&Received::Parsed(received).head(facts), &mut RequestEdits(upstream));
    if let Some(target) = exchange.upstream_target() {
        upstream.set_raw_path(target.as_bytes())?;
    } else if upstream.version != Version::HTTP_2
        && !upstream.raw_path().starts_with(b"/")
        && upstream.raw_path() != b"*"
    {
        // Absolute form is for proxies (RFC 9112, 3.2.2): the upstream is asked in origin form.
        let origin = upstream.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        upstream.set_raw_path(origin.as_bytes())?;
    }
    upstream.insert_header(TRACEPARENT.clone(), &facts.trace.traceparent()[..])?;
    if upstream.version != Version::HTTP_2 {
        join_cookies(upstream)?;
    }
    if facts.trace.begins_here() {
        // It belongs to a trace that is not continued (W3C Trace Context, 3.3.1).
        upstream.remove_header(&TRACESTATE);
    }
    Ok(())
}

/// HTTP/2 callers may send one field for each cookie; elsewhere there is one for all (RFC 9113, 8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let cookies: Vec<&[u8]> = upstream.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = cookies.join(&b"; "[..]);
        upstream.insert_header(COOKIE, joined)?;
    }
    Ok(())
}
