//! Attempts at upstreams: which endpoint, how long, and whether again.
//!
//! In: the plan of the pipeline and what happened so far. Out: a peer for pingora, or a failure. A request is
//! tried again only while nothing of an answer went downstream and its body can be sent once more. State of
//! endpoints is kept by [`crate::upstream`].

use std::time::Duration;

use analytics_record::Reason;
use gateway_pipeline::Plan;
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
    let connect = match begin(ctx).await {
        Ok(connect) => connect,
        Err(reason) => return Err(fail(ctx, reason)),
    };
    let read = read_timeout(ctx);
    let (Some(backend), Some(endpoint)) = (&ctx.attempts.backend, &ctx.attempts.endpoint) else {
        return Err(fail(ctx, Reason::NoEndpoints));
    };
    let tunnel = ctx.facts.as_ref().is_some_and(|facts| facts.upgrade);
    Ok(backend.peer(endpoint, connect, read, tunnel, ctx.attempts.certificate.as_ref()))
}

/// Begins an attempt at the next endpoint; waits between attempts as the route says. Gives the time for a connection.
pub(crate) async fn begin(ctx: &mut Context) -> std::result::Result<Duration, Reason> {
    if ctx.attempts.made > 0 {
        ctx.shared.metrics.retries.inc();
        pause(ctx).await;
    }
    let backend = ctx.attempts.backend.clone().ok_or(Reason::NoEndpoints)?;
    let waited = backend.ready().await;
    let now = if waited || ctx.attempts.made > 0 { ctx.look() } else { ctx.now() };
    let left = ctx.left_at(now);
    if left.is_some_and(|left| left.is_zero()) {
        return Err(Reason::RequestTimeout);
    }
    let now_ms = ctx.shared.clock.mono_ms_of(now);
    let endpoint = backend.pool.choose(now_ms, &ctx.attempts.failed).ok_or(Reason::NoEndpoints)?;
    ctx.attempts.made += 1;
    ctx.attempts.again = false;
    ctx.attempts.failure = None;
    ctx.attempts.endpoint = Some(endpoint);
    ctx.attempts.sent = Some(now);
    ctx.upload.seen = 0;
    let connect = Duration::from_millis(ctx.config.settings.connect_timeout_ms.max(1));
    Ok(left.map_or(connect, |left| left.min(connect)))
}

/// How long an upstream may be silent.
pub(crate) fn read_timeout(ctx: &Context) -> Option<Duration> {
    if ctx.facts.as_ref().is_some_and(|facts| facts.upgrade) {
        return Some(TUNNEL_SILENCE);
    }
    let backend = plan(ctx).and_then(|plan| plan.timeouts.backend);
    let left = ctx.attempts.sent.and_then(|sent| ctx.left_at(sent));
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
    error.set_retry(unreachable(ctx, failure));
    error
}

/// Notes that a connection could not be made: true when another endpoint is to be tried.
pub(crate) fn unreachable(ctx: &mut Context, failure: Reason) -> bool {
    endpoint_failed(ctx);
    ctx.attempts.failure = Some(failure);
    let others = ctx.attempts.backend.as_ref().map_or(0, |backend| backend.pool.len());
    match allowed(ctx) {
        Some(retries) => ctx.attempts.made <= retries,
        None => ctx.attempts.made <= SPARE_ATTEMPTS && others > ctx.attempts.failed.len(),
    }
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
    let again = if ctx.attempts.again {
        true
    } else if matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout) {
        timed_out(ctx)
    } else {
        error.retry.decide_reuse(reused);
        let cut = match error.etype() {
            ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => Cut::Malformed,
            _ if error.retry() => Cut::Stale,
            _ => Cut::Reset,
        };
        broke_off(ctx, cut, reused, session.req_header().method.is_idempotent())
    };
    error.set_retry(again && within_limit(ctx) && repeatable(session));
    error
}

/// Notes that an upstream was silent for too long: true when the route wants such a request tried again.
pub(crate) fn timed_out(ctx: &mut Context) -> bool {
    let now = ctx.look();
    let late = ctx.left_at(now).is_some_and(|left| left < Duration::from_millis(2));
    ctx.attempts.failure = Some(if late { Reason::RequestTimeout } else { Reason::BackendTimeout });
    endpoint_failed(ctx);
    !late && codes(ctx).contains(&504)
}

/// How an exchange broke off before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What came was no answer.
    Malformed,
    /// A kept connection was closed meanwhile: the upstream saw nothing of the request.
    Stale,
    /// The connection ended.
    Reset,
}

/// Notes that an exchange broke off: true when the request may be sent again. `reused`: on a kept connection.
pub(crate) fn broke_off(ctx: &mut Context, cut: Cut, reused: bool, idempotent: bool) -> bool {
    let malformed = cut == Cut::Malformed;
    ctx.attempts.failure = Some(if malformed { Reason::UpstreamMalformed } else { Reason::UpstreamReset });
    // A kept connection that the other side closed meanwhile says nothing about the endpoint.
    if !reused {
        endpoint_failed(ctx);
    }
    !malformed && idempotent && (cut == Cut::Stale || allowed(ctx).is_some())
}

/// Whether one more attempt is allowed.
pub(crate) fn within_limit(ctx: &Context) -> bool {
    ctx.attempts.made <= allowed(ctx).unwrap_or(SPARE_ATTEMPTS)
}

/// Looks at the status of an answer: true when it is to be thrown away and the request tried again, if that is possible.
pub(crate) fn answered(ctx: &mut Context, status: u16, repeatable: bool) -> bool {
    ctx.attempts.answered_in = ctx.attempts.sent.map(|sent| ctx.now().saturating_duration_since(sent));
    if matches!(status, 500..=599) {
        let (attempts, now_ms) = (&ctx.attempts, ctx.shared.clock.mono_ms_of(ctx.now()));
        if let (Some(backend), Some(endpoint)) = (&attempts.backend, &attempts.endpoint)
            && backend.pool.failed(endpoint, now_ms)
        {
            ejected(ctx);
        }
    } else if let Some(endpoint) = &ctx.attempts.endpoint {
        endpoint.succeeded();
    }
    let again = codes(ctx).contains(&status)
        && allowed(ctx).is_some_and(|retries| ctx.attempts.made <= retries)
        && ctx.left().is_none_or(|left| !left.is_zero())
        && repeatable;
    ctx.attempts.again = again;
    again
}

/// Whether nothing of an answer went downstream, and the request's body can be sent again.
pub(crate) fn repeatable(session: &Session) -> bool {
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
    let now = ctx.look();
    let now_ms = ctx.shared.clock.mono_ms_of(now);
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
