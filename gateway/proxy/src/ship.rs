//! Shipping: sealed segments to the analytics service, and a heartbeat with what is known of each stream.
//!
//! In: the spool, and the service's answers. Out: segments sent again until they are held, and deleted only when
//! a heartbeat's answer says that they were counted in the store. A service that is away costs disk, nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use analytics_record::SegmentName;
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer, SegmentState};
use futures::StreamExt;
use gateway_spool::{ReadError, Sealer, Spool};
use tokio_util::sync::CancellationToken;

use crate::clock::wall_us;
use crate::service::{Service, ServiceError};

/// Between two looks at the spool.
const LOOK: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Segments under way at once.
const AT_ONCE: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between two ticks of the sealer.
const TICK: Duration = Duration::from_millis(50);

/// How old a segment may be before it is sealed; a hint of the service.
#[derive(Debug, Default)]
pub(crate) struct SealAge(AtomicU64);

/// Seals on a thread of its own until `stop`; then closes the epoch, so that nothing is left open.
pub(crate) fn seal(sealer: Sealer, age: Arc<SealAge>, stop: CancellationToken) -> std::io::Result<Sealing> {
    let thread =
        std::thread::Builder::new().name("sealer".into()).spawn(move || sealing(sealer, &age, &stop))?;
    Ok(Sealing(Mutex::new(Some(thread))))
}

/// The sealer's thread.
#[derive(Debug)]
pub(crate) struct Sealing(Mutex<Option<std::thread::JoinHandle<()>>>);

