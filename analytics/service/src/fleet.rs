//! The gateways as this process knows them: their last facts, and when they spoke.
//!
//! In: heartbeats and status messages. Out: views for people, streams for settlement and marks. The facts are kept in the
//! ledger, so that after a restart a gateway that is away is still shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use analytics_query::utc;
use analytics_record::wire::{Heartbeat, StreamFacts};
use analytics_record::{GatewayId, Stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, LedgerError};

/// A gateway that was not heard of for longer is called silent.
const SILENT: SignedDuration = SignedDuration::from_secs(10);
/// Facts that only grew older are written again after this.
const REWRITE: SignedDuration = SignedDuration::from_secs(10);
/// Most gateways remembered.
const MAX_GATEWAYS: usize = 10_000;
/// Longest text of a status message.
const MAX_TEXT: usize = 200;

/// Who a gateway is, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct GatewayStatus {
    /// Its running epoch.
    pub epoch: u32,
    /// serving, draining or stopped.
    pub state: String,
    /// Where it listens.
    pub address: String,
    /// Its machine or pod.
    pub hostname: String,
    /// Its release.
    pub version: String,
    /// When it started, milliseconds since 1970.
    pub started_at_ms: i64,
    /// The snapshot it serves.
    pub snapshot_version: String,
    /// Open downstream connections.
    pub connections: u64,
}

impl GatewayStatus {
    /// The same with bounded texts.
    pub(crate) fn cut(mut self) -> Self {
        for text in [
            &mut self.state,
            &mut self.address,
            &mut self.hostname,
            &mut self.version,
            &mut self.snapshot_version,
        ] {
            if text.len() > MAX_TEXT {
                *text = text.chars().take(MAX_TEXT / 4).collect();
            }
        }
        self
    }
}

/// What is kept of a gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    gateway: GatewayId,
    heartbeat: Option<Heartbeat>,
    status: GatewayStatus,
    seen: Timestamp,
    #[serde(skip)]
    written: Option<Timestamp>,
}

/// A gateway as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct GatewayView {
    gateway: String,
    hostname: String,
    address: String,
    state: String,
    epoch: u32,
    version: String,
    snapshot_version: String,
    connections: u64,
    last_seen: String,
    /// Not heard of lately, and not stopped.
    pub silent: bool,
    /// Every record up to here is sealed.
    sealed_through: Option<String>,
    pub spool_bytes: u64,
    spool_segments: u64,
    /// Age of the oldest record that is not audited.
    oldest_age_ms: u64,
    /// Detail is being given up; counts stay exact.
    degraded: bool,
    counted_only: u64,
    lost: u64,
    quarantined: u64,
    streams: u64,
}

impl GatewayView {
    /// Whether it takes traffic, as far as is known.
    pub(crate) fn is_serving(&self) -> bool {
        !self.silent && self.state != "stopped"
    }
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    ledger: Ledger,
    gateways: Arc<Mutex<BTreeMap<GatewayId, Facts>>>,
}

impl Fleet {
    /// The gateways that the ledger knows.
    pub(crate) fn restore(ledger: Ledger) -> Result<Self, LedgerError> {
        let known: Vec<Facts> = ledger.gateways()?;
        let gateways = known.into_iter().map(|facts| (facts.gateway, facts)).collect();
        Ok(Self { ledger, gateways: Arc::new(Mutex::new(gateways)) })
    }

    /// Takes in a heartbeat.
    pub(crate) async fn heartbeat(&self, heartbeat: &Heartbeat, now: Timestamp) {
        self.change(heartbeat.gateway, now, |facts| {
            let shape =
                |streams: &[StreamFacts]| streams.iter().map(|s| (s.stream, s.closed)).collect::<Vec<_>>();
            let before = facts.heartbeat.as_ref();
            // A late message of an earlier life must not hide the present one.
            if before.is_some_and(|known| known.epoch > heartbeat.epoch) {
                return false;
            }
            let changed = before.is_none_or(|known| {
                known.epoch != heartbeat.epoch
                    || known.spool.lost != heartbeat.spool.lost
                    || shape(&known.streams) != shape(&heartbeat.streams)
            });
            facts.heartbeat = Some(heartbeat.clone());
            changed
        })
        .await;
    }

    /// Takes in who a gateway is.
    pub(crate) async fn status(&self, gateway: GatewayId, status: GatewayStatus, now: Timestamp) {
        self.change(gateway, now, |facts| {
            let changed = facts.status != status;
            facts.status = status;
            changed
        })
        .await;
    }

