//! The fast path: plain exchanges with HTTP/1.1 upstreams. From an HTTP/1.1 caller they are carried from socket to socket
//! without a second parser, without header maps, and without an allocation of their own; from one of HTTP/2 with the maps
//! that its library has.
//!
//! In: a connection whose front holds a checked head, or a stream. Out: the answer and one record, or the request handed
//! over to pingora as it came, with its decision if one was made. Decides nothing: pipeline, attempts, metering and record are
//! those of [`crate::handler`]. Must never send a byte upstream for a request that it hands over.

mod answer;
mod attempt;
mod caller;
mod plain;
mod scratch;
mod stream;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use gateway_pipeline::LocalResponse;
use gateway_snapshot::BackendProtocol;
use pingora_core::protocols::http::ServerSession;

use crate::handler::answer as local;
use crate::handler::context::{Begun, Context};
use crate::handler::decision::{decide, facts, plan};
use crate::handler::metering::{Direction, count};
use crate::handler::{record, refusal};
use crate::listen::{Connection, Downstream, Front, Handed, Head, Left, Served};
use crate::shared::Shared;
use caller::{Caller, Message};
use plain::Plain;
use scratch::Scratch;
use stream::Stream;

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

/// How an exchange ended.
enum Outcome {
    /// It was answered, or nobody is there to be; `keep`: the caller can ask again.
    Over { keep: bool },
    /// It is for pingora, with an answer of ours or to be forwarded.
    HandOver(Option<LocalResponse>),
}

/// One exchange.
struct Exchange<C> {
    caller: C,
    front: Front,
    /// Bytes of the head in it.
    head: usize,
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
    let ctx = Context::new(shared);
    let Some(plain) = plain.filter(|_| ctx.config.settings.fast_path) else {
        stream.put_front(front);
        return Served::HandOver;
    };
    let mut exchange = Exchange::new(Message(stream), front, head.len, plain, ctx);
    match exchange.run().await {
        Outcome::Over { keep } => exchange.finish(keep),
        Outcome::HandOver(answer) => exchange.hand_over(answer),
    }
}

/// Serves the request of a stream, if it is plain; else gives it back.
pub(crate) async fn serve_stream(
    shared: &Arc<Shared>,
    session: ServerSession,
    connection: &Arc<Connection>,
) -> Option<Handed> {
    let mut stream = Stream::new(session, connection);
    let ctx = Context::new(shared);
    let found = if ctx.config.settings.fast_path { stream.front() } else { None };
    let Some((front, head, plain)) = found else {
        return Some(Handed { session: stream.session, begun: None });
    };
    let mut exchange = Exchange::new(stream, front, head, plain, ctx);
    match exchange.run().await {
        Outcome::Over { keep } => {
            exchange.ctx.shared.metrics.fast_path.inc();
            if !keep {
                // Unless it has its answer whole.
                exchange.caller.session.shutdown().await;
            }
            None
        }
        Outcome::HandOver(answer) => {
            Some(Handed { session: exchange.caller.session, begun: begun(exchange.ctx, answer) })
        }
    }
}

/// A request for pingora, with the decision that was made, if one was.
fn begun(mut ctx: Context, answer: Option<LocalResponse>) -> Option<Left> {
    ctx.looked = None;
    ctx.exchange.is_some().then(|| Box::new(Begun { ctx, answer }) as Box<_>)
}

impl<C: Caller> Exchange<C> {
    fn new(caller: C, front: Front, head: usize, plain: Plain, mut ctx: Context) -> Self {
        ctx.looked = Some(ctx.start);
        let idle = ctx.config.limits.idle;
        Self { caller, front, head, plain, ctx, scratch: Scratch::take(), idle }
    }

    async fn run(&mut self) -> Outcome {
        let Some(received) = self.caller.received(&self.front) else { return Outcome::HandOver(None) };
        self.ctx.facts = Some(facts(&received, self.caller.connection(), &self.ctx));
        match decide(&received, &mut self.ctx).await {
            // Pingora knows what to do with a body that nobody reads.
            Some(answer) if self.plain.body > 0 => Outcome::HandOver(Some(answer)),
            Some(answer) => self.respond(&answer, true).await,
            None => {
                plan(&mut self.ctx);
                if self.leads_to_plain() { self.forward().await } else { Outcome::HandOver(None) }
            }
        }
    }

    /// Whether the request goes where it can be carried.
    fn leads_to_plain(&self) -> bool {
        let backend = self.ctx.attempts.backend.as_ref();
        let plain =
            backend.is_none_or(|backend| backend.protocol == BackendProtocol::Http1 && !backend.is_secure());
        plain && !self.ctx.copies.wanted()
    }

    /// Bytes of the whole request.
    fn len(&self) -> usize {
        self.head + self.plain.body
    }

    async fn forward(&mut self) -> Outcome {
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
        let (whole, mut counted) = (self.len(), self.head);
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
            let more = self.caller.more(&mut self.front, deadline).await;
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
    async fn refuse(&mut self, failed: Failed) -> Outcome {
        self.ctx.look();
        let failure =
            self.ctx.attempts.failure.filter(|_| failed == Failed::Noted && self.ctx.answer.is_none());
        if let Some(answer) = refusal::answer(&mut self.ctx, failure) {
            self.ctx.ending.refused = true;
            return self.respond(&answer, false).await;
        }
        self.ctx.ending.aborted = true;
        record::write(&mut self.ctx);
        Outcome::Over { keep: false }
    }

    /// Records the request, then sends an answer of ours.
    async fn respond(&mut self, answer: &LocalResponse, keep: bool) -> Outcome {
        let keep = keep && self.keeps();
        self.ctx.ending.status = answer.status.as_u16();
        self.ctx.ending.local_bytes += local::body_of(answer, self.plain.head_only).len() as u64;
        record::write(&mut self.ctx);
        let sent = self.caller.answer(answer, self.plain.head_only, keep, self.idle).await;
        Outcome::Over { keep: keep && sent.is_ok() }
    }

    /// Whether the connection is kept behind an answer.
    fn keeps(&self) -> bool {
        !self.plain.close && !self.ctx.shared.is_draining()
    }
}

impl Exchange<Message<'_>> {
    fn hand_over(self, answer: Option<LocalResponse>) -> Served {
        if let Some(begun) = begun(self.ctx, answer) {
            self.caller.connection().leave(begun);
        }
        self.caller.0.put_front(self.front);
        Served::HandOver
    }

    /// Goes on behind the request, or leaves what was not read of it for the end of the connection.
    fn finish(mut self, keep: bool) -> Served {
        self.ctx.shared.metrics.fast_path.inc();
        let (front, len) = (mem::take(&mut self.front), self.len());
        if front.bytes.len() >= len {
            self.caller.0.pass_front(front, len);
        } else {
            self.caller.0.put_front(front);
        }
        if keep { Served::Again } else { Served::Closed }
    }
}