impl Sealing {
    /// Waits until the epoch is closed.
    pub(crate) async fn closed(&self) {
        let thread = self.0.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn sealing(mut sealer: Sealer, age: &SealAge, stop: &CancellationToken) {
    let (mut known_age, mut trouble) = (0, None);
    while !stop.is_cancelled() {
        let hint = age.0.load(Ordering::Relaxed);
        if hint != known_age && hint > 0 {
            known_age = hint;
            sealer.seal_age(Duration::from_millis(hint));
        }
        let report = sealer.tick(wall_us());
        if report.trouble != trouble {
            if let Some(trouble) = &report.trouble {
                tracing::error!(%trouble, "usage cannot be sealed; counts are kept");
            } else {
                tracing::info!("usage is sealed again");
            }
            trouble = report.trouble;
        }
        std::thread::sleep(TICK);
    }
    if let Err(error) = sealer.close(wall_us()) {
        tracing::warn!(%error, "the spool's epoch stays open; the next start recovers it");
    }
}

/// Ships segments.
pub(crate) struct Shipper {
    spool: Spool,
    service: Service,
    seal_age: Arc<SealAge>,
    /// Segments that the service holds, since the start of the service that is named.
    held: HashMap<SegmentName, String>,
    /// Segments that must not be sent again; said once.
    conflicts: HashSet<SegmentName>,
    pause: Duration,
    resume: Instant,
    away: bool,
}

impl Shipper {
    pub(crate) fn new(spool: Spool, service: Service, seal_age: Arc<SealAge>) -> Self {
        Self {
            spool,
            service,
            seal_age,
            held: HashMap::new(),
            conflicts: HashSet::new(),
            pause: FIRST_PAUSE,
            resume: Instant::now(),
            away: false,
        }
    }

    /// Ships until `stop`, then what is left until it is audited or `patience` is over.
    pub(crate) async fn run(mut self, stop: CancellationToken, patience: Duration) {
        let mut last_heartbeat: Option<Instant> = None;
        let mut until = None;
        loop {
            let pace = if until.is_some() { LOOK } else { HEARTBEAT };
            let heartbeat_due = last_heartbeat.is_none_or(|last| last.elapsed() >= pace);
            if Instant::now() >= self.resume {
                self.send().await;
                if heartbeat_due {
                    last_heartbeat = Some(Instant::now());
                    self.heartbeat().await;
                }
            }
            if stop.is_cancelled() {
                let end = *until.get_or_insert_with(|| Instant::now() + patience);
                if self.spool.streams().is_empty() || Instant::now() >= end {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends what was never answered, oldest first.
    async fn send(&mut self) {
        let known = |name: &SegmentName| self.held.contains_key(name) || self.conflicts.contains(name);
        let waiting: Vec<_> =
            self.spool.sealed().iter().map(|info| info.name).filter(|n| !known(n)).collect();
        let (spool, service) = (&self.spool, &self.service);
        let mut answers = futures::stream::iter(waiting)
            .map(|name| async move { (name, put(spool, service, name).await) })
            .buffered(AT_ONCE);
        let mut results = Vec::new();
        while let Some((name, result)) = answers.next().await {
            let failed = matches!(result, Err(_) | Ok(Some(PutAnswer { state: SegmentState::Busy, .. })));
            results.push((name, result));
            if failed {
                break;
            }
        }
        drop(answers);
        for (name, result) in results {
            self.answered(name, result);
        }
    }

    fn answered(&mut self, name: SegmentName, result: Result<Option<PutAnswer>, ServiceError>) {
        match result {
            Ok(None) => {}
            Ok(Some(answer)) => {
                self.reached(&answer.boot);
                match answer.state {
                    SegmentState::Held | SegmentState::Audited => _ = self.held.insert(name, answer.boot),
                    SegmentState::Conflict => self.conflict(name, "the service knows another content of it"),
                    SegmentState::Unknown => {}
                    SegmentState::Busy => self.back_off(),
                }
            }
            Err(ServiceError::Status(status @ (400 | 409 | 413))) => {
                self.conflict(
                    name,
                    if status == 409 { "another content was seen" } else { "the service refuses it" },
                );
            }
            Err(error) => self.failed(&error),
        }
    }

    fn conflict(&mut self, name: SegmentName, why: &str) {
        tracing::error!(%name, why, "a segment is kept and not sent again; see `turnpike doctor`");
        self.conflicts.insert(name);
    }

    async fn heartbeat(&mut self) {
        let now_us = self.spool.clock().now_us();
        let heartbeat = Heartbeat {
            gateway: self.spool.gateway(),
            epoch: self.spool.epoch(),
            now_us,
            streams: self.spool.streams(),
            lost: self.spool.lost(),
            spool: self.spool.health(now_us),
        };
        match self.service.post::<_, HeartbeatAnswer>("/v1/spool/heartbeat", &heartbeat).await {
            Ok(answer) => {
                self.reached(&answer.boot);
                self.seal_age.0.store(u64::from(answer.seal_age_ms), Ordering::Relaxed);
                for mark in answer.marks {
                    let deleted = self.spool.delete_through(mark.stream, mark.audited);
                    let forgotten = if mark.finished { self.spool.forget(mark.stream) } else { Ok(()) };
                    if let Err(error) = deleted.map(|_| ()).and(forgotten) {
                        tracing::warn!(%error, "audited usage cannot be deleted");
                    }
                }
                let left: Vec<_> = self.spool.sealed().iter().map(|info| info.name).collect();
                self.held.retain(|name, _| left.contains(name));
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The service answered; what an earlier life of it held is to be sent again.
    fn reached(&mut self, boot: &str) {
        self.held.retain(|_, known| known == boot);
        self.pause = FIRST_PAUSE;
        if std::mem::take(&mut self.away) {
            tracing::info!("the analytics service answers again");
        }
    }

    fn failed(&mut self, error: &ServiceError) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(%error, "the analytics service does not answer; usage waits in the spool");
        }
        self.back_off();
    }

    /// Waits longer each time, and not at the same time as everyone else.
    fn back_off(&mut self) {
        self.resume = Instant::now() + self.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

async fn put(spool: &Spool, service: &Service, name: SegmentName) -> Result<Option<PutAnswer>, ServiceError> {
    let reader = spool.clone();
    let read = tokio::task::spawn_blocking(move || reader.read(name)).await;
    match read {
        Ok(Ok(bytes)) => service.put(&format!("/v1/segments/{name}"), bytes).await.map(Some),
        Ok(Err(error)) => {
            if !matches!(error, ReadError::Gone(_)) {
                tracing::error!(%error, "a usage segment cannot be read");
            }
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}
