//! A connection's life: requests one after another (HTTP/1) or side by side (HTTP/2), until either side ends
//! it or the server drains.
//!
//! Each head is checked here before pingora parses it; each request that pingora could not take is answered
//! for here, so that no request ends without a record.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use pingora_core::apps::ReusedHttpStream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, handshake};
use pingora_core::protocols::{Digest, GetProxyDigest, GetSocketDigest, Stream};

use super::connection::Connection;
use super::fault::Fault;
use super::head::Sketch;
use super::patience::Patience;
use super::stream::{Downstream, Next};
use super::{Application, Handed, Limits, Served, Server};

/// Connection preface of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// For a refusal to be taken.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Streams that a connection may have refused before it is closed.
const REFUSED_STREAMS: usize = 32;

/// Serves a connection to its end. `h2`: agreed on by TLS; without TLS the preface decides.
pub(super) async fn connection<A: Application>(mut stream: Downstream, server: &Arc<Server<A>>, h2: bool) {
    let limits = server.application.limits();
    // Asked for once: to listen anew for each message costs more than to go on listening.
    let mut shutdown = server.shutdown.clone();
    let mut down = pin!(async move { _ = shutdown.wait_for(|down| *down).await });
    let plain = stream.connection().tls.is_none();
    let streamed = if plain {
        tokio::select! {
            biased;
            found = begins_with_preface(&mut stream, limits.idle) => found,
            () = &mut down => return,
        }
    } else {
        h2
    };
    if streamed {
        stream.open();
        streams(stream, server, &limits, down).await;
    } else {
        messages(stream, server, down).await;
    }
}

/// Whether the first bytes are the preface; reads no more than it takes to tell.
async fn begins_with_preface(stream: &mut Downstream, idle: Duration) -> bool {
    let deadline = Instant::now() + idle;
    for wanted in 1..=PREFACE.len() {
        let held = stream.peek(wanted, deadline).await;
        if held.len() < wanted || !PREFACE.starts_with(&held[..held.len().min(PREFACE.len())]) {
            return false;
        }
    }
    true
}

/// Answers the first request of a connection over the limit, if it comes at once.
pub(super) async fn refuse_connection<A: Application>(mut stream: Downstream, server: &Server<A>, h2: bool) {
    const PATIENCE: Duration = Duration::from_secs(1);
    server.application.connection_dropped();
    let limits = server.application.limits();
    if h2 {
        return;
    }
    match stream.next_head(&limits.head, PATIENCE, PATIENCE).await {
        Next::Nothing => {}
        Next::Request(_) => refuse(&mut stream, server, Fault::TooManyConnections, &Sketch::default()).await,
        Next::Refused(fault, sketch) => refuse(&mut stream, server, fault, &sketch).await,
    }
}

/// HTTP/1: one message after another.
async fn messages<A: Application>(
    mut stream: Downstream,
    server: &Arc<Server<A>>,
    mut down: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        let limits = server.application.limits();
        let next = tokio::select! {
            biased;
            next = stream.next_head(&limits.head, limits.idle, limits.head_time) => next,
            () = &mut down => return,
        };
        let head = match next {
            Next::Nothing => return,
            Next::Refused(fault, sketch) => return refuse(&mut stream, server, fault, &sketch).await,
            Next::Request(head) => head,
        };
        match server.application.plain(&mut stream, &head).await {
            Served::Again => continue,
            Served::Closed => return,
            Served::HandOver => {}
        }
        match message(stream, server, &limits).await {
            Some(back) => stream = back,
            None => return,
        }
    }
}

/// One message through pingora; gives the connection back when it can carry another.
async fn message<A: Application>(
    stream: Downstream,
    server: &Arc<Server<A>>,
    limits: &Limits,
) -> Option<Downstream> {
    let connection = Arc::clone(stream.connection());
    let recorded = connection.records();
    let mut session = ServerSession::new_http1(Box::new(stream));
    session.set_keepalive(Some(limits.idle.as_secs().max(1)));
    let reused = server.application.request(session, &server.shutdown).await;
    // What was begun and not taken up ends here, with its record.
    drop(connection.take_left());
    if connection.records() == recorded {
        // The parser behind us found something that ours let pass, and answered by itself.
        let fault = Fault::Malformed("the request cannot be parsed");
        let _ = server.application.refuse(&connection, fault, &Sketch::default());
    }
    let (stream, _) = reused.map(ReusedHttpStream::consume)?;
    stream.into_any().downcast::<Downstream>().ok().map(|stream| *stream)
}

async fn refuse<A: Application>(stream: &mut Downstream, server: &Server<A>, fault: Fault, sketch: &Sketch) {
    let answer = server.application.refuse(stream.connection(), fault, sketch);
    // A caller that does not take it is gone.
    let _ = tokio::time::timeout(ANSWER_TIME, stream.write(&answer)).await;
}

