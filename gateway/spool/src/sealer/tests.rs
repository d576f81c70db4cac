//! The spool as a whole, on a file system that fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analytics_record::segment::{Flavour, Segment};
use analytics_record::{Charge, NameId, Record, Stream};

use crate::fault::FaultFs;
use crate::vfs::Machine;
use crate::{Appended, OpenError, Options, ReadError, Sealer, Spool};

const DIR: &str = "/spool";
/// 2026-11-23 12:00 UTC.
const NOON: u64 = 1_795_348_800_000_000;
const SECOND: u64 = 1_000_000;

struct Bench {
    fs: FaultFs,
    mono: Arc<AtomicU64>,
    wall: u64,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self { fs: FaultFs::new(seed), mono: Arc::new(AtomicU64::new(0)), wall: NOON }
    }

    fn machine(&self) -> Machine {
        let mono = Arc::clone(&self.mono);
        Machine { vfs: Arc::new(self.fs.clone()), mono_us: Arc::new(move || mono.load(Ordering::Relaxed)) }
    }

    fn open(&self) -> (Spool, Sealer) {
        Spool::open_on(self.machine(), Path::new(DIR), options(), self.wall).unwrap()
    }

    fn pass(&mut self, us: u64) -> u64 {
        self.wall += us;
        self.mono.fetch_add(us, Ordering::Relaxed);
        self.wall
    }
}

fn options() -> Options {
    Options {
        shards: 1,
        ring_bytes: 16 * 1024,
        overflow_slots: 64,
        seal_rows: 40,
        seal_bytes: 8 * 1024,
        seal_age: Duration::from_secs(1),
        budget_bytes: 1 << 20,
    }
}

/// Appends `count` requests of two consumers, one unit each on lease 7.
fn append(spool: &Spool, count: u64) -> u64 {
    let consumers = [spool.names().intern("alice"), spool.names().intern("bob")];
    let mut detail = 0;
    for i in 0..count {
        let mut record = Record::at(spool.clock().now_us());
        record.consumer = consumers[(i % 2) as usize];
        record.status = 200;
        assert!(record.charges.push(Charge { lease: 7, units: 1 }));
        detail += u64::from(spool.shards()[0].append(&record) == Appended::Detail);
    }
    detail
}

/// Rows, requests, units over everything sealed; checks every segment on the way.
fn totals(spool: &Spool) -> (u64, u64, u64) {
    let mut sum = (0, 0, 0);
    for info in spool.sealed() {
        let bytes = spool.read(info.name).unwrap();
        let segment = Segment::parse(&bytes).unwrap();
        let block = segment.block().unwrap();
        let consumer = block.column("consumer").unwrap();
        for row in 0..block.rows {
            assert!(["alice", "bob", "__other__", "__unknown__"].contains(&consumer.text(row).unwrap()));
        }
        let t = segment.header().totals;
        sum = (sum.0 + t.rows, sum.1 + t.n, sum.2 + t.units);
    }
    sum
}

fn segment_files(fs: &FaultFs) -> Vec<PathBuf> {
    fs.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect()
}

#[test]
fn records_become_segments_when_they_are_old_enough() {
    let mut bench = Bench::new(1);
    let (spool, mut sealer) = bench.open();
    append(&spool, 10);
    let wall = bench.pass(SECOND / 10);
    assert_eq!(sealer.tick(wall).sealed, 0, "too young");
    let wall = bench.pass(SECOND);
    let report = sealer.tick(wall);
    assert_eq!((report.sealed, report.trouble, report.degraded), (1, None, false));
    assert_eq!(totals(&spool), (10, 10, 10));
    let facts = spool.streams()[0];
    assert_eq!(
        (facts.first_held, facts.next_seq, facts.closed, facts.complete_through_us),
        (0, 1, false, wall)
    );
    assert_eq!(spool.delete_through(facts.stream, 1).unwrap(), 1);
    let wall = bench.pass(SECOND);
    sealer.tick(wall);
    let facts = spool.streams()[0];
    assert_eq!(
        (facts.first_held, facts.next_seq, facts.complete_through_us),
        (1, 1, wall),
        "idle time counts"
    );
    assert!(segment_files(&bench.fs).is_empty());
}

