//! One attempt: a connection, the request on it, and the head of the answer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use analytics_record::Reason;
use bytes::Buf;
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::caller::Caller;
use super::scratch::READ;
use super::{Exchange, Failed};
use crate::handler::attempt::{self, Cut};
use crate::handler::decision::{TRACEPARENT, TRACESTATE};
use crate::wire::{Malformed, ResponseHead, View};
use gateway_pipeline::HeaderSink;

/// Fields that speak of one connection (RFC 9110, 7.6.1), and none that asks for another protocol.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "http2-settings",
];

/// A connection to an upstream with a request on it.
pub(super) struct Upstream {
    pub(super) io: TcpStream,
    /// It carried an exchange before.
    pub(super) reused: bool,
    /// How long the upstream may be silent.
    pub(super) patience: Option<Duration>,
    /// From when on.
    pub(super) since: Instant,
}

/// What came while an upstream was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// So many bytes; 0: it closed its side.
    Read(usize),
    /// The connection broke.
    Broken,
    /// It was silent for too long.
    Late,
    /// The caller has left.
    Left,
}

impl<C: Caller> Exchange<C> {
    /// Writes the head as it goes upstream, once for all attempts.
    pub(super) fn write_request(&mut self) {
        let bytes = &self.front.bytes;
        let view = View::new(bytes, &self.front.parts.fields);
        let (Some(exchange), Some(facts), Some(received)) =
            (&self.ctx.exchange, &self.ctx.facts, self.caller.received(&self.front))
        else {
            return;
        };
        let buffers = &mut *self.scratch;
        let mut sink = buffers.edits.begin(view);
        for name in HOP_BY_HOP {
            sink.drop_all(name);
        }
        exchange.edit_request(&received.head(facts), &mut sink);
        sink.set(&TRACEPARENT, &facts.trace.traceparent());
        if facts.trace.begins_here() {
            // It belongs to a trace that is not continued (W3C Trace Context, 3.3.1).
            sink.remove(&TRACESTATE);
        }
        let target = exchange.upstream_target().map_or(self.front.parts.target.of(bytes), str::as_bytes);
        let out = &mut buffers.out;
        for part in [self.front.parts.method.of(bytes), b" ", target, b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        buffers.edits.write(view, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Sends the request to the next endpoint, and reads the head of its answer.
    pub(super) async fn attempt(&mut self) -> Result<(Upstream, ResponseHead), Failed> {
        let connect = match attempt::begin(&mut self.ctx).await {
            Ok(connect) => connect,
            Err(reason) => return Err(self.note(reason)),
        };
        let patience = attempt::read_timeout(&self.ctx);
        let mut upstream = self.connection(connect, patience).await?;
        self.send(&mut upstream).await?;
        loop {
            let head = self.read_head(&mut upstream).await?;
            if head.status.is_informational() {
                self.inform(head).await?;
                continue;
            }
            if attempt::answered(&mut self.ctx, head.status.as_u16(), true) {
                self.scratch.answer.clear();
                return Err(Failed::Again);
            }
            return Ok((upstream, head));
        }
    }

    /// A connection that waits, or a new one.
    async fn connection(
        &mut self,
        connect: Duration,
        patience: Option<Duration>,
    ) -> Result<Upstream, Failed> {
        let now = self.ctx.now();
        let Some(endpoint) = &self.ctx.attempts.endpoint else { return Err(self.note(Reason::NoEndpoints)) };
        if let Some(io) = endpoint.idle.take(now) {
            return Ok(Upstream { io, reused: true, patience, since: now });
        }
        let address = endpoint.address;
        match self.caller.patience().within(now + connect, TcpStream::connect(address)).await {
            Some(Ok(io)) => {
                let _ = io.set_nodelay(true);
                Ok(Upstream { io, reused: false, patience, since: self.ctx.look() })
            }
            failed => {
                tracing::debug!(%address, ?failed, "no connection to an upstream");
                let again = attempt::unreachable(&mut self.ctx, Reason::UpstreamConnect);
                Err(if again { Failed::Again } else { Failed::Noted })
            }
        }
    }

    async fn send(&mut self, upstream: &mut Upstream) -> Result<(), Failed> {
        let whole = self.len();
        let body = &self.front.bytes[self.head..whole];
        let mut pieces = self.scratch.out.chain(body);
        let writing = upstream.io.write_all_buf(&mut pieces);
        let written = match upstream.patience {
            Some(patience) => self.caller.patience().within(upstream.since + patience, writing).await,
            None => Some(writing.await),
        };
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(self.broken(upstream, None)),
            None => Err(self.late()),
        }
    }

    /// Reads the head of an answer to the front of the buffer.
    async fn read_head(&mut self, upstream: &mut Upstream) -> Result<ResponseHead, Failed> {
        let mut seen = 0;
        loop {
            let buffers = &mut *self.scratch;
            match ResponseHead::read(&buffers.answer, seen, &mut buffers.fields) {
                Ok(Some(head)) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(
                        self.broken(upstream, Some(Malformed("a change of protocol that was not asked for")))
                    );
                }
                Ok(Some(head)) => return Ok(head),
                Ok(None) if buffers.answer.is_empty() => {}
                Ok(None) => {
                    seen = buffers.answer.len();
                    upstream.since = self.ctx.now();
                }
                Err(malformed) => return Err(self.broken(upstream, Some(malformed))),
            }
            match self.read(upstream, READ).await {
                Event::Read(1..) => {}
                Event::Read(0) | Event::Broken => return Err(self.broken(upstream, None)),
                Event::Late => return Err(self.late()),
                Event::Left => return Err(Failed::Left),
            }
        }
    }

    /// Passes an informational head on (RFC 9110, 15.2).
    async fn inform(&mut self, head: ResponseHead) -> Result<(), Failed> {
        let informed = self.caller.inform(&self.scratch.answer[..head.len], self.idle).await;
        self.scratch.answer.advance(head.len);
        informed.map_err(|_| Failed::Left)
    }

    /// Reads from the upstream, with an eye on the caller and on the time.
    /// Takes up to `room` bytes.
    pub(super) async fn read(&mut self, upstream: &mut Upstream, room: usize) -> Event {
        let deadline = upstream.patience.map(|patience| upstream.since + patience);
        let answer = &mut self.scratch.answer;
        answer.reserve(room);
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = poll_read_buf(Pin::new(&mut upstream.io), cx, answer) {
                return Poll::Ready(read.map_or(Event::Broken, Event::Read));
            }
            if self.caller.poll_left(&mut self.front, cx).is_ready() {
                return Poll::Ready(Event::Left);
            }
            match deadline {
                Some(deadline) => self.caller.patience().poll(deadline, cx).map(|()| Event::Late),
                None => Poll::Pending,
            }
        })
        .await;
        self.ctx.look();
        event
    }

    fn broken(&mut self, upstream: &Upstream, malformed: Option<Malformed>) -> Failed {
        tracing::debug!(?malformed, reused = upstream.reused, "an upstream broke off");
        let idempotent = self.method().is_ok_and(|method| method.is_idempotent());
        let cut = match malformed {
            Some(_) => Cut::Malformed,
            None if upstream.reused && self.scratch.answer.is_empty() => Cut::Stale,
            None => Cut::Reset,
        };
        let again = attempt::broke_off(&mut self.ctx, cut, upstream.reused, idempotent);
        self.once_more(again)
    }

    fn late(&mut self) -> Failed {
        let again = attempt::timed_out(&mut self.ctx);
        self.once_more(again)
    }

    fn once_more(&mut self, again: bool) -> Failed {
        self.scratch.answer.clear();
        if again && attempt::within_limit(&self.ctx) { Failed::Again } else { Failed::Noted }
    }

    fn method(&self) -> Result<Method, io::Error> {
        Method::from_bytes(self.front.parts.method.of(&self.front.bytes)).map_err(io::Error::other)
    }

    pub(super) fn note(&mut self, reason: Reason) -> Failed {
        self.ctx.attempts.failure = Some(reason);
        Failed::Noted
    }
}