/// HTTP/2: streams side by side until the caller leaves, or is idle, or the server drains.
async fn streams<A: Application>(
    stream: Downstream,
    server: &Arc<Server<A>>,
    limits: &Limits,
    mut down: Pin<&mut impl Future<Output = ()>>,
) {
    let connection = Arc::clone(stream.connection());
    let digest = Arc::new(Digest {
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
        ..Digest::default()
    });
    let stream: Stream = Box::new(stream);
    let Ok(mut h2) = handshake(stream, Some(h2_options(limits))).await else { return };
    let answered = AtomicU64::new(0);
    let mut owed = Owed { server, connection: &connection, answered: &answered, counted: None };
    let (mut draining, mut refused) = (false, 0);
    let running = Arc::new(AtomicUsize::new(0));
    let mut idle = Patience::default();
    // Plain ones are served here: what they write leaves together, and nobody has to be woken for it.
    let mut plain = FuturesUnordered::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut down, if !draining => {
                // GOAWAY now, and the connection ends when the running streams have.
                h2.graceful_shutdown();
                owed.stop_counting();
                draining = true;
                continue;
            }
            Some(served) = plain.next() => {
                if let Ok(Some(handed)) = served {
                    spawn_stream(handed, server, &connection, &running);
                }
                continue;
            }
            accepted = idle.at_most(limits.idle, HttpSession::from_h2_conn(&mut h2, Arc::clone(&digest))) => {
                match accepted {
                    Some(accepted) => accepted,
                    None if plain.is_empty() && running.load(Ordering::Relaxed) == 0 => return,
                    None => continue,
                }
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let stream = one_stream(session, server, &connection, &answered);
                // One that panics must not take the others with it.
                plain.push(AssertUnwindSafe(stream).catch_unwind());
            }
            Ok(Some(H2Accept::Rejected)) => {
                answered.fetch_add(1, Ordering::Relaxed);
                let fault = Fault::Malformed("the stream's header is ambiguous");
                let _ = server.application.refuse(&connection, fault, &Sketch::default());
                refused += 1;
                if refused >= REFUSED_STREAMS {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// Streams of a connection that the HTTP/2 library answered or reset by itself: each gets its record when the
/// connection ends, whatever ends it.
struct Owed<'a, A: Application> {
    server: &'a Server<A>,
    connection: &'a Arc<Connection>,
    /// Streams that we have begun to serve.
    answered: &'a AtomicU64,
    /// Streams that count, once no more do.
    counted: Option<u64>,
}

impl<A: Application> Owed<'_, A> {
    /// What is opened from now on was told to go elsewhere, and is no request to us.
    fn stop_counting(&mut self) {
        self.counted = Some(self.connection.streams());
    }
}

impl<A: Application> Drop for Owed<'_, A> {
    fn drop(&mut self) {
        let opened = self.counted.unwrap_or_else(|| self.connection.streams());
        for _ in self.answered.load(Ordering::Relaxed)..opened {
            let fault = Fault::Malformed("the HTTP/2 stream is refused unread");
            let _ = self.server.application.refuse(self.connection, fault, &Sketch::default());
        }
    }
}

/// Serves what is left of a stream, in a task of its own.
fn spawn_stream<A: Application>(
    handed: Handed,
    server: &Arc<Server<A>>,
    connection: &Arc<Connection>,
    running: &Arc<AtomicUsize>,
) {
    let (server, connection, running) = (Arc::clone(server), Arc::clone(connection), Arc::clone(running));
    running.fetch_add(1, Ordering::Relaxed);
    let tracker = server.tracker.clone();
    tracker.spawn(async move {
        let kill = server.kill.clone();
        if let Some(begun) = handed.begun {
            connection.leave(begun);
        }
        tokio::select! {
            () = kill.cancelled() => {}
            _ = server.application.request(handed.session, &server.shutdown) => {}
        }
        // What was begun and not taken up ends here, with its record.
        drop(connection.take_left());
        running.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Serves a stream, unless it is to be handed on. From when it is polled first, its record is written whatever happens.
async fn one_stream<A: Application>(
    session: HttpSession,
    server: &Server<A>,
    connection: &Arc<Connection>,
    answered: &AtomicU64,
) -> Option<Handed> {
    answered.fetch_add(1, Ordering::Relaxed);
    let mut session = ServerSession::new_http2(session);
    let header = session.req_header();
    let limits = server.application.limits().head;
    let bytes: usize = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let fault = if header.method == http::Method::CONNECT {
        Fault::ConnectMethod
    } else if header.raw_path().len() > limits.target {
        Fault::TargetTooLong
    } else if header.headers.len() > limits.fields {
        Fault::TooManyFields
    } else if bytes > limits.bytes {
        Fault::HeaderTooLarge
    } else {
        return server.application.plain_stream(session, connection).await;
    };
    let sketch = Sketch {
        method: Some(header.method.to_string()),
        path: Some(header.uri.path().chars().take(256).collect()),
        host: header.uri.host().map(ToOwned::to_owned),
    };
    server.application.refuse_stream(&mut session, connection, fault, &sketch).await;
    None
}

/// Well above our own limits, so that a header which is too large gets our refusal and a record: what is above
/// this as well is answered by the HTTP/2 library. Each field counts 32 bytes more than it has (RFC 9113, 6.5.2).
fn header_list_size(limits: &Limits) -> u32 {
    let ours = limits.head.bytes + limits.head.target + 32 * limits.head.fields;
    u32::try_from(ours.saturating_mul(4)).unwrap_or(u32::MAX)
}

fn h2_options(limits: &Limits) -> H2Options {
    let mut options = H2Options::default();
    options
        .max_header_list_size(header_list_size(limits))
        .max_concurrent_streams(256)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 22);
    options
}
