//! A downstream connection as pingora sees it: one message at a time.
//!
//! Bytes are read into a buffer of ours; the head is checked there ([`Downstream::next_head`]) and only then
//! handed on, and never more than the message that was announced. What a caller pipelines waits here. On drop
//! the connection lingers a moment, so that an answer which came before the end of the request is not torn
//! away by a reset.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use futures::FutureExt;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::body::{Gate, Violation};
use super::connection::Connection;
use super::fault::Fault;
use super::frames::StreamCounter;
use super::head::{Head, HeadLimits, HeadScanner, Parts, Sketch};
use super::patience::Patience;
use super::transport::Transport;

/// Room for one read of a head.
const READ: usize = 4 * 1024;
/// Joins a small header and a small body into one segment.
const WRITE: usize = 4 * 1024;
/// Joins what HTTP/2 streams write: a TLS record at most.
const STREAMS_WRITE: usize = 16 * 1024;
/// Bytes of later requests that are kept while one is served.
const PIPELINED: usize = 128 * 1024;
/// How long and how much is read from a caller that was answered early.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A connection between messages or in one.
#[derive(Debug)]
pub(crate) struct Downstream {
    /// Taken only by `drop`.
    io: Option<BufWriter<Transport>>,
    fd: RawFd,
    /// Read, and not given on yet.
    held: BytesMut,
    scanner: HeadScanner,
    patience: Patience,
    gate: Gate,
    /// On HTTP/2.
    streams: Option<StreamCounter>,
    /// Written since a flush was asked for last.
    fresh: bool,
    connection: Arc<Connection>,
    /// For pingora, once it asks.
    proxy: OnceLock<Arc<ProxyDigest>>,
    socket: OnceLock<Arc<SocketDigest>>,
}

/// A request with all that was read of it and behind it.
#[derive(Debug, Default)]
pub(crate) struct Front {
    /// Its head, then what came behind.
    pub(crate) bytes: BytesMut,
    /// What stands where in the head.
    pub(crate) parts: Parts,
}

/// What stands at the front of a connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// A request; the connection is ready to be given to the parser.
    Request(Head),
    /// The caller went away, or was silent, without beginning a request.
    Nothing,
    /// A request that cannot be served.
    Refused(Fault, Sketch),
}

impl Downstream {
    /// Wraps a connection.
    pub(crate) fn new(transport: Transport, connection: Arc<Connection>) -> Self {
        Self {
            fd: transport.as_raw_fd(),
            io: Some(BufWriter::with_capacity(WRITE, transport)),
            held: BytesMut::new(),
            scanner: HeadScanner::default(),
            patience: Patience::default(),
            gate: Gate::Shut,
            streams: None,
            fresh: false,
            proxy: OnceLock::new(),
            socket: OnceLock::new(),
            connection,
        }
    }

    /// The connection's facts.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Lets everything pass, for HTTP/2, which frames itself, and counts its streams.
    pub(crate) fn open(&mut self) {
        self.gate = Gate::Open;
        self.streams = Some(StreamCounter::default());
        let io = self.io.take().map(BufWriter::into_inner);
        self.io = io.map(|io| BufWriter::with_capacity(STREAMS_WRITE, io));
    }

    fn count(&mut self, passed: &[u8]) {
        if let Some(streams) = &mut self.streams {
            self.connection.count_streams(streams.opened(passed));
        }
    }

    /// Reads until `wanted` bytes are held, the connection ends, or `deadline`; shows what is held.
    pub(crate) async fn peek(&mut self, wanted: usize, deadline: Instant) -> &[u8] {
        while self.held.len() < wanted {
            match self.patience.within(deadline, fill(&mut self.io, &mut self.held)).await {
                Some(Ok(1..)) => {}
                _ => break,
            }
        }
        &self.held
    }

    /// Waits up to `idle` for a request to begin and up to `time` for its head to be complete.
    pub(crate) async fn next_head(&mut self, limits: &HeadLimits, idle: Duration, time: Duration) -> Next {
        self.gate = Gate::Shut;
        self.connection.violated.store(false, Ordering::Relaxed);
        loop {
            // An empty line before a request is left over from the last one (RFC 9112, 2.2).
            while self.held.starts_with(b"\r\n") {
                self.held.advance(2);
            }
            if !self.held.is_empty() && self.held[..] != b"\r"[..] {
                break;
            }
            match self.patience.at_most(idle, fill(&mut self.io, &mut self.held)).await {
                Some(Ok(1..)) => {}
                _ => return Next::Nothing,
            }
        }
        match self.read_head(limits, time).await {
            Ok(Ok(head)) => {
                self.gate = Gate::for_message(&head);
                Next::Request(head)
            }
            Ok(Err(fault)) => Next::Refused(fault, Sketch::of(&self.held)),
            // The caller began a request and went away.
            Err(_) => Next::Refused(Fault::Malformed("the head is not complete"), Sketch::of(&self.held)),
        }
    }

