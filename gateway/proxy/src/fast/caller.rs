//! The caller's side of an exchange: HTTP/1 messages on a connection ([`Message`]) or one stream of HTTP/2 ([`super::stream`]).

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use gateway_pipeline::LocalResponse;

use super::answer::Piece;
use crate::handler::answer as local;
use crate::handler::head::Received;
use crate::listen::{Connection, Downstream, Front, Patience};
use crate::wire::{Edits, ResponseHead, View};

/// Whom a request is from, and an answer for.
pub(super) trait Caller: Send {
    /// Bodies of unknown length, and the end of a connection, show in the bytes of a message; else others frame them.
    const FRAMES: bool;

    /// Its connection.
    fn connection(&self) -> &Arc<Connection>;

    /// The head as the pipeline looks at it.
    fn received<'s>(&'s self, front: &'s Front) -> Option<Received<'s>>;

    /// A timer.
    fn patience(&mut self) -> &mut Patience;

    /// Reads more of the request behind `front`; nothing when the caller is silent until `deadline`.
    fn more(
        &mut self,
        front: &mut Front,
        deadline: Instant,
    ) -> impl Future<Output = Option<io::Result<usize>>> + Send;

    /// Ready when the caller has left.
    fn poll_left(&mut self, front: &mut Front, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes an informational answer on, as the upstream wrote it, if it can.
    fn inform(&mut self, head: &[u8], time: Duration) -> impl Future<Output = io::Result<()>> + Send;

    /// Takes the head of an answer; it leaves with the first piece.
    fn begin(&mut self, head: &ResponseHead, view: View<'_>, edits: &Edits, out: &mut Vec<u8>);

    /// Sends `out`, then a piece of the body from the front of `answer`, within `time`.
    fn pass(
        &mut self,
        out: &mut Vec<u8>,
        answer: &mut BytesMut,
        piece: &Piece,
        time: Duration,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Sends an answer of ours; the caller is told whether others may follow.
    fn answer(
        &mut self,
        answer: &LocalResponse,
        to_head: bool,
        keep: bool,
        time: Duration,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// An HTTP/1 connection.
pub(super) struct Message<'a>(pub(super) &'a mut Downstream);

impl Caller for Message<'_> {
    const FRAMES: bool = true;

    fn connection(&self) -> &Arc<Connection> {
        self.0.connection()
    }

    fn received<'s>(&'s self, front: &'s Front) -> Option<Received<'s>> {
        let parts = &front.parts;
        Some(Received::Plain {
            method: std::str::from_utf8(parts.method.of(&front.bytes)).ok()?,
            target: parts.target.of(&front.bytes),
            fields: View::new(&front.bytes, &parts.fields),
        })
    }

    fn patience(&mut self) -> &mut Patience {
        self.0.patience()
    }

    async fn more(&mut self, front: &mut Front, deadline: Instant) -> Option<io::Result<usize>> {
        self.0.more(front, deadline).await
    }

    fn poll_left(&mut self, front: &mut Front, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_left(front, cx)
    }

    async fn inform(&mut self, head: &[u8], time: Duration) -> io::Result<()> {
        self.0.send(head, &[], time).await
    }

    fn begin(&mut self, head: &ResponseHead, view: View<'_>, edits: &Edits, out: &mut Vec<u8>) {
        let status = head.status.as_str().as_bytes();
        for part in [b"HTTP/1.1 ", status, b" ", view.at(head.phrase), b"\r\n"] {
            out.extend_from_slice(part);
        }
        edits.write(view, out);
        out.extend_from_slice(b"\r\n");
    }

    async fn pass(
        &mut self,
        out: &mut Vec<u8>,
        answer: &mut BytesMut,
        piece: &Piece,
        time: Duration,
    ) -> io::Result<()> {
        let sent = self.0.send(out, &answer[..piece.len], time).await;
        out.clear();
        answer.advance(piece.len);
        sent
    }

    async fn answer(
        &mut self,
        answer: &LocalResponse,
        to_head: bool,
        keep: bool,
        time: Duration,
    ) -> io::Result<()> {
        self.0.send(&local::raw(answer, to_head, keep), &[], time).await
    }
}