#[test]
fn many_records_are_cut_by_rows_and_by_day() {
    let mut bench = Bench::new(1);
    bench.wall = NOON + 43_200 * SECOND - 1_000;
    let (spool, mut sealer) = bench.open();
    append(&spool, 5);
    bench.pass(2_000);
    append(&spool, 3);
    // A record of the day before comes late: it counts to the new day.
    assert_eq!(spool.shards()[0].append(&Record::at(NOON)), Appended::Detail);
    let wall = bench.pass(1);
    assert_eq!(sealer.tick(wall).sealed, 2, "one per day, at once after midnight");
    let rows: Vec<u64> = spool.sealed().iter().map(|info| info.rows).collect();
    assert_eq!(rows, [5, 4]);
    append(&spool, 60);
    let wall = bench.pass(1);
    assert_eq!(sealer.tick(wall).sealed, 2, "40 and 20 rows");
}

#[test]
fn a_kill_loses_nothing_at_any_operation() {
    for crash in 0..60 {
        let mut bench = Bench::new(crash);
        let (spool, mut sealer) = bench.open();
        append(&spool, 30);
        let wall = bench.pass(2 * SECOND);
        bench.fs.crash_after(crash);
        sealer.tick(wall);
        append(&spool, 25);
        let wall = bench.pass(2 * SECOND);
        sealer.tick(wall);
        let gateway = spool.gateway();
        drop((spool, sealer));
        // The next process may be killed while it recovers, too.
        bench.fs.restart();
        bench.fs.crash_after(crash / 2);
        let _ = Spool::open_on(bench.machine(), Path::new(DIR), options(), bench.wall);
        bench.fs.restart();
        let (spool, _sealer) = bench.open();
        assert_eq!(spool.gateway(), gateway);
        assert_eq!(totals(&spool), (55, 55, 55), "crash at operation {crash}");
        let old: Vec<_> = spool.streams().into_iter().filter(|f| f.stream.epoch == 1).collect();
        assert!(old[0].closed, "crash at operation {crash}");
        let held = spool.sealed().iter().filter(|i| i.name.stream.epoch == 1).count();
        assert_eq!(old[0].next_seq as usize, held, "contiguous from 0");
        assert_eq!(spool.notes(), Vec::<String>::new());
    }
}

#[test]
fn power_loss_keeps_what_was_sealed_and_duplicates_nothing() {
    for seed in 0..60 {
        let mut bench = Bench::new(seed);
        let (spool, mut sealer) = bench.open();
        append(&spool, 30);
        let wall = bench.pass(2 * SECOND);
        assert!(sealer.tick(wall).sealed > 0);
        append(&spool, 20);
        drop((spool, sealer));
        bench.fs.power_loss();
        let (spool, _sealer) = bench.open();
        let (rows, n, _) = totals(&spool);
        assert!((30..=50).contains(&rows) && rows == n, "seed {seed}: {rows} rows");
    }
}

#[test]
fn a_full_ring_keeps_counts() {
    let mut bench = Bench::new(1);
    let (spool, mut sealer) = bench.open();
    let detail = append(&spool, 500);
    assert!(detail < 200);
    assert_eq!(spool.health(bench.wall).counted_only, 500 - detail);
    let wall = bench.pass(1);
    let report = sealer.tick(wall);
    assert!(report.degraded && spool.health(wall).degraded);
    let (rows, n, units) = totals(&spool);
    assert_eq!((rows, n, units), (detail + 2, 500, 500));
    append(&spool, 5);
    let wall = bench.pass(2 * SECOND);
    assert!(!sealer.tick(wall).degraded, "it ends by itself");
    assert_eq!(totals(&spool).1, 505);
}

#[test]
fn a_full_disk_keeps_counts_through_kills_and_recovers() {
    for killed in [false, true] {
        let mut bench = Bench::new(3);
        let (mut spool, mut sealer) = bench.open();
        append(&spool, 10);
        bench.fs.set_space(Some(bench.fs.used()));
        for _ in 0..20 {
            append(&spool, 50);
            let wall = bench.pass(2 * SECOND);
            let report = sealer.tick(wall);
            assert!(report.degraded && report.trouble.is_some());
        }
        assert!(spool.sealed().is_empty());
        assert!(spool.health(bench.wall).counted_only > 0);
        if killed {
            drop((spool, sealer));
            bench.fs.restart();
            let full = Spool::open_on(bench.machine(), Path::new(DIR), options(), bench.wall).unwrap_err();
            assert!(matches!(full, OpenError::Full { .. } | OpenError::Io { .. }), "{full}");
            bench.fs.set_space(None);
            (spool, sealer) = bench.open();
        }
        bench.fs.set_space(None);
        let wall = bench.pass(2 * SECOND);
        assert_eq!(sealer.tick(wall).trouble, None);
        // The counters that ran while others rested are sealed next; then all is as before.
        let wall = bench.pass(2 * SECOND);
        assert_eq!(sealer.tick(wall).trouble, None);
        let wall = bench.pass(2 * SECOND);
        assert!(!sealer.tick(wall).degraded);
        assert_eq!(totals(&spool).1, 1010);
        assert_eq!(totals(&spool).2, 1010, "units to the unit");
    }
}

