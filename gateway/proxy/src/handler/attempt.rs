//! Attempts at upstreams: which endpoint, how long, and whether again.
//!
//! In: the plan of the pipeline and what happened so far. Out: a peer for pingora, or a failure. A request is
//! tried again only while nothing of an answer went downstream and its body can be sent once more. State of
//! endpoints is kept by [`crate::upstream`].

use std::time::{Duration, Instant};

use analytics_record::Reason;
use gateway_pipeline::Plan;
use http::StatusCode;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::context::Context;

/// Attempts at other endpoints after failed connections, where a route says nothing of retries.
const SPARE_ATTEMPTS: u8 = 2;
/// A tunnel that is silent for this long is closed.
const TUNNEL_SILENCE: Duration = Duration::from_hours(1);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A peer for the next attempt; waits between attempts as the route says.
pub(crate) async fn next(ctx: &mut Context) -> Result<Box<HttpPeer>> {
    if ctx.attempts.made > 0 {
        ctx.shared.metrics.retries.inc();
        pause(ctx).await;
    }
    if ctx.left().is_some_and(|left| left.is_zero()) {
        return Err(fail(ctx, Reason::RequestTimeout));
    }
    let Some(backend) = ctx.attempts.backend.clone() else { return Err(fail(ctx, Reason::NoEndpoints)) };
    backend.ready().await;
    let now_ms = ctx.shared.clock.mono_ms();
    let Some(endpoint) = backend.pool.choose(now_ms, &ctx.attempts.failed) else {
        return Err(fail(ctx, Reason::NoEndpoints));
    };
    let left = ctx.left();
    let connect = Duration::from_millis(ctx.config.settings.connect_timeout_ms.max(1));
    let connect = left.map_or(connect, |left| left.min(connect));
    let tunnel = ctx.facts.as_ref().is_some_and(|facts| facts.upgrade);
    let certificate = ctx.attempts.certificate.as_ref();
    let peer = backend.peer(&endpoint, connect, read_timeout(ctx, left), tunnel, certificate);
    ctx.attempts.made += 1;
    ctx.attempts.again = false;
    ctx.attempts.failure = None;
    ctx.attempts.endpoint = Some(endpoint);
    ctx.attempts.sent = Some(Instant::now());
    ctx.upload.seen = 0;
    Ok(peer)
}

fn read_timeout(ctx: &Context, left: Option<Duration>) -> Option<Duration> {
    if ctx.facts.as_ref().is_some_and(|facts| facts.upgrade) {
        return Some(TUNNEL_SILENCE);
    }
    let backend = plan(ctx).and_then(|plan| plan.timeouts.backend);
    [backend, left].into_iter().flatten().min()
}

/// The smallest pause that the route asks for, doubled for each attempt, with some randomness, within the
/// request's time.
async fn pause(ctx: &Context) {
    let retry = plan(ctx).and_then(|plan| plan.retry);
    let least = retry.map_or(Duration::ZERO, |retry| Duration::from_millis(retry.backoff_ms));
    if least.is_zero() {
        return;
    }
    let doubled =
        least.saturating_mul(1 << u32::from(ctx.attempts.made - 1).min(8)).min(LONGEST_PAUSE.max(least));
    let pause = doubled.mul_f64(1.0 + rand::random::<f64>() / 4.0);
    tokio::time::sleep(ctx.left().map_or(pause, |left| left.min(pause))).await;
}

/// Notes a failure of ours; the error ends the request.
pub(crate) fn fail(ctx: &mut Context, reason: Reason) -> Box<Error> {
    ctx.attempts.failure = Some(reason);
    let mut error = Error::explain(ErrorType::InternalError, "refused by the gateway");
    error.set_retry(false);
    error
}

