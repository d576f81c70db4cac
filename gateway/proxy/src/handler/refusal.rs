//! Answers to requests that failed, with the one word for why.

use analytics_record::Reason;
use gateway_pipeline::LocalResponse;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::context::Context;
use super::{answer as wire, record};

/// Answers a request that failed, if anybody can still hear it. Returns the status, 0 for none.
pub(crate) async fn refuse(session: &mut Session, error: &Error, ctx: &mut Context) -> u16 {
    let begun = session.response_written().is_some_and(|written| !written.status.is_informational());
    let failure = failure(error, ctx);
    let Some(answer) = answer(ctx, failure).filter(|_| !begun) else { return 0 };
    let status = answer.status.as_u16();
    ctx.ending.refused = true;
    session.set_keepalive(None);
    match respond(session, ctx, answer).await {
        Ok(()) => status,
        Err(_) => 0,
    }
}

/// The answer to a request that failed or was stopped. Also to be taken when nobody can hear it: the failure is noted
/// for the record.
pub(crate) fn answer(ctx: &mut Context, failure: Option<Reason>) -> Option<LocalResponse> {
    let now = ctx.shared.clock.at(ctx.now());
    let failed = failure.and_then(|reason| Some(ctx.exchange.as_mut()?.fail(reason, now)));
    ctx.answer.take().or(failed)
}

/// What a failed request failed from; none when the caller is gone.
fn failure(error: &Error, ctx: &Context) -> Option<Reason> {
    if ctx.answer.is_some() {
        return None;
    }
    if let Some(failure) = ctx.attempts.failure {
        return Some(failure);
    }
    let violated = ctx.facts.as_ref().is_some_and(|facts| facts.connection.is_violated());
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, _) if violated => Some(Reason::MalformedRequest),
        (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader) => Some(Reason::MalformedRequest),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(Reason::RequestTimeout),
        (ErrorSource::Downstream, _) => None,
        (ErrorSource::Upstream, _) => Some(Reason::UpstreamReset),
        _ => Some(Reason::Internal),
    }
}

/// Records the request, and sends an answer of ours. In this order: a caller that has the whole answer must be
/// sure of its record, even if the process is killed in between.
pub(crate) async fn respond(session: &mut Session, ctx: &mut Context, response: LocalResponse) -> Result<()> {
    if ctx.shared.is_draining() {
        session.set_keepalive(None);
    }
    ctx.ending.status = response.status.as_u16();
    ctx.ending.local_bytes += wire::body_bytes(session.as_downstream(), &response) as u64;
    record::write(ctx);
    wire::send(session.as_downstream_mut(), response).await
}
