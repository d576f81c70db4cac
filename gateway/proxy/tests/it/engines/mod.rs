//! One behaviour, two engines: the same bytes through the fast path and through pingora, compared by what the upstream
//! saw, what the caller got, and what the record says.
//!
//! Where they may differ, `allowed` says so, with the reason.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_snapshot::BackendProtocol;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::analytics::Row;
use crate::rig::Rig;
use crate::snapshot::Build;

mod streams;

/// One exchange.
#[derive(Debug, Clone)]
struct Case {
    request: Vec<u8>,
    answer: Vec<u8>,
    /// The request arrives in two pieces, cut here; so does the answer.
    cut: (usize, usize),
    /// The upstream closes behind its answer.
    closes: bool,
}

/// What came of it, without what is new each time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    seen: Option<Message>,
    answers: Vec<Message>,
}

/// A message, whatever its framing and the order of its fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    start: String,
    fields: Vec<(String, String)>,
    body: String,
    whole: bool,
}

impl Message {
    /// Takes one message from the front of `bytes`; `bodiless`: an answer to HEAD.
    fn take(bytes: &mut &[u8], bodiless: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let start = lines.next()?.to_owned();
        let mut fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .map(|(name, value)| if is_fresh(&name) { (name, "fresh".into()) } else { (name, value) })
            .collect();
        fields.sort();
        *bytes = &bytes[end..];
        let find =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let none = bodiless || start.contains(" 204 ") || start.contains(" 304 ") || start.contains(" 103 ");
        let (body, whole) = match (find("content-length"), find("transfer-encoding")) {
            _ if none => (Vec::new(), true),
            (_, Some(_)) => dechunked(bytes),
            (Some(length), None) => {
                let length: usize = length.parse().unwrap();
                let have = bytes.len().min(length);
                let (body, rest) = bytes.split_at(have);
                *bytes = rest;
                (body.to_vec(), have == length)
            }
            (None, None) if start.starts_with("HTTP/") => (std::mem::take(bytes).to_vec(), true),
            (None, None) => (Vec::new(), true),
        };
        fields.retain(|(name, _)| name != "transfer-encoding");
        Some(Self { start, fields, body: lasting(&body), whole })
    }
}

/// A body without the id of its request, which stands at the end of what a refusal tells.
fn lasting(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    body.split_once("\"request_id\":").map_or(&*body, |(told, _)| told).to_owned()
}

/// Differs between any two requests.
fn is_fresh(name: &str) -> bool {
    matches!(name, "x-request-id" | "traceparent" | "date")
}

/// The data of chunks, and whether the last one and the end were there.
fn dechunked(bytes: &mut &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16) else { break };
        *bytes = &bytes[end + 2..];
        if size == 0 {
            let end = if bytes.starts_with(b"\r\n") {
                Some(2)
            } else {
                bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
            };
            *bytes = &bytes[end.unwrap_or(bytes.len())..];
            return (body, end.is_some());
        }
        let have = size.min(bytes.len());
        body.extend_from_slice(&bytes[..have]);
        *bytes = bytes.get(have + 2..).unwrap_or_default();
        if have < size {
            break;
        }
    }
    (body, false)
}

/// An upstream that answers as the present case says.
struct Scripted {
    case: Arc<Mutex<Option<Case>>>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    address: SocketAddr,
}

impl Scripted {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (case, seen) = (Arc::<Mutex<Option<Case>>>::default(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let (given, noted) = (Arc::clone(&case), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&given), Arc::clone(&noted)));
            }
        });
        Self { case, seen, address }
    }
}

