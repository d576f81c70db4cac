//! One stream of HTTP/2 as a caller of an exchange.
//!
//! Its request is written down as HTTP/1.1, which is what goes upstream in the end; the answer becomes a header map again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use gateway_pipeline::LocalResponse;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::{HeaderName, HeaderValue, Method};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Error;
use pingora_http::{RequestHeader, ResponseHeader};

use super::answer::Piece;
use super::caller::Caller;
use super::plain::{LARGEST, Plain};
use crate::handler::answer as local;
use crate::handler::head::Received;
use crate::listen::{Connection, Front, Parts, Patience};
use crate::wire::{Edits, Field, MOST_FIELDS, ResponseHead, Span, View};

/// Bytes up to which data is copied.
const COPIED: usize = 4 * 1024;

/// A stream, and the head of its answer until that leaves.
pub(super) struct Stream {
    pub(super) session: ServerSession,
    connection: Arc<Connection>,
    patience: Patience,
    head: Option<Box<ResponseHeader>>,
}

impl Stream {
    /// A stream of `connection`.
    pub(super) fn new(session: ServerSession, connection: &Arc<Connection>) -> Self {
        Self { session, connection: Arc::clone(connection), patience: Patience::default(), head: None }
    }

    /// Its request as an HTTP/1.1 head of so many bytes; nothing when it is not plain.
    pub(super) fn front(&mut self) -> Option<(Front, usize, Plain)> {
        let done = self.session.is_body_done();
        let request = self.session.req_header();
        let plain = plain(request, done)?;
        let front = written(request);
        let len = front.bytes.len();
        Some((front, len, plain))
    }
}

/// What a plain request wants: no wait for a word of ours, and a small body of known length or none.
fn plain(request: &RequestHeader, done: bool) -> Option<Plain> {
    let length = request.headers.get(CONTENT_LENGTH);
    let body: u64 = match length.map(|length| length.to_str().ok()?.parse().ok()) {
        Some(length) => length?,
        None if done => 0,
        None => return None,
    };
    let plain = body <= LARGEST
        && (body == 0 || !done)
        && request.raw_path().starts_with(b"/")
        && request.headers.len() < MOST_FIELDS
        && !request.headers.contains_key(EXPECT);
    let head_only = request.method == Method::HEAD;
    plain.then_some(Plain { body: body as usize, sized: length.is_some(), close: false, head_only })
}

/// The request as it would stand in an HTTP/1.1 connection.
fn written(request: &RequestHeader) -> Front {
    let mut bytes = BytesMut::with_capacity(1024);
    let mut parts = Parts::default();
    let put = |bytes: &mut BytesMut, part: &[u8], end: &[u8]| -> Span {
        let start = bytes.len();
        bytes.extend_from_slice(part);
        let place = start..bytes.len();
        bytes.extend_from_slice(end);
        place.into()
    };
    parts.method = put(&mut bytes, request.method.as_str().as_bytes(), b" ");
    parts.target = put(&mut bytes, request.raw_path(), b" HTTP/1.1\r\n");
    let mut field = |name: &HeaderName, value: &[u8]| {
        let name = put(&mut bytes, name.as_str().as_bytes(), b": ");
        let value = put(&mut bytes, value, b"\r\n");
        parts.fields.push(Field::new(name, value));
    };
    if let Some(authority) = request.uri.authority().filter(|_| !request.headers.contains_key(HOST)) {
        field(&HOST, authority.as_str().as_bytes());
    }
    let mut cookies = Vec::new();
    for (name, value) in &request.headers {
        if name == COOKIE {
            cookies.push(value.as_bytes());
        } else {
            field(name, value.as_bytes());
        }
    }
    // Callers may send one field for each; elsewhere there is one for all (RFC 9113, 8.2.3).
    match cookies[..] {
        [] => {}
        [one] => field(&COOKIE, one),
        ref many => field(&COOKIE, &many.join(&b"; "[..])),
    }
    bytes.extend_from_slice(b"\r\n");
    Front { bytes, parts }
}

impl Caller for Stream {
    const FRAMES: bool = false;

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn received<'s>(&'s self, _front: &'s Front) -> Option<Received<'s>> {
        Some(Received::Parsed(self.session.req_header()))
    }

    fn patience(&mut self) -> &mut Patience {
        &mut self.patience
    }

    async fn more(&mut self, front: &mut Front, deadline: Instant) -> Option<io::Result<usize>> {
        let read = self.patience.within(deadline, self.session.read_request_body()).await?;
        let piece = read.map_err(broken).map(Option::unwrap_or_default);
        Some(piece.map(|piece| {
            front.bytes.extend_from_slice(&piece);
            piece.len()
        }))
    }

    fn poll_left(&mut self, _front: &mut Front, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.session {
            ServerSession::H2(stream) => Pin::new(&mut stream.idle()).poll(cx).map(|_| ()),
            _ => Poll::Pending,
        }
    }

    /// The HTTP/2 library sends one answer.
    async fn inform(&mut self, _head: &[u8], _time: Duration) -> io::Result<()> {
        Ok(())
    }

    fn begin(&mut self, head: &ResponseHead, view: View<'_>, edits: &Edits, _out: &mut Vec<u8>) {
        let mut header = ResponseHeader::build_no_case(head.status, Some(16)).expect("a status is one");
        for (name, value) in edits.fields(view) {
            // What is no name or value in HTTP/2 was none in HTTP/1 either.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                let _ = header.append_header(name, value);
            }
        }
        self.head = Some(Box::new(header));
    }

    async fn pass(
        &mut self,
        _out: &mut Vec<u8>,
        answer: &mut BytesMut,
        piece: &Piece,
        time: Duration,
    ) -> io::Result<()> {
        let ServerSession::H2(stream) = &mut self.session else { return Ok(()) };
        let len = piece.data as usize;
        answer.advance(piece.len - len);
        // To take a little out of the buffer would cost a new buffer.
        let data = if len > COPIED {
            answer.split_to(len).freeze()
        } else {
            let data = Bytes::copy_from_slice(&answer[..len]);
            answer.advance(len);
            data
        };
        let mut ended = false;
        if let Some(head) = self.head.take() {
            ended = piece.last && data.is_empty();
            stream.write_response_header(head, ended).map_err(broken)?;
        }
        if ended || (data.is_empty() && !piece.last) {
            return Ok(());
        }
        within(&mut self.patience, time, stream.write_body(data, piece.last)).await
    }

    async fn answer(
        &mut self,
        answer: &LocalResponse,
        _to_head: bool,
        _keep: bool,
        time: Duration,
    ) -> io::Result<()> {
        within(&mut self.patience, time, local::send(&mut self.session, answer.clone())).await
    }
}

/// What is sent, if the caller takes it within `time`.
async fn within(
    patience: &mut Patience,
    time: Duration,
    sending: impl Future<Output = pingora_error::Result<()>>,
) -> io::Result<()> {
    let sent = patience.at_most(time, sending).await;
    sent.map_or_else(|| Err(io::ErrorKind::TimedOut.into()), |sent| sent.map_err(broken))
}

fn broken(error: Box<Error>) -> io::Error {
    io::Error::other(error)
}