    async fn read_head(&mut self, limits: &HeadLimits, time: Duration) -> io::Result<Result<Head, Fault>> {
        self.scanner.begin();
        let mut deadline = None;
        loop {
            match self.scanner.scan(&self.held, limits) {
                Ok(Some(head)) => return Ok(Ok(head)),
                Ok(None) => {}
                Err(fault) => return Ok(Err(fault)),
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + time);
            match self.patience.within(deadline, fill(&mut self.io, &mut self.held)).await {
                None => return Ok(Err(Fault::HeadTimeout)),
                Some(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(read) => _ = read?,
            }
        }
    }

    /// Takes the request at the front out, for whom serves it without a parser behind.
    pub(crate) fn take_front(&mut self) -> Front {
        Front { bytes: mem::take(&mut self.held), parts: mem::take(&mut self.scanner.parts) }
    }

    /// Puts a request back as it was.
    pub(crate) fn put_front(&mut self, front: Front) {
        (self.held, self.scanner.parts) = (front.bytes, front.parts);
    }

    /// Goes on behind a request that took `len` bytes.
    pub(crate) fn pass_front(&mut self, mut front: Front, len: usize) {
        front.bytes.advance(len);
        self.gate = Gate::Shut;
        self.put_front(front);
    }

    /// Reads more of the request; nothing when the caller is silent until `deadline`.
    pub(crate) async fn more(&mut self, front: &mut Front, deadline: Instant) -> Option<io::Result<usize>> {
        self.patience.within(deadline, fill(&mut self.io, &mut front.bytes)).await
    }

    /// Ready when the caller has left; what it sends meanwhile is kept, up to a bound.
    pub(crate) fn poll_left(&mut self, front: &mut Front, cx: &mut Context<'_>) -> Poll<()> {
        let io = self.io.as_mut().expect("present until drop");
        while front.bytes.len() < PIPELINED {
            match ready!(poll_read_buf(Pin::new(&mut *io), cx, &mut front.bytes)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Its timer.
    pub(crate) fn patience(&mut self) -> &mut Patience {
        &mut self.patience
    }

    /// Writes two pieces of an answer, if the caller takes them within `time`.
    pub(crate) async fn send(&mut self, head: &[u8], body: &[u8], time: Duration) -> io::Result<()> {
        let io = self.io.as_mut().expect("present until drop");
        let writing = async {
            io.write_all_buf(&mut Buf::chain(head, body)).await?;
            io.flush().await
        };
        self.patience.at_most(time, writing).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes an answer of our own, as it is.
    pub(crate) async fn write(&mut self, answer: &[u8]) -> io::Result<()> {
        let io = self.io.as_mut().expect("present until drop");
        io.write_all(answer).await?;
        io.flush().await
    }
}

async fn fill(io: &mut Option<BufWriter<Transport>>, held: &mut BytesMut) -> io::Result<usize> {
    held.reserve(READ);
    io.as_mut().expect("present until drop").read_buf(held).await
}

/// Marks the connection, so that the answer can say what the parser behind cannot know.
fn violation(connection: &Connection, violation: Violation) -> io::Error {
    connection.violated.store(true, Ordering::Relaxed);
    io::Error::new(io::ErrorKind::InvalidData, violation)
}

impl AsyncRead for Downstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            let offered = this.held.len().min(buf.remaining());
            let passed = this.gate.pass(&this.held[..offered]).map_err(|v| violation(&this.connection, v))?;
            let passing = this.held.split_to(passed);
            this.count(&passing);
            buf.put_slice(&passing);
            // Nothing passed: the message is complete and the next one waits. Whoever reads on only wants to
            // know whether the caller is still there, and will be dropped when the answer is written.
            return if passed > 0 || offered == 0 { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let before = buf.filled().len();
        let io = this.io.as_mut().expect("present until drop");
        ready!(Pin::new(io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read == 0 {
            return Poll::Ready(Ok(()));
        }
        let passed = this.gate.pass(&buf.filled()[before..]).map_err(|v| violation(&this.connection, v))?;
        this.count(&buf.filled()[before..before + passed]);
        if passed < read {
            this.held.extend_from_slice(&buf.filled()[before + passed..]);
            buf.set_filled(before + passed);
        }
        if passed > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.fresh = true;
        Pin::new(this.io.as_mut().expect("present until drop")).poll_write(cx, buf)
    }

    /// The HTTP/2 library flushes behind each frame of data. That waits here until all that is ready has been written: the
    /// task is woken, and flushes when there was nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.streams.is_some() && mem::take(&mut self.fresh) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        Pin::new(self.get_mut().io.as_mut().expect("present until drop")).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().io.as_mut().expect("present until drop")).poll_shutdown(cx)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let (Some(mut io), Ok(runtime)) = (self.io.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let unread = !self.gate.is_complete() || !self.held.is_empty();
        // Mostly all is sent, and nothing has to be waited for.
        if !unread && io.shutdown().now_or_never().is_some() {
            return;
        }
        runtime.spawn(async move { tokio::time::timeout(LINGER, linger(io, unread)).await });
    }
}

/// Ends our side; with `unread` bytes on the way, takes them in first: a socket that is closed with bytes
/// unread resets the connection, and the caller loses the answer.
async fn linger(mut io: BufWriter<Transport>, unread: bool) {
    let _ = io.shutdown().await;
    let mut left = if unread { LINGER_BYTES } else { 0 };
    let mut sink = vec![0; left.min(16 * 1024)];
    while left > 0 {
        match io.read(&mut sink).await {
            Ok(read @ 1..) => left = left.saturating_sub(read),
            _ => return,
        }
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> RawFd {
        self.fd
    }
}

impl Ssl for Downstream {}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(self.proxy.get_or_init(|| Arc::new(self.connection.to_digest()))))
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        let digest = || {
            let socket = SocketDigest::from_raw_fd(self.fd);
            // The addresses are known: without this, each first use is a system call.
            let _ = socket.peer_addr.set(Some(self.connection.peer.into()));
            let _ = socket.local_addr.set(Some(self.connection.local.into()));
            Arc::new(socket)
        };
        Some(Arc::clone(self.socket.get_or_init(digest)))
    }
}

impl Peek for Downstream {}
