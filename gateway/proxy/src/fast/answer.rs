//! The upstream's answer on its way down: head, then body, metered before it passes, recorded before its end passes.

use analytics_record::Reason;
use bytes::Buf;
use gateway_pipeline::HeaderSink;
use http::StatusCode;
use http::header::DATE;
use pingora_core::protocols::http::date::get_cached_date;

use super::attempt::{Event, Upstream};
use super::caller::Caller;
use super::scratch::READ;
use super::{Exchange, Failed, Outcome};
use crate::handler::metering::{Direction, count};
use crate::handler::{record, refusal};
use crate::listen::{Chunks, Violation};
use crate::wire::{ResponseHead, View};

/// How the end of a body is found (RFC 9112, 6.3).
enum Body {
    /// There is none, whatever the head says.
    Nothing,
    /// After so many bytes.
    Counted(u64),
    /// Its chunks tell; they pass as they are.
    Chunked(Chunks),
    /// When the upstream closes; it goes down in chunks, of which some went.
    UntilClosed { begun: bool },
}

/// What can pass of the bytes that are there.
pub(super) struct Piece {
    /// Bytes at the front.
    pub(super) len: usize,
    /// Of them, without framing. Where callers are framed by others, all of it stands behind the framing.
    pub(super) data: u64,
    /// The body ends with them.
    pub(super) last: bool,
}

impl Body {
    fn of(head: &ResponseHead, to_head: bool) -> Self {
        if to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            Self::Nothing
        } else if head.chunked {
            Self::Chunked(Chunks::default())
        } else {
            head.length.map_or(Self::UntilClosed { begun: false }, Self::Counted)
        }
    }

    /// How much is read at once: more when much is to come.
    fn room(&self) -> usize {
        match self {
            Self::Counted(left) if *left > READ as u64 => 4 * READ,
            _ => READ,
        }
    }

    /// `framed`: chunks pass as they are.
    fn pass(&mut self, bytes: &[u8], framed: bool) -> Result<Piece, Violation> {
        match self {
            Self::Nothing => Ok(Piece { len: 0, data: 0, last: true }),
            Self::Counted(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                Ok(Piece { len, data: len as u64, last: *left == 0 })
            }
            Self::Chunked(chunks) if !framed => {
                let (framing, data) = chunks.run(bytes)?;
                Ok(Piece { len: framing + data, data: data as u64, last: chunks.is_complete() })
            }
            Self::Chunked(chunks) => {
                let before = chunks.data;
                let len = if bytes.is_empty() { 0 } else { chunks.pass(bytes)? };
                Ok(Piece { len, data: chunks.data - before, last: chunks.is_complete() })
            }
            Self::UntilClosed { .. } => Ok(Piece { len: bytes.len(), data: bytes.len() as u64, last: false }),
        }
    }
}

impl<C: Caller> Exchange<C> {
    /// Carries the answer down.
    pub(super) async fn answer(&mut self, mut upstream: Upstream, head: ResponseHead) -> Outcome {
        let keep = self.keeps();
        let mut body = Body::of(&head, self.plain.head_only);
        self.write_answer(&head, &body, keep);
        let mut begun = false;
        let last = loop {
            match self.step(&mut upstream, &mut body, &mut begun).await {
                Ok(true) => break true,
                Ok(false) => {}
                Err(failed) if !begun => return self.refuse(failed).await,
                Err(failed) => {
                    self.break_off(failed);
                    break false;
                }
            }
        };
        if last && !head.closes && self.scratch.answer.is_empty() && !matches!(body, Body::UntilClosed { .. })
        {
            self.keep_upstream(upstream);
        }
        Outcome::Over { keep: keep && last }
    }

    /// Passes on what is there, or waits for more. True: the answer is complete.
    async fn step(
        &mut self,
        upstream: &mut Upstream,
        body: &mut Body,
        begun: &mut bool,
    ) -> Result<bool, Failed> {
        let piece = match body.pass(&self.scratch.answer, C::FRAMES) {
            Ok(piece) => piece,
            Err(violation) => {
                tracing::debug!(%violation, "an answer is malformed");
                return Err(self.note(Reason::UpstreamMalformed));
            }
        };
        if piece.data > 0 {
            count(&mut self.ctx, piece.data, Direction::Down).await.map_err(|_| Failed::Noted)?;
        }
        if piece.last {
            record::write(&mut self.ctx);
        }
        // A head of known length waits for its first bytes; others may be meant to arrive at once.
        let waits = piece.len == 0 && !piece.last && (*begun || matches!(body, Body::Counted(_)));
        if !waits {
            self.pass_on(body, &piece, begun).await?;
        }
        if piece.last {
            return Ok(true);
        }
        // One run of data was taken out of its chunks; more are there.
        if !C::FRAMES && !waits && !self.scratch.answer.is_empty() {
            return Ok(false);
        }
        // Its silence counts from here: a caller that was slow to take the last piece is not its fault.
        upstream.since = self.ctx.look();
        match self.read(upstream, body.room()).await {
            Event::Read(1..) => Ok(false),
            Event::Read(0) => self.end_of(body).await,
            Event::Broken => Err(self.note(Reason::UpstreamReset)),
            Event::Late => {
                crate::handler::attempt::timed_out(&mut self.ctx);
                Err(Failed::Noted)
            }
            Event::Left => Err(Failed::Left),
        }
    }

