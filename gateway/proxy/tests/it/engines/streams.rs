//! The same for callers with HTTP/2: requests on streams, with and without a body, against every answer.

use std::fmt::Write;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// A request on a stream.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: String,
    /// Its length is told.
    sized: bool,
}

/// What came of it, without what is new each time.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    seen: Option<Message>,
    /// Nothing when there was none.
    answer: Option<Answer>,
    whole: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

fn asked(method: Method, path: &'static str, body: &str) -> Asked {
    Asked { method, path, fields: vec![], body: body.to_owned(), sized: true }
}

fn requests2() -> Vec<Asked> {
    let get = || asked(Method::GET, "/a?b=c", "");
    let with = |fields: &[(&'static str, &'static str)]| Asked { fields: fields.to_vec(), ..get() };
    vec![
        get(),
        with(&[("accept", "*/*"), ("x-empty", ""), ("x-odd", "a\tb")]),
        with(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]),
        with(&[("te", "trailers"), ("trailer", "x"), ("proxy-authorization", "x")]),
        with(&[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-request-id", "mine")]),
        with(&[("x-a", "one"), ("x-a", "two")]),
        with(&[("tracestate", "a=b")]),
        with(&[("expect", "100-continue")]),
        asked(Method::HEAD, "/a", ""),
        asked(Method::DELETE, "/a", ""),
        asked(Method::OPTIONS, "/a", ""),
        asked(Method::GET, "/%41%2f..", ""),
        asked(Method::GET, "/refused", ""),
        asked(Method::POST, "/refused", "hello"),
        asked(Method::POST, "/a", ""),
        asked(Method::POST, "/a", "hello"),
        asked(Method::POST, "/a", &"x".repeat(60_000)),
        asked(Method::POST, "/a", &"x".repeat(70_000)),
        Asked { sized: false, ..asked(Method::POST, "/a", "hello") },
    ]
}

impl Engine {
    async fn run2(&self, asked: &Asked, case: &Case) -> Came {
        *self.upstream.case.lock().unwrap() = Some(case.clone());
        self.upstream.seen.lock().unwrap().clear();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request =
            Request::builder().method(&asked.method).uri(format!("http://shop.example{}", asked.path));
        for (name, value) in &asked.fields {
            request = request.header(*name, *value);
        }
        let data = Bytes::from(asked.body.clone());
        let body = if asked.sized {
            Full::new(data).map_err(|never| match never {}).boxed()
        } else {
            StreamBody::new(futures::stream::iter([Ok::<_, std::io::Error>(Frame::data(data))])).boxed()
        };
        let answer = sender.send_request(request.body(body).unwrap()).await;
        let (mut whole, mut came) = (answer.is_ok(), None);
        if let Ok(answer) = answer {
            let (head, mut body) = answer.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    whole = false;
                    break;
                };
                bytes.extend(frame.into_data().unwrap_or_default());
            }
            let text =
                |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let field = |(name, value): (&hyper::header::HeaderName, _)| {
                let value = if is_fresh(name.as_str()) { "fresh".to_owned() } else { text(value) };
                (name.to_string(), value)
            };
            let mut fields: Vec<_> = head.headers.iter().map(field).collect();
            fields.sort();
            let body = lasting(&bytes);
            // An answer that breaks off may break off anywhere, before its head, too.
            came = whole.then(|| Answer { status: head.status.as_u16(), fields, body });
        }
        drop(sender);
        let _ = tokio::time::timeout(Duration::from_secs(5), connection).await.expect("the connection ends");
        let seen = self.upstream.seen.lock().unwrap();
        Came {
            seen: seen.first().and_then(|bytes| Message::take(&mut &bytes[..], false)),
            answer: came,
            whole,
        }
    }
}

fn corpus2() -> Vec<(Asked, Case)> {
    let (requests, answers) = (requests2(), answers());
    let to = |(answer, closes): &(String, bool)| Case { closes: *closes, ..case("", answer) };
    let plain = case("", OK);
    let mut all: Vec<_> = requests.iter().map(|request| (request.clone(), plain.clone())).collect();
    for answer in &answers {
        all.push((requests[0].clone(), to(answer)));
        if !answer.0.contains("hello") {
            all.push((asked(Method::HEAD, "/a", ""), to(answer)));
        }
    }
    for answer in &answers[..2] {
        for at in 1..answer.0.len() {
            all.push((requests[0].clone(), Case { cut: (usize::MAX, at), ..to(answer) }));
        }
    }
    // More than a window, in one piece and in chunks of many sizes.
    let large = "y".repeat(1_200_000);
    all.push((
        requests[0].clone(),
        case("", &format!("HTTP/1.1 200 OK\r\nContent-Length: 1200000\r\n\r\n{large}")),
    ));
    let mut chunks = String::new();
    for size in (0..200).map(|n| n * 37 + 1) {
        write!(chunks, "{size:x}\r\n{}\r\n", "z".repeat(size)).unwrap();
    }
    all.push((
        requests[0].clone(),
        case("", &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")),
    ));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_do_the_same_for_streams() {
    let (mut fast, mut full) = (Engine::start(true).await, Engine::start(false).await);
    let cases = corpus2();
    let mut different = Vec::new();
    for (asked, case) in &cases {
        let (one, other) = (fast.run2(asked, case).await, full.run2(asked, case).await);
        if one != other {
            let of = |came: &Came| format!("{came:?}").chars().take(700).collect::<String>();
            different.push(format!(
                "{asked:?}\n {:?}\n  fast {}\n  full {}\n",
                text(&case.answer),
                of(&one),
                of(&other)
            ));
        }
    }
    let metrics = fast.rig.metrics().await;
    let taken =
        metrics.lines().find_map(|line| line.strip_prefix("turnpike_gateway_fast_path_requests_total "));
    let taken: usize = taken.unwrap().parse().unwrap();
    assert!(taken * 10 > cases.len() * 9, "the fast path took {taken} of {}", cases.len());
    assert_eq!(agree(&mut fast, &mut full, cases.len(), &different).await, cases.len());
}