    async fn change(&self, gateway: GatewayId, now: Timestamp, work: impl FnOnce(&mut Facts) -> bool) {
        let due = {
            let mut known = self.lock();
            if known.len() >= MAX_GATEWAYS && !known.contains_key(&gateway) {
                tracing::error!(%gateway, "more than {MAX_GATEWAYS} gateways; this one is not shown");
                return;
            }
            let fresh = || Facts {
                gateway,
                heartbeat: None,
                status: GatewayStatus::default(),
                seen: now,
                written: None,
            };
            let facts = known.entry(gateway).or_insert_with(fresh);
            facts.seen = now;
            let changed = work(facts);
            let old = facts.written.is_none_or(|written| now.duration_since(written) > REWRITE);
            if changed || old {
                facts.written = Some(now);
                Some(facts.clone())
            } else {
                None
            }
        };
        let Some(facts) = due else { return };
        let ledger = self.ledger.clone();
        let done =
            tokio::task::spawn_blocking(move || ledger.put_gateway(&gateway.to_string(), &facts)).await;
        if !matches!(done, Ok(Ok(()))) {
            tracing::error!(%gateway, "facts of a gateway cannot be kept");
        }
    }

    /// All streams that a gateway has named last.
    pub(crate) fn streams(&self, gateway: GatewayId) -> Vec<Stream> {
        let known = self.lock();
        let heartbeat = known.get(&gateway).and_then(|facts| facts.heartbeat.as_ref());
        heartbeat
            .map(|heartbeat| heartbeat.streams.iter().map(|facts| facts.stream).collect())
            .unwrap_or_default()
    }

    /// The streams of an ended life that its gateway still names, and whether it has declared segments of it lost;
    /// nothing while it is not known that a newer life has taken over the spool.
    pub(crate) fn left_behind(&self, gateway: &str, epoch: u32) -> Option<(Vec<Stream>, bool)> {
        let gateway: GatewayId = gateway.parse().ok()?;
        let known = self.lock();
        let heartbeat = known.get(&gateway)?.heartbeat.as_ref()?;
        let streams =
            heartbeat.streams.iter().map(|facts| facts.stream).filter(|stream| stream.epoch == epoch);
        let lost = heartbeat.lost.iter().any(|segment| segment.name.stream.epoch == epoch);
        (heartbeat.epoch > epoch).then(|| (streams.collect(), lost))
    }

    /// Requests whose records are lost for good, as all gateways declare.
    pub(crate) fn lost(&self) -> u64 {
        self.lock()
            .values()
            .filter_map(|facts| facts.heartbeat.as_ref())
            .map(|heartbeat| heartbeat.spool.lost)
            .sum()
    }

    /// All gateways as people see them.
    pub(crate) fn view(&self, now: Timestamp) -> Vec<GatewayView> {
        self.lock().values().map(|facts| view(facts, now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GatewayId, Facts>> {
        // Facts are replaced whole: a panic cannot leave half of one.
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(facts: &Facts, now: Timestamp) -> GatewayView {
    let status = facts.status.clone();
    let heartbeat = facts.heartbeat.as_ref();
    let spool = heartbeat.map(|heartbeat| heartbeat.spool.clone()).unwrap_or_default();
    let sealed =
        heartbeat.and_then(|heartbeat| heartbeat.streams.iter().map(|s| s.complete_through_us).min());
    let sealed = sealed.and_then(|micros| Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok());
    GatewayView {
        gateway: facts.gateway.to_string(),
        hostname: status.hostname,
        address: status.address,
        silent: status.state != "stopped" && now.duration_since(facts.seen) > SILENT,
        state: if status.state.is_empty() { "serving".into() } else { status.state },
        epoch: heartbeat.map_or(status.epoch, |heartbeat| heartbeat.epoch),
        version: status.version,
        snapshot_version: status.snapshot_version,
        connections: status.connections,
        last_seen: utc(facts.seen),
        sealed_through: sealed.map(utc),
        spool_bytes: spool.spool_bytes,
        spool_segments: spool.segments,
        oldest_age_ms: spool.oldest_age_us / 1_000,
        degraded: spool.degraded,
        counted_only: spool.counted_only,
        lost: spool.lost,
        quarantined: spool.quarantined,
        streams: heartbeat.map_or(0, |heartbeat| heartbeat.streams.len() as u64),
    }
}
