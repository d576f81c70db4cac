//! The spool on the real file system: kept over restarts, held by one process, quick.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use analytics_record::segment::Segment;
use analytics_record::{Charge, Record, Text};
use gateway_spool::{Appended, OpenError, Options, Sealer, Spool};

fn now_us() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() as u64)
}

fn open(dir: &Path) -> Result<(Spool, Sealer), OpenError> {
    let options = Options { shards: 1, seal_age: Duration::from_millis(50), ..Options::default() };
    Spool::open(dir, options, now_us())
}

fn record(spool: &Spool) -> Record {
    let mut record = Record::at(spool.clock().now_us());
    record.consumer = spool.names().intern("alice");
    record.host = Text::new("shop.example.com");
    record.path = Text::new("/orders/1234567890");
    assert!(record.charges.push(Charge { lease: 1, units: 1 }));
    record
}

fn requests(spool: &Spool) -> u64 {
    let count = |name| Segment::parse(&spool.read(name).unwrap()).unwrap().block().unwrap().rows as u64;
    spool.sealed().iter().map(|info| count(info.name)).sum()
}

#[test]
fn records_outlive_the_process_that_wrote_them() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut sealer) = open(dir.path()).unwrap();
    let gateway = spool.gateway();
    for _ in 0..100 {
        assert_eq!(spool.shards()[0].append(&record(&spool)), Appended::Detail);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while sealer.tick(now_us()).sealed == 0 {
        assert!(Instant::now() < deadline, "nothing is sealed");
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..50 {
        spool.shards()[0].append(&record(&spool));
    }
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))), "one process at a time");
    // Dropped without a word, as by a kill: the mapped files are all there is.
    drop((spool, sealer));
    let (spool, sealer) = open(dir.path()).unwrap();
    assert_eq!((spool.gateway(), spool.epoch(), requests(&spool)), (gateway, 2, 150));
    assert_eq!(spool.notes(), Vec::<String>::new());
    sealer.close(now_us()).unwrap();
    let ended = spool.streams();
    for facts in &ended {
        assert!(facts.closed);
        spool.delete_through(facts.stream, facts.next_seq).unwrap();
        spool.forget(facts.stream).unwrap();
    }
    drop(spool);
    let left: Vec<_> = ["segments", "epochs", "closed", "quarantine"]
        .iter()
        .flat_map(|name| std::fs::read_dir(dir.path().join(name)).unwrap())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_unusable_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot create directories in spool {}", file.display())), "{error}");
}

/// The bound is for a release build on a busy machine; what it really takes is printed (`--nocapture`).
#[test]
fn appending_takes_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { shards: 1, ring_bytes: 64 << 20, ..Options::default() };
    let (spool, _sealer) = Spool::open(dir.path(), options, now_us()).unwrap();
    let record = record(&spool);
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..5_000 {
            assert_eq!(spool.shards()[0].append(&record), Appended::Detail);
        }
        best = best.min(start.elapsed() / 5_000);
    }
    println!("append: {} ns", best.as_nanos());
    let bound = if cfg!(debug_assertions) { 20_000 } else { 1_000 };
    assert!(best < Duration::from_nanos(bound), "{best:?}");
}
