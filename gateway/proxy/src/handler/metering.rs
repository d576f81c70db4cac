//! Body bytes against byte quotas and body limits, in both directions, before they are passed on.

use std::sync::Arc;
use std::time::Instant;

use analytics_record::Reason;
use gateway_pipeline::{Flow, LeaseNeed};
use pingora_error::{Error, ErrorType, Result};

use super::context::Context;

/// Bytes may not pass: the context holds the answer, or the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Which way bytes go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    /// To the upstream.
    Up,
    /// To the caller.
    Down,
}

/// Counts body bytes; waits for a lease if one is needed.
pub(crate) async fn count(
    ctx: &mut Context,
    bytes: u64,
    direction: Direction,
) -> std::result::Result<(), Stopped> {
    let mut since = None;
    while let Some(need) = pass(ctx, bytes, direction)? {
        let since = *since.get_or_insert_with(Instant::now);
        let lease = ctx.shared.leases.get(need, since).await;
        ctx.look();
        if lease.timed_out {
            ctx.attempts.failure = Some(Reason::QuotaUnavailable);
            return Err(Stopped);
        }
    }
    Ok(())
}

/// Counts body bytes on their way up.
pub(crate) async fn count_upload(ctx: &mut Context, bytes: u64) -> Result<()> {
    count(ctx, bytes, Direction::Up).await.map_err(stopped)
}

/// Counts body bytes on their way down. The phase cannot wait, so the thread does: this is rare (a slot that
/// ran dry in the middle of a body), and other threads take over what runs on this one.
pub(crate) fn count_download(ctx: &mut Context, bytes: u64) -> Result<()> {
    let since = Instant::now();
    while let Some(need) = pass(ctx, bytes, Direction::Down).map_err(stopped)? {
        let leases = Arc::clone(&ctx.shared.leases);
        let wait = async move { leases.get(need, since).await };
        let lease = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(wait));
        if lease.timed_out {
            ctx.attempts.failure = Some(Reason::QuotaUnavailable);
            return Err(stopped(Stopped));
        }
    }
    Ok(())
}

/// Asks the pipeline whether bytes may pass: nothing when they may, or the lease that is needed first.
fn pass(
    ctx: &mut Context,
    bytes: u64,
    direction: Direction,
) -> std::result::Result<Option<LeaseNeed>, Stopped> {
    let now = ctx.shared.clock.at(ctx.now());
    let Some(exchange) = &mut ctx.exchange else { return Ok(None) };
    let flow = match direction {
        Direction::Up => exchange.request_bytes(bytes, now),
        Direction::Down => exchange.response_bytes(bytes, now),
    };
    exchange.nudges(&mut |slot| ctx.shared.leases.nudge(slot));
    match flow {
        Flow::Pass => Ok(None),
        Flow::NeedLease(need) => Ok(Some(need)),
        Flow::Stop(response) => {
            ctx.answer = Some(*response);
            Err(Stopped)
        }
    }
}

fn stopped(_: Stopped) -> Box<Error> {
    let mut error = Error::explain(ErrorType::InternalError, "stopped by a limit");
    error.set_retry(false);
    error
}