async fn serve(mut stream: TcpStream, case: Arc<Mutex<Option<Case>>>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    loop {
        let Some(request) = read_request(&mut stream).await else { return };
        seen.lock().unwrap().push(request);
        let case = case.lock().unwrap().clone().unwrap();
        let at = case.cut.1.min(case.answer.len());
        for piece in [&case.answer[..at], &case.answer[at..]] {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            if at > 0 && at < case.answer.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if case.closes {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut rest = &bytes[..];
        if Message::take(&mut rest, false).is_some_and(|message| message.whole) {
            return Some(bytes);
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// A gateway with one engine in front of a scripted upstream.
struct Engine {
    rig: Rig,
    upstream: Scripted,
    address: SocketAddr,
}

impl Engine {
    async fn start(fast_path: bool) -> Self {
        let upstream = Scripted::start().await;
        let build = Build::new()
            .backend("b", BackendProtocol::Http1, &[upstream.address])
            .route("/", "b")
            .rule("/refused", |_| {})
            .settings(|settings| settings.fast_path = fast_path);
        // With more than one worker it would be chance which connections to the upstream a request finds.
        let rig = Rig::start_with(&build, |options| options.threads = 1).await;
        let address = rig.plain().await;
        Self { rig, upstream, address }
    }

    async fn run(&self, case: &Case) -> Outcome {
        *self.upstream.case.lock().unwrap() = Some(case.clone());
        self.upstream.seen.lock().unwrap().clear();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let at = case.cut.0.min(case.request.len());
        let _ = stream.write_all(&case.request[..at]).await;
        if at > 0 && at < case.request.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = stream.write_all(&case.request[at..]).await;
        let mut bytes = Vec::new();
        let reading = stream.read_to_end(&mut bytes);
        // A connection that was reset has given what it has.
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the connection ends");
        let mut rest = &bytes[..];
        let bodiless = case.request.starts_with(b"HEAD ");
        let answers = std::iter::from_fn(|| Message::take(&mut rest, bodiless)).collect();
        let seen = self.upstream.seen.lock().unwrap();
        Outcome { seen: seen.first().and_then(|bytes| Message::take(&mut &bytes[..], false)), answers }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

fn case(request: &str, answer: &str) -> Case {
    let whole = usize::MAX;
    Case { request: request.into(), answer: answer.into(), cut: (whole, whole), closes: false }
}

fn get(fields: &str) -> String {
    format!("GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{fields}\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello";

/// Valid, odd and hostile requests.
fn requests() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "Accept: */*\r\nUser-Agent: x\r\nX-Odd:  \t padded \t \r\nX-Empty:\r\n",
        "x-forwarded-for: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n",
        "Cookie: a=1\r\n",
        "Cookie: a=1\r\nCookie: b=2\r\n",
        "TE: trailers\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: x\r\nTrailer: x\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: h2c\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "X-A: one\r\nX-A: two\r\nx-a: three\r\n",
        "tracestate: a=b\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n",
        "X-Bytes: \u{e9}\u{fc}\r\n",
        "Content-Length: 0\r\n",
    ]
    .map(get)
    .to_vec();
    let shop = "Host: shop.example\r\nConnection: close\r\n";
    for line in [
        "HEAD /a",
        "DELETE /a",
        "OPTIONS *",
        "GET http://shop.example/a",
        "PURGE /a",
        "GET /%41%2f..",
        "GET /{}",
    ] {
        all.push(format!("{line} HTTP/1.1\r\n{shop}\r\n"));
    }
    for (length, body) in [("5", "hello"), ("0", ""), ("5", "hello, and more")] {
        all.push(format!("POST /a HTTP/1.1\r\n{shop}Content-Length: {length}\r\n\r\n{body}"));
    }
    all.push(format!("POST /a HTTP/1.1\r\n{shop}Content-Length: 3000\r\n\r\n{}", "x".repeat(3000)));
    all.push(format!("POST /a HTTP/1.1\r\n{shop}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    all.push(format!("POST /a HTTP/1.1\r\n{shop}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"));
    all.push("GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n".into());
    all.push("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".into());
    all.push(format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi{}", get("")));
    // Refused before any engine sees them; after them, nothing is served.
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Host: other\r\n",
        "X: a\r\n folded\r\n",
        "X: a\rb\r\n",
        "X : a\r\n",
    ] {
        all.push(format!(
            "POST /a HTTP/1.1\r\n{shop}{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
    }
    all
}

/// Valid, odd and hostile answers; `true`: the upstream closes behind it.
fn answers() -> Vec<(String, bool)> {
    let kept = [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n there\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 404 Nothing Here At All\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nX-Spaced : a\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno",
    ];
    let closed = [
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-x\r\n",
        "",
    ];
    let told = |closes| move |text: &str| (text.to_owned(), closes);
    kept.into_iter().map(told(false)).chain(closed.into_iter().map(told(true))).collect()
}

/// All requests against a plain answer, all answers to a plain request, and a seeded choice of the rest.
fn corpus() -> Vec<Case> {
    let (requests, answers) = (requests(), answers());
    let mut cases: Vec<Case> = requests.iter().map(|request| case(request, OK)).collect();
    let answered =
        |request: &str, (answer, closes): &(String, bool)| Case { closes: *closes, ..case(request, answer) };
    let head = "HEAD /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    for answer in &answers {
        cases.push(answered(&get(""), answer));
        if !answer.0.contains("hello") {
            cases.push(answered(head, answer));
        }
    }
    for at in 1..get("").len() {
        cases.push(Case { cut: (at, usize::MAX), ..case(&get(""), OK) });
    }
    for (answer, closes) in &answers[..2] {
        for at in 1..answer.len() {
            let cut = (usize::MAX, at);
            cases.push(Case { cut, ..answered(&get(""), &(answer.clone(), *closes)) });
        }
    }
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..300 {
        let request = requests.choose(&mut random).unwrap();
        let answer = answers.choose(&mut random).unwrap();
        let cut = (random.random_range(0..=request.len()), random.random_range(0..=answer.0.len()));
        cases.push(Case { cut, ..answered(request, answer) });
    }
    cases
}

/// Differences that have a reason.
fn allowed(mut outcome: Outcome) -> Outcome {
    for answer in &mut outcome.answers {
        // An answer that breaks off may break off anywhere.
        if !answer.whole {
            answer.body.clear();
        }
    }
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_do_the_same() {
    let (mut fast, mut full) = (Engine::start(true).await, Engine::start(false).await);
    let cases = corpus();
    let mut different = Vec::new();
    for case in &cases {
        let (one, other) = (allowed(fast.run(case).await), allowed(full.run(case).await));
        if one != other {
            different.push(format!(
                "{:?}\n  {:?}\n  fast {one:?}\n  full {other:?}\n",
                text(&case.request),
                text(&case.answer)
            ));
        }
    }
    agree(&mut fast, &mut full, cases.len(), &different).await;
}

/// That nothing was different, in the records neither; how many of these each has.
async fn agree(fast: &mut Engine, full: &mut Engine, cases: usize, different: &[String]) -> usize {
    let (one, other) = (fast.rig.records().await, full.rig.records().await);
    let shown = different[..different.len().min(20)].concat();
    assert!(different.is_empty(), "{} of {cases} differ: {shown}", different.len());
    assert_eq!(one.len(), other.len());
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(told(one), told(other), "record {at}");
    }
    one.len()
}

/// What a record says, whenever it was.
fn told(row: &Row) -> (u64, &str, &str, &str, u64, u64, u64) {
    let bytes = (row.request_bytes, row.response_bytes);
    (row.status, &row.reason, &row.method, &row.path, bytes.0, bytes.1, row.attempts)
}