#[test]
fn counters_of_two_days_make_two_segments() {
    let mut bench = Bench::new(3);
    let (spool, mut sealer) = bench.open();
    append(&spool, 200);
    bench.fs.set_space(Some(bench.fs.used()));
    let wall = bench.pass(1);
    sealer.tick(wall);
    // The disk stays full over midnight.
    append(&spool, 100);
    bench.pass(86_400 * SECOND);
    append(&spool, 100);
    bench.fs.set_space(None);
    for _ in 0..3 {
        let wall = bench.pass(SECOND);
        assert_eq!(sealer.tick(wall).trouble, None);
    }
    assert_eq!(totals(&spool).1, 400);
    let days: std::collections::BTreeSet<u64> =
        spool.sealed().iter().map(|i| i.min_ts_us / 86_400 / SECOND).collect();
    assert_eq!(days.len(), 2);
}

#[test]
fn above_the_budget_segments_keep_counts_only() {
    let mut bench = Bench::new(1);
    let small = Options { budget_bytes: 5_000, ..options() };
    let (spool, mut sealer) = Spool::open_on(bench.machine(), Path::new(DIR), small, bench.wall).unwrap();
    let mut flavours = Vec::new();
    for _ in 0..6 {
        append(&spool, 30);
        let wall = bench.pass(2 * SECOND);
        let degraded = sealer.tick(wall).degraded;
        let last = spool.sealed().last().unwrap().name;
        let bytes = spool.read(last).unwrap();
        let flavour = Segment::parse(&bytes).unwrap().header().flavour;
        assert_eq!(degraded, flavour == Flavour::Aggregate);
        flavours.push(flavour);
    }
    assert_eq!((flavours[0], flavours[5]), (Flavour::Detail, Flavour::Aggregate));
    assert_eq!(totals(&spool).1, 180);
    let stream = spool.streams()[0].stream;
    spool.delete_through(stream, 6).unwrap();
    append(&spool, 30);
    let wall = bench.pass(2 * SECOND);
    assert!(!sealer.tick(wall).degraded, "room again, detail again");
}

#[test]
fn closing_seals_all_and_ends_the_epoch() {
    let mut bench = Bench::new(1);
    let (spool, sealer) = bench.open();
    append(&spool, 10);
    let wall = bench.pass(1);
    assert_eq!(sealer.close(wall).unwrap().sealed, 1);
    assert_eq!(append(&spool, 1), 0);
    assert_eq!(spool.shards()[0].append(&Record::at(1)), Appended::Closed);
    let facts = spool.streams()[0];
    assert!(facts.closed && facts.next_seq == 1);
    let closed = |spool: &Spool| spool.streams().iter().filter(|f| f.closed).count();
    drop(spool);
    let (spool, sealer) = bench.open();
    assert_eq!((closed(&spool), totals(&spool).1), (1, 10), "the end is remembered");
    spool.forget(facts.stream).unwrap();
    assert_eq!(closed(&spool), 1, "not while it holds segments");
    spool.delete_through(facts.stream, 1).unwrap();
    spool.forget(facts.stream).unwrap();
    assert_eq!(closed(&spool), 0);
    drop((spool, sealer));
    bench.fs.restart();
    let (spool, _sealer) = bench.open();
    assert!(!spool.streams().iter().any(|f| f.stream == facts.stream), "forgotten for good");
}

#[test]
fn one_process_per_spool() {
    let bench = Bench::new(1);
    let (_spool, _sealer) = bench.open();
    let error = Spool::open_on(bench.machine(), Path::new(DIR), options(), bench.wall).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spool /spool is in use by another process: give each gateway a spool directory of its own"
    );
}