    /// Sends a piece; the head waits in front of the first.
    async fn pass_on(&mut self, body: &mut Body, piece: &Piece, begun: &mut bool) -> Result<(), Failed> {
        let buffers = &mut *self.scratch;
        if let Body::UntilClosed { begun: chunks } = body
            && C::FRAMES
            && piece.len > 0
        {
            chunk(&mut buffers.out, piece.len, std::mem::replace(chunks, true));
        }
        *begun = true;
        let sent = self.caller.pass(&mut buffers.out, &mut buffers.answer, piece, self.idle).await;
        sent.map_err(|_| Failed::Left)
    }

    /// The upstream closed its side: the end of some bodies.
    async fn end_of(&mut self, body: &mut Body) -> Result<bool, Failed> {
        let Body::UntilClosed { begun } = body else { return Err(self.note(Reason::UpstreamReset)) };
        record::write(&mut self.ctx);
        let buffers = &mut *self.scratch;
        if C::FRAMES {
            buffers.out.extend_from_slice(if *begun { b"\r\n0\r\n\r\n" } else { b"0\r\n\r\n" });
        }
        let end = Piece { len: 0, data: 0, last: true };
        let sent = self.caller.pass(&mut buffers.out, &mut buffers.answer, &end, self.idle).await;
        sent.map(|()| true).map_err(|_| Failed::Left)
    }

    /// Writes the head as it goes down, and takes the received one from the buffer.
    fn write_answer(&mut self, head: &ResponseHead, body: &Body, keep: bool) {
        let now = self.ctx.shared.clock.at(self.ctx.now());
        let buffers = &mut *self.scratch;
        let view = View::new(&buffers.answer, &buffers.fields);
        let ending = &mut self.ctx.ending;
        ending.status = head.status.as_u16();
        ending.grpc_status = view.all("grpc-status").next().and_then(number);
        let mut sink = buffers.edits.begin(view);
        for name in ["connection", "keep-alive", "proxy-connection"] {
            sink.drop_all(name);
        }
        if let Some(exchange) = &self.ctx.exchange {
            exchange.edit_response(&mut sink, now);
        }
        match body {
            // What a HEAD request is told of the length it would get stays (RFC 9110, 8.6).
            Body::Nothing => sink.keep_first("content-length"),
            Body::Counted(length) => {
                sink.drop_all("content-length");
                sink.add("content-length", itoa::Buffer::new().format(*length).as_bytes());
            }
            Body::Chunked(_) | Body::UntilClosed { .. } => {
                sink.drop_all("content-length");
                sink.drop_all("transfer-encoding");
                if C::FRAMES {
                    sink.add("transfer-encoding", b"chunked");
                }
            }
        }
        sink.set(&DATE, get_cached_date().as_bytes());
        if C::FRAMES {
            sink.add("connection", if keep { b"keep-alive" } else { b"close" });
        }
        buffers.out.clear();
        self.caller.begin(head, view, &buffers.edits, &mut buffers.out);
        buffers.answer.advance(head.len);
    }

    /// Records an answer that is not complete; the connection's end tells the caller.
    fn break_off(&mut self, failed: Failed) {
        self.ctx.look();
        let failure = self.ctx.attempts.failure.filter(|_| failed == Failed::Noted);
        // What it would have answered is for nobody; why is for the record.
        let _ = refusal::answer(&mut self.ctx, failure);
        self.ctx.ending.aborted = true;
        record::write(&mut self.ctx);
    }

    fn keep_upstream(&self, upstream: Upstream) {
        if let Some(endpoint) = &self.ctx.attempts.endpoint {
            endpoint.idle.put(upstream.io, self.ctx.now(), &self.ctx.shared.room);
        }
    }
}

/// The size line of a chunk, behind the end of the one before.
fn chunk(out: &mut Vec<u8>, size: usize, more: bool) {
    use std::io::Write;
    let end = if more { "\r\n" } else { "" };
    write!(out, "{end}{size:x}\r\n").expect("a vector takes all");
}

fn number(value: &[u8]) -> Option<i16> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
