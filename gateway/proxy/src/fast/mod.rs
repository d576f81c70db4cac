//! The fast path: plain HTTP/1.1 exchanges, carried from socket to socket without a second parser, without header
//! maps, and without an allocation of their own.
//!
//! In: a connection whose front holds a checked head. Out: the answer and one record, or the request handed over to
//! pingora as it came, with its decision if one was made. Decides nothing: pipeline, attempts, metering and record are
//! those of [`crate::handler`]. Must never send a byte upstream for a request that it hands over.

mod answer;
mod attempt;
mod plain;
mod scratch;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use gateway_pipeline::LocalResponse;
use gateway_snapshot::BackendProtocol;

use crate::handler::answer as local;
use crate::handler::context::{Begun, Context};
use crate::handler::decision::{decide, facts, plan};
use crate::handler::head::Received;
use crate::handler::metering::{Direction, count};
use crate::handler::{record, refusal};
use crate::listen::{Downstream, Front, Head, Served};
use crate::shared::Shared;
use crate::wire::View;
use plain::Plain;
use scratch::Scratch;

/// Why an exchange cannot go on as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// The request is to be sent again.
    Again,
    /// The caller has left.
    Left,
    /// The context holds an answer of ours, or says what failed.
    Noted,
}

/// One exchange.
struct Exchange<'a> {
    stream: &'a mut Downstream,
    front: Front,
    head: Head,
    plain: Plain,
    ctx: Context,
    scratch: Scratch,
    /// How long a caller may be silent, or not read.
    idle: Duration,
}

/// Serves the request at the front of `stream`, if it is plain.
pub(crate) async fn serve(shared: &Arc<Shared>, stream: &mut Downstream, head: &Head) -> Served {
    let front = stream.take_front();
    let plain = Plain::of(&front.bytes, head, &front.parts);
    let mut ctx = Context::new(shared);
    ctx.looked = Some(ctx.start);
    let Some(plain) = plain.filter(|_| ctx.config.settings.fast_path) else {
        stream.put_front(front);
        return Served::HandOver;
    };
    let idle = ctx.config.limits.idle;
    let mut exchange = Exchange { stream, front, head: *head, plain, ctx, scratch: Scratch::take(), idle };
    let connection = Arc::clone(exchange.stream.connection());
    let Some(received) = received(&exchange.front) else { return exchange.hand_over(None) };
    exchange.ctx.facts = Some(facts(&received, &connection, &exchange.ctx));
    match decide(&received, &mut exchange.ctx).await {
        // Pingora knows what to do with a body that nobody reads.
        Some(answer) if exchange.plain.body > 0 => exchange.hand_over(Some(answer)),
        Some(answer) => exchange.respond(&answer, true).await,
        None => {
            plan(&mut exchange.ctx);
            if exchange.leads_to_plain() { exchange.forward().await } else { exchange.hand_over(None) }
        }
    }
}

/// The head as the pipeline looks at it.
fn received(front: &Front) -> Option<Received<'_>> {
    let parts = &front.parts;
    Some(Received::Plain {
        method: std::str::from_utf8(parts.method.of(&front.bytes)).ok()?,
        target: parts.target.of(&front.bytes),
        fields: View::new(&front.bytes, &parts.fields),
    })
}

impl Exchange<'_> {
    /// Whether the request goes where it can be carried.
    fn leads_to_plain(&self) -> bool {
        let backend = self.ctx.attempts.backend.as_ref();
        let plain =
            backend.is_none_or(|backend| backend.protocol == BackendProtocol::Http1 && !backend.is_secure());
        plain && !self.ctx.copies.wanted()
    }

    /// Leaves the request to pingora, with the decision that was made.
    fn hand_over(mut self, answer: Option<LocalResponse>) -> Served {
        self.ctx.looked = None;
        let connection = Arc::clone(self.stream.connection());
        self.stream.put_front(self.front);
        if self.ctx.exchange.is_some() {
            connection.leave(Box::new(Begun { ctx: self.ctx, answer }));
        }
        Served::HandOver
    }

    /// Bytes of the whole request.
    fn len(&self) -> usize {
        self.head.len + self.plain.body
    }

    async fn forward(&mut self) -> Served {
        if let Err(failed) = self.read_body().await {
            return self.refuse(failed).await;
        }
        self.write_request();
        loop {
            match self.attempt().await {
                Ok((upstream, head)) => return self.answer(upstream, head).await,
                Err(Failed::Again) => {}
                Err(failed) => return self.refuse(failed).await,
            }
        }
    }

    /// Reads the body to its end.
    async fn read_body(&mut self) -> Result<(), Failed> {
        let (whole, mut counted) = (self.len(), self.head.len);
        loop {
            let have = self.front.bytes.len().min(whole);
            if have > counted {
                let fresh = (have - counted) as u64;
                count(&mut self.ctx, fresh, Direction::Up).await.map_err(|_| Failed::Noted)?;
                counted = have;
            }
            if have == whole {
                return Ok(());
            }
            let silent = self.ctx.now() + self.idle;
            let deadline = self.ctx.attempts.deadline.map_or(silent, |deadline| deadline.min(silent));
            let more = self.stream.more(&mut self.front, deadline).await;
            self.ctx.look();
            match more {
                Some(Ok(1..)) => {}
                Some(_) => return Err(Failed::Left),
                None => {
                    self.ctx.attempts.failure = Some(analytics_record::Reason::RequestTimeout);
                    return Err(Failed::Noted);
                }
            }
        }
    }

    /// Answers a request that failed, if anybody can still hear it.
    async fn refuse(&mut self, failed: Failed) -> Served {
        self.ctx.look();
        let failure =
            self.ctx.attempts.failure.filter(|_| failed == Failed::Noted && self.ctx.answer.is_none());
        if let Some(answer) = refusal::answer(&mut self.ctx, failure) {
            self.ctx.ending.refused = true;
            return self.respond(&answer, false).await;
        }
        self.ctx.ending.aborted = true;
        record::write(&mut self.ctx);
        Served::Closed
    }

    /// Records the request, then sends an answer of ours.
    async fn respond(&mut self, answer: &LocalResponse, keep: bool) -> Served {
        let keep = keep && self.keeps();
        self.ctx.ending.status = answer.status.as_u16();
        self.ctx.ending.local_bytes += local::body_of(answer, self.plain.head_only).len() as u64;
        record::write(&mut self.ctx);
        let bytes = local::raw(answer, self.plain.head_only, keep);
        let sent = self.stream.send(&bytes, &[], self.idle).await;
        self.finish(keep && sent.is_ok())
    }

    /// Whether the connection is kept behind an answer.
    fn keeps(&self) -> bool {
        !self.plain.close && !self.ctx.shared.is_draining()
    }

    /// Goes on behind the request, or leaves what was not read of it for the end of the connection.
    fn finish(&mut self, keep: bool) -> Served {
        self.ctx.shared.metrics.fast_path.inc();
        let front =
            Front { bytes: mem::take(&mut self.front.bytes), parts: mem::take(&mut self.front.parts) };
        let len = self.len();
        if front.bytes.len() >= len {
            self.stream.pass_front(front, len);
        } else {
            self.stream.put_front(front);
        }
        if keep { Served::Again } else { Served::Closed }
    }
}