#[test]
fn damaged_files_are_set_aside_and_the_rest_is_intact() {
    let mut bench = Bench::new(1);
    let (spool, mut sealer) = bench.open();
    for _ in 0..3 {
        append(&spool, 10);
        let wall = bench.pass(2 * SECOND);
        sealer.tick(wall);
    }
    let files = segment_files(&bench.fs);
    // Damage in a body is found when the segment is read, damage in a header at the next start.
    bench.fs.damage(&files[0], 400).unwrap();
    let names: Vec<_> = spool.sealed().iter().map(|i| i.name).collect();
    let error = spool.read(names[0]).unwrap_err();
    assert!(matches!(&error, ReadError::Damaged { name, .. } if *name == names[0]), "{error}");
    assert_eq!(spool.lost().iter().map(|l| (l.name, l.n)).collect::<Vec<_>>(), [(names[0], Some(10))]);
    assert_eq!(spool.health(bench.wall).lost, 10);
    bench.fs.damage(&files[1], 20).unwrap();
    bench.fs.damage(Path::new("/spool/epoch"), 0).unwrap();
    drop((spool, sealer));
    bench.fs.restart();
    let (spool, _sealer) = bench.open();
    assert_eq!(spool.sealed().iter().map(|i| i.name).collect::<Vec<_>>(), [names[2]]);
    assert_eq!(spool.lost().iter().map(|l| l.name).collect::<Vec<_>>(), names[..2]);
    assert!(
        spool.notes().iter().any(|note| note.contains("0000000001-000-0000000001.seg is damaged")),
        "{:?}",
        spool.notes()
    );
    assert!(spool.epoch() > 1_000, "no epoch is used twice");
    let facts = spool.streams().into_iter().find(|f| f.stream == names[0].stream).unwrap();
    assert_eq!((facts.first_held, facts.next_seq, facts.closed), (2, 3, true));
}

#[test]
fn a_damaged_ring_loses_only_what_was_hit() {
    let bench = Bench::new(1);
    let (spool, sealer) = bench.open();
    append(&spool, 20);
    let stream = Stream { gateway: spool.gateway(), epoch: 1, shard: 0 };
    drop((spool, sealer));
    bench.fs.restart();
    bench.fs.damage(Path::new("/spool/epochs/0000000001/ring-000"), 4096 + 300).unwrap();
    let (spool, _sealer) = bench.open();
    assert_eq!(totals(&spool).1, 19);
    assert!(
        spool.notes()[0].contains(&format!("the ring of {stream} has 152 damaged bytes")),
        "{:?}",
        spool.notes()
    );
    assert_eq!(spool.health(bench.wall).quarantined, 1);
}

#[test]
fn lost_names_are_said_to_be_unknown() {
    let bench = Bench::new(1);
    let (spool, sealer) = bench.open();
    append(&spool, 2);
    drop((spool, sealer));
    bench.fs.restart();
    bench.fs.damage(Path::new("/spool/epochs/0000000001/names"), 3).unwrap();
    let (spool, _sealer) = bench.open();
    let bytes = spool.read(spool.sealed()[0].name).unwrap();
    let block = Segment::parse(&bytes).unwrap().block().unwrap();
    assert_eq!((block.rows, block.column("consumer").unwrap().text(0)), (2, Some("__unknown__")));
}

#[test]
fn times_declared_complete_stay_complete() {
    let mut bench = Bench::new(1);
    let (spool, mut sealer) = bench.open();
    append(&spool, 1);
    let wall = bench.pass(2 * SECOND);
    sealer.tick(wall);
    let through = spool.streams()[0].complete_through_us;
    // The clock is set back an hour, and a worker was slow.
    spool.shards()[0].append(&Record::at(through - 500));
    bench.wall -= 3_600 * SECOND;
    spool.shards()[0].append(&Record::at(bench.wall));
    for _ in 0..30 {
        let wall = bench.pass(SECOND / 10);
        sealer.tick(wall);
    }
    let late = spool.sealed().last().copied().unwrap();
    assert!(late.rows == 2 && late.min_ts_us > through);
    assert!(spool.streams()[0].complete_through_us > through);
}

#[test]
fn names_are_total() {
    let bench = Bench::new(1);
    let (spool, _sealer) = bench.open();
    assert_eq!(spool.names().intern(""), NameId::NONE);
}
