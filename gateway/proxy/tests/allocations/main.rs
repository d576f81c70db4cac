//! A plain request on the fast path allocates nothing: no memory is asked for between its first byte and its record.
//!
//! Allocations are counted on all threads but those of callers and upstream. What it does once a second allocates a little,
//! however many requests there are: so a round of requests may allocate for few of them.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "there is no other way to count for a runtime's threads")]

#[path = "../it/snapshot.rs"]
#[allow(dead_code)]
mod snapshot;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_proxy::{Options, Process, Snapshots};
use gateway_snapshot::{
    ApiKeySource, AuthPolicy, BackendProtocol, Consumer, Credential, Dimension, RateLimitPolicy,
};
use sha2::{Digest, Sha256};

use snapshot::{Build, PLAIN, to};

/// The system's allocator; counts on threads of the gateway: all that are not said to be another's.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ANOTHERS: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !ANOTHERS.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello";

/// Answers every request; requests have no bodies.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                ANOTHERS.set(true);
                let (mut buffer, mut have) = ([0; 4096], 0);
                loop {
                    match stream.read(&mut buffer[have..]) {
                        Ok(read @ 1..) => have += read,
                        _ => return,
                    }
                    if buffer[..have].ends_with(b"\r\n\r\n") {
                        stream.write_all(ANSWER).unwrap();
                        have = 0;
                    }
                }
            });
        }
    });
    address
}

fn served(upstream: SocketAddr) -> Build {
    let mut build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).rule("/", |rule| {
        rule.backends = vec![to("b")];
        rule.auth = Some("shop/keys".into());
        rule.rate_limits = vec!["shop/rate".into()];
    });
    build.0.settings.fast_path = true;
    // Spans are for few, and these are made of strings.
    build.0.settings.trace_per_mille = 0;
    let source = ApiKeySource::Header { name: "x-api-key".into(), scheme: None };
    let auth =
        AuthPolicy { api_key: vec![source], allow_anonymous: false, groups: vec![], hide_credentials: true };
    build.0.auth_policies.insert("shop/keys".into(), auth);
    let rate =
        RateLimitPolicy { requests: 1_000_000, period_ms: 1_000, burst: 1_000_000, by: Dimension::Consumer };
    build.0.rate_limit_policies.insert("shop/rate".into(), rate);
    let sha256 = hex::encode(Sha256::digest(b"key"));
    let credentials = vec![Credential::ApiKey { sha256, not_after: None }];
    build.0.consumers.insert("shop/alice".into(), Consumer { groups: vec![], credentials, disabled: false });
    build
}

fn exchange(stream: &mut TcpStream) {
    stream
        .write_all(
            b"GET /a HTTP/1.1\r\nHost: shop\r\nX-Api-Key: key\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n",
        )
        .unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"\r\n\r\nhello") {
        let read = stream.read(&mut buffer).unwrap_or(0);
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
}

/// The body of an answer to a plain GET.
fn text(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Address of the listener, once it is bound.
fn port(admin: SocketAddr) -> SocketAddr {
    loop {
        let answer = text(admin, "/status");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(address) = status["listeners"][PLAIN]["address"].as_str() {
            return address.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_plain_request_allocates_nothing() {
    const CONNECTIONS: usize = 8;
    const REQUESTS: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let snapshots = dir.path().join("snapshot.json");
    std::fs::write(&snapshots, serde_json::to_vec(&served(upstream()).0).unwrap()).unwrap();
    let mut options = Options::new(Snapshots::File(snapshots), dir.path().join("state"));
    options.address = Ipv4Addr::LOCALHOST.into();
    options.threads = 1;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let process = runtime.block_on(Process::start(options)).unwrap();
    let admin = process.admin();
    let address = port(admin);
    ANOTHERS.set(true);
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &streams {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    let mut round = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for stream in &mut streams {
                scope.spawn(|| {
                    ANOTHERS.set(true);
                    (0..REQUESTS / CONNECTIONS as u64).for_each(|_| exchange(stream));
                });
            }
        });
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The first round fills what is used again.
    round();
    let counts: Vec<u64> = (0..5).map(|_| round()).collect();
    println!("allocations in rounds of {REQUESTS} requests: {counts:?}");
    assert!(*counts.iter().min().unwrap() < REQUESTS / 20, "{counts:?}");
    let metrics = text(admin, "/metrics");
    assert!(metrics.contains(&format!("fast_path_requests_total {}\n", 6 * REQUESTS)), "{metrics}");
    drop(process);
}
