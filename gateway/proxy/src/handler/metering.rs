//! Body bytes against byte quotas and body limits, in both directions, before they are passed on.

use std::sync::Arc;
use std::time::Instant;

use analytics_record::Reason;
use gateway_pipeline::{Flow, LeaseNeed};
use pingora_error::{Error, ErrorType, Result};

use super::attempt;
use super::context::Context;

/// Counts body bytes on their way up; waits for a lease if one is needed.
pub(crate) async fn count_upload(ctx: &mut Context, bytes: u64) -> Result<()> {
    let since = Instant::now();
    while let Some(need) = pass(ctx, bytes, Direction::Up)? {
        let lease = ctx.shared.leases.get(need, since).await;
        if lease.timed_out {
            return Err(attempt::fail(ctx, Reason::QuotaUnavailable));
        }
    }
    Ok(())
}

/// Counts body bytes on their way down. The phase cannot wait, so the thread does: this is rare (a slot that
/// ran dry in the middle of a body), and other threads take over what runs on this one.
pub(crate) fn count_download(ctx: &mut Context, bytes: u64) -> Result<()> {
    let since = Instant::now();
    while let Some(need) = pass(ctx, bytes, Direction::Down)? {
        let leases = Arc::clone(&ctx.shared.leases);
        let wait = async move { leases.get(need, since).await };
        let lease = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(wait));
        if lease.timed_out {
            return Err(attempt::fail(ctx, Reason::QuotaUnavailable));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// Asks the pipeline whether bytes may pass: nothing when they may, or the lease that is needed first.
fn pass(ctx: &mut Context, bytes: u64, direction: Direction) -> Result<Option<LeaseNeed>> {
    let now = ctx.shared.clock.now();
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
            Err(stopped())
        }
    }
}

fn stopped() -> Box<Error> {
    let mut error = Error::explain(ErrorType::InternalError, "stopped by a limit");
    error.set_retry(false);
    error
}
