//! A gateway process around the real spool: appends, ticks, ships, and dies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer, SegmentState};
use analytics_record::{Charge, GatewayId, Record, SegmentName};
use gateway_spool::fault::FaultFs;
use gateway_spool::vfs::{Machine, Vfs as _};
use gateway_spool::{Appended, Options, Sealer, Spool};

use crate::random::Random;
use crate::world::Flaw;

/// How long a gateway waits for an answer before it sends again.
const RESEND_US: u64 = 500_000;

pub(crate) struct Gateway {
    pub fs: FaultFs,
    mono: Arc<AtomicU64>,
    pub wall_us: u64,
    pub process: Option<(Spool, Sealer)>,
    pub down_until_us: u64,
    pub stepped_back: bool,
    pub lost_power: bool,
    /// Segments ever listed: from then on they must reach the store.
    pub promised: BTreeSet<SegmentName>,
    pub requests: u64,
    pub units: BTreeMap<u64, u64>,
    sent: BTreeMap<SegmentName, u64>,
    held: BTreeSet<SegmentName>,
    boot: String,
    flaw: Option<Flaw>,
}

fn options() -> Options {
    Options {
        shards: 2,
        ring_bytes: 6 * 1024,
        overflow_slots: 12,
        seal_rows: 16,
        seal_bytes: 4 * 1024,
        seal_age: Duration::from_millis(200),
        budget_bytes: 60_000,
    }
}

impl Gateway {
    pub(crate) fn new(number: u8, seed: u64, wall_us: u64, flaw: Option<Flaw>) -> Self {
        let fs = FaultFs::new(seed);
        fs.lie_about_sync(flaw == Some(Flaw::LyingDisk));
        // A fixed id, so that a seed replays to the byte.
        let id = GatewayId([number; 16]).to_string();
        fs.write_synced(Path::new("/spool/gateway-id"), id.as_bytes()).expect("nothing fails yet");
        fs.sync_dir(Path::new("/spool")).expect("nothing fails yet");
        Self {
            fs,
            mono: Arc::new(AtomicU64::new(0)),
            wall_us,
            process: None,
            down_until_us: 0,
            stepped_back: false,
            lost_power: false,
            promised: BTreeSet::new(),
            requests: 0,
            units: BTreeMap::new(),
            sent: BTreeMap::new(),
            held: BTreeSet::new(),
            boot: String::new(),
            flaw,
        }
    }

    pub(crate) fn pass(&mut self, us: u64) {
        self.wall_us += us;
        self.mono.fetch_add(us, Ordering::Relaxed);
    }

    /// Starts the process, if its spool lets it.
    pub(crate) fn start(&mut self) {
        let mono = Arc::clone(&self.mono);
        let machine = Machine {
            vfs: Arc::new(self.fs.clone()),
            mono_us: Arc::new(move || mono.load(Ordering::Relaxed)),
        };
        self.process = Spool::open_on(machine, Path::new("/spool"), options(), self.wall_us).ok();
        self.sent.clear();
        self.held.clear();
        self.list();
    }

    /// The process is gone; the file system stays as it is.
    pub(crate) fn kill(&mut self, power: bool) {
        self.process = None;
        if power {
            self.lost_power = true;
            self.fs.power_loss();
        } else {
            self.fs.restart();
        }
    }

    pub(crate) fn append(&mut self, count: u64, next_id: &mut u64, r: &mut Random) -> Result<(), String> {
        let Some((spool, _)) = &self.process else { return Ok(()) };
        let consumers: Vec<_> = (0..3).map(|i| spool.names().intern(&format!("consumer-{i}"))).collect();
        for _ in 0..count {
            *next_id += 1;
            let mut record = Record::at(spool.clock().now_us() - r.within(0, 2_000));
            record.request_id[..8].copy_from_slice(&next_id.to_le_bytes());
            record.consumer = consumers[r.within(0, 3) as usize];
            record.status = if r.chance(100) { 429 } else { 200 };
            let (lease, units) = (r.within(0, 3), r.within(1, 5));
            assert!(record.charges.push(Charge { lease, units }));
            if spool.shards()[r.within(0, 2) as usize].append(&record) == Appended::Closed {
                return Err("an open spool refused a record".to_owned());
            }
            self.requests += 1;
            *self.units.entry(lease).or_default() += units;
        }
        Ok(())
    }

    pub(crate) fn tick(&mut self) {
        if let Some((_, sealer)) = &mut self.process {
            sealer.tick(self.wall_us);
        }
        self.list();
    }

    fn list(&mut self) {
        if let Some((spool, _)) = &self.process {
            self.promised.extend(spool.sealed().iter().map(|info| info.name));
        }
    }

    /// Segments to send now, as they lie on disk.
    pub(crate) fn ship(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        let Some((spool, _)) = &self.process else { return Vec::new() };
        let mut out = Vec::new();
        for info in spool.sealed() {
            let waiting = self.sent.get(&info.name).is_some_and(|at| now_us < at + RESEND_US);
            if self.held.contains(&info.name) || waiting || out.len() >= 6 {
                continue;
            }
            if let Ok(bytes) = spool.read(info.name) {
                self.sent.insert(info.name, now_us);
                out.push(bytes);
            }
        }
        out
    }

    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        let (spool, _) = self.process.as_ref()?;
        Some(Heartbeat {
            gateway: spool.gateway(),
            epoch: spool.epoch(),
            now_us: self.wall_us,
            streams: spool.streams(),
            lost: spool.lost(),
            spool: spool.health(self.wall_us),
        })
    }

    pub(crate) fn put_answered(&mut self, answer: &PutAnswer) {
        self.meet(&answer.boot);
        if matches!(answer.state, SegmentState::Held | SegmentState::Audited) {
            self.held.insert(answer.name);
        }
        if let (Some(Flaw::HastyDelete), Some((spool, _))) = (self.flaw, &self.process) {
            let _ = spool.delete_through(answer.name.stream, answer.name.seq + 1);
        }
    }

    /// Deletes what was audited; gives the names deleted.
    pub(crate) fn heartbeat_answered(&mut self, answer: &HeartbeatAnswer) -> Vec<SegmentName> {
        self.meet(&answer.boot);
        let Some((spool, _)) = &self.process else { return Vec::new() };
        let mut deleted = Vec::new();
        for mark in &answer.marks {
            let doomed = |name: &SegmentName| name.stream == mark.stream && name.seq < mark.audited;
            deleted.extend(spool.sealed().iter().map(|info| info.name).filter(doomed));
            let _ = spool.delete_through(mark.stream, mark.audited);
            if mark.finished {
                let _ = spool.forget(mark.stream);
            }
        }
        deleted
    }

    /// Whether nothing is left to bring to the store.
    pub(crate) fn drained(&self) -> bool {
        let Some((spool, _)) = &self.process else { return false };
        spool.sealed().is_empty() && spool.streams().iter().all(|facts| facts.stream.epoch == spool.epoch())
    }

    /// What is left, for a failure's message.
    pub(crate) fn describe(&self) -> String {
        let Some((spool, _)) = &self.process else { return "not running".to_owned() };
        format!("{} segments, {:?}, notes {:?}", spool.sealed().len(), spool.streams(), spool.notes())
    }

    /// A service with another boot holds nothing of what the last one held.
    fn meet(&mut self, boot: &str) {
        if self.boot != boot {
            boot.clone_into(&mut self.boot);
            self.held.clear();
        }
    }
}