/// A connection could not be made.
pub(crate) fn not_connected(ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let failure = match error.etype() {
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => Reason::UpstreamTls,
        _ => Reason::UpstreamConnect,
    };
    tracing::debug!(%error, "no connection to an upstream");
    endpoint_failed(ctx);
    ctx.attempts.failure = Some(failure);
    let others = ctx.attempts.backend.as_ref().map_or(0, |backend| backend.pool.len());
    let again = match allowed(ctx) {
        Some(retries) => ctx.attempts.made <= retries,
        None => ctx.attempts.made <= SPARE_ATTEMPTS && others > ctx.attempts.failed.len(),
    };
    error.set_retry(again);
    error
}

/// An exchange with an upstream broke off.
pub(crate) fn broken(
    session: &Session,
    ctx: &mut Context,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    if *error.esource() != ErrorSource::Upstream && !ctx.attempts.again {
        error.set_retry(false);
        return error;
    }
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let again = if ctx.attempts.again {
        true
    } else if timed_out {
        let late = ctx.left().is_some_and(|left| left < Duration::from_millis(2));
        ctx.attempts.failure = Some(if late { Reason::RequestTimeout } else { Reason::BackendTimeout });
        endpoint_failed(ctx);
        !late && codes(ctx).contains(&504)
    } else {
        let malformed = matches!(error.etype(), ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2);
        ctx.attempts.failure =
            Some(if malformed { Reason::UpstreamMalformed } else { Reason::UpstreamReset });
        // A kept connection that the other side closed meanwhile says nothing about the endpoint.
        if !reused {
            endpoint_failed(ctx);
        }
        error.retry.decide_reuse(reused);
        let stale = error.retry();
        !malformed && session.req_header().method.is_idempotent() && (stale || allowed(ctx).is_some())
    };
    let limit = allowed(ctx).unwrap_or(SPARE_ATTEMPTS);
    error.set_retry(again && ctx.attempts.made <= limit && repeatable(session));
    error
}

/// Looks at the head of an answer: true when it is to be thrown away and the request tried again.
pub(crate) fn answered(session: &Session, ctx: &mut Context, status: StatusCode) -> bool {
    ctx.attempts.answered_in = ctx.attempts.sent.map(|sent| sent.elapsed());
    if status.is_server_error() {
        let (attempts, now_ms) = (&ctx.attempts, ctx.shared.clock.mono_ms());
        if let (Some(backend), Some(endpoint)) = (&attempts.backend, &attempts.endpoint)
            && backend.pool.failed(endpoint, now_ms)
        {
            ejected(ctx);
        }
    } else if let Some(endpoint) = &ctx.attempts.endpoint {
        endpoint.succeeded();
    }
    let again = codes(ctx).contains(&status.as_u16())
        && allowed(ctx).is_some_and(|retries| ctx.attempts.made <= retries)
        && ctx.left().is_none_or(|left| !left.is_zero())
        && repeatable(session);
    ctx.attempts.again = again;
    again
}

/// Whether nothing of an answer went downstream, and the request's body can be sent again.
fn repeatable(session: &Session) -> bool {
    let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
    !begun && !session.as_ref().retry_buffer_truncated()
}

fn plan(ctx: &Context) -> Option<Plan<'_>> {
    ctx.exchange.as_ref()?.plan()
}

/// Retries that the route allows; `None` when it says nothing.
fn allowed(ctx: &Context) -> Option<u8> {
    Some(plan(ctx)?.retry?.attempts)
}

fn codes(ctx: &Context) -> &[u16] {
    plan(ctx).and_then(|plan| plan.retry).map_or(&[], |retry| &retry.codes)
}

fn endpoint_failed(ctx: &mut Context) {
    let now_ms = ctx.shared.clock.mono_ms();
    let Some(endpoint) = &ctx.attempts.endpoint else { return };
    ctx.attempts.failed.push(endpoint.address);
    if ctx.attempts.backend.as_ref().is_some_and(|backend| backend.pool.failed(endpoint, now_ms)) {
        ejected(ctx);
    }
}

fn ejected(ctx: &Context) {
    ctx.shared.metrics.ejections.inc();
    let backend = ctx.attempts.backend.as_ref().map(|backend| backend.key.as_str());
    tracing::info!(backend, "an endpoint is ejected for a while");
}
