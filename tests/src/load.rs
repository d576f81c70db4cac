//! Load on a gateway, with books of its own: every answer that was received in full, and every failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::shop::Caller;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Failures whose text is kept.
const KEPT_FAILURES: usize = 20;

/// One answer, received in full.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Who asked: `namespace/name`.
    pub consumer: String,
    /// Its status.
    pub status: u16,
    /// When the request was sent.
    pub sent: Timestamp,
    /// When the last byte of the answer was there.
    pub received: Timestamp,
    /// Units that it costs: bytes of its body for a quota in bytes, otherwise 1; none unless it was served.
    pub units: u64,
}

/// What clients know.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// By request id.
    pub by_id: BTreeMap<String, Answer>,
    /// Requests without a full answer.
    pub failed: u64,
    /// What came of the first of them, and when.
    pub failures: Vec<String>,
}

/// Running load.
#[derive(Debug)]
pub struct Load {
    answers: Arc<Mutex<Answers>>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Answers {
    /// How many answers had this status.
    pub fn count(&self, consumer: &str, status: u16) -> u64 {
        self.by_id.values().filter(|answer| answer.consumer == consumer && answer.status == status).count()
            as u64
    }

    /// Units that a consumer received.
    pub fn units(&self, consumer: &str) -> u64 {
        self.by_id.values().filter(|answer| answer.consumer == consumer).map(|answer| answer.units).sum()
    }

    /// Answers by status.
    pub fn kinds(&self) -> BTreeMap<u16, u64> {
        self.by_id.values().fold(BTreeMap::new(), |mut kinds, answer| {
            *kinds.entry(answer.status).or_default() += 1;
            kinds
        })
    }

    /// When the last answer was received.
    pub fn last(&self) -> Option<Timestamp> {
        self.by_id.values().map(|answer| answer.received).max()
    }

    /// Time of an answer that `percent` of those in [from, to) did not exceed.
    pub fn latency(&self, percent: usize, from: Timestamp, to: Timestamp) -> Duration {
        let inside = self.by_id.values().filter(|answer| from <= answer.sent && answer.sent < to);
        let mut times: Vec<Duration> =
            inside.map(|answer| answer.received.duration_since(answer.sent).unsigned_abs()).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }

    /// Notes an answer.
    ///
    /// # Panics
    /// When its request id was given before.
    pub fn note(&mut self, id: &str, answer: Answer) {
        let former = self.by_id.insert(id.to_owned(), answer);
        assert!(former.is_none(), "the request id {id} was given twice");
    }

    fn note_failure(&mut self, error: &anyhow::Error) {
        self.failed += 1;
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(format!("{}: {error:#}", Timestamp::now()));
        }
    }
}

impl Load {
    /// `workers` clients, each with one of `callers` in turn and a pause of `pace` between two requests.
    pub fn start(port: u16, callers: &[Caller], workers: usize, pace: Duration) -> Self {
        let answers = Arc::<Mutex<Answers>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for caller in callers.iter().cycle().take(workers) {
            let (caller, answers, stop) = (caller.clone(), answers.clone(), stop.clone());
            running.spawn(async move {
                let http = client();
                let mut nth = 0;
                while !stop.load(Ordering::Relaxed) {
                    let result = request(&http, &caller, port, nth).await;
                    match result {
                        Ok((id, answer)) => lock(&answers).note(&id, answer),
                        Err(error) => lock(&answers).note_failure(&error),
                    }
                    nth += 1;
                    tokio::time::sleep(pace).await;
                }
            });
        }
        Self { answers, stop, workers: running }
    }

    /// What is known so far.
    pub fn so_far(&self) -> Answers {
        lock(&self.answers).clone()
    }

    /// Ends it after the requests under way.
    pub async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
        lock(&self.answers).clone()
    }
}

fn lock(answers: &Mutex<Answers>) -> MutexGuard<'_, Answers> {
    // A worker that panicked makes `join_all` panic, too: nothing is hidden by going on here.
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client with connections of its own.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client needs no file")
}

/// One request and its answer. Of a caller with a quota in bytes each costs 100; the others vary in size and method.
///
/// # Errors
/// When no answer was received in full.
pub async fn request(
    http: &reqwest::Client,
    caller: &Caller,
    port: u16,
    nth: u64,
) -> anyhow::Result<(String, Answer)> {
    let base = format!("http://127.0.0.1:{port}/bytes");
    let request = match nth % 4 {
        _ if caller.unit == "Bytes" => http.get(format!("{base}/100")),
        0 => http.post(format!("{base}/10")).body(vec![b'x'; 300]),
        1 => http.get(format!("{base}/20000")),
        _ => http.get(format!("{base}/100")),
    };
    send(request, caller).await
}

/// One request that costs a single unit, and its answer.
///
/// # Errors
/// When no answer was received in full.
pub async fn smallest(
    http: &reqwest::Client,
    caller: &Caller,
    port: u16,
) -> anyhow::Result<(String, Answer)> {
    send(http.get(format!("http://127.0.0.1:{port}/bytes/1")), caller).await
}

async fn send(request: reqwest::RequestBuilder, caller: &Caller) -> anyhow::Result<(String, Answer)> {
    let sent = Timestamp::now();
    let response = request.header("x-api-key", caller.key()).send().await?;
    let status = response.status().as_u16();
    let id = response.headers().get("x-request-id").context("no x-request-id")?.to_str()?.to_owned();
    let body = response.bytes().await?;
    let units = match (status, caller.unit) {
        (200, "Bytes") => body.len() as u64,
        (200, _) => 1,
        _ => 0,
    };
    let received = Timestamp::now();
    Ok((id, Answer { consumer: format!("shop/{}", caller.name), status, sent, received, units }))
}
