use super::*;
use crate::fault::FaultFs;
use crate::vfs::Vfs as _;
use analytics_record::Charge;
use std::path::Path;
use std::sync::Arc;

fn region(slots: usize) -> Region {
    FaultFs::new(1).map_new(Path::new("/counts"), file_bytes(slots)).unwrap()
}

fn record(consumer: u32, status: u16, lease: u64) -> Record {
    let mut record = Record::at(1_000_000 + u64::from(consumer));
    record.consumer = NameId(consumer);
    record.status = status;
    record.request_bytes = 3;
    record.response_bytes = 4;
    assert!(record.charges.push(Charge { lease, units: 2 }));
    record
}

/// Requests, bytes and units over all counts.
fn sums(counted: &[Counted]) -> (u64, u64, u64) {
    counted.iter().fold((0, 0, 0), |(n, bytes, units), (_, s)| {
        (n + s.n, bytes + s.request_bytes + s.response_bytes, units + s.units.iter().sum::<u64>())
    })
}

#[test]
fn counts_are_exact_whatever_finds_a_slot() {
    for slots in [1, 8, 4096] {
        let region = region(slots);
        let mut active = Active::start(Arc::clone(&region), 1);
        assert!(active.is_empty());
        for i in 0..500 {
            active.add(&record(i % 50, 200 + 100 * (i % 4) as u16, u64::from(i % 7)));
        }
        assert!(!active.is_empty());
        let (counted, damaged) = read(&region, 1);
        assert_eq!((sums(&counted), damaged), ((500, 3500, 1000), 0), "{slots} slots");
    }
}

#[test]
fn keys_keep_consumer_and_lease() {
    let region = region(64);
    let mut active = Active::start(Arc::clone(&region), 1);
    for _ in 0..3 {
        active.add(&record(5, 200, 11));
        active.add(&record(5, 200, 12));
        active.add(&record(6, 429, 0));
    }
    let (counted, _) = read(&region, 1);
    let mut found: Vec<_> =
        counted.iter().map(|(k, s)| (k.consumer.0, k.status, k.leases[0], s.n, s.units[0])).collect();
    found.sort_unstable();
    assert_eq!(found, [(5, 200, 11, 3, 6), (5, 200, 12, 3, 6), (6, 429, 0, 3, 6)]);
}

#[test]
fn a_kill_within_a_change_leaves_the_sums_before_it() {
    let region = region(8);
    let mut active = Active::start(Arc::clone(&region), 1);
    active.add(&record(5, 200, 1));
    let before: Vec<u64> = region.words().iter().map(|w| w.load(Ordering::Relaxed)).collect();
    active.add(&record(5, 200, 1));
    let after: Vec<u64> = region.words().iter().map(|w| w.load(Ordering::Relaxed)).collect();
    let changed: Vec<usize> = (0..before.len()).filter(|i| before[*i] != after[*i]).collect();
    // The word that makes the new copy valid is the first of the slot and is stored last.
    let (selector, copy) = changed.split_first().unwrap();
    for done in 0..=copy.len() {
        for (index, word) in region.words().iter().enumerate() {
            let new = copy[..done].contains(&index);
            word.store(if new { after[index] } else { before[index] }, Ordering::Relaxed);
        }
        assert_eq!(sums(&read(&region, 1).0).0, 1, "{done} words stored");
    }
    region.words()[*selector].store(after[*selector], Ordering::Relaxed);
    assert_eq!(sums(&read(&region, 1).0).0, 2);
}

#[test]
fn a_new_generation_voids_the_old_one() {
    let region = region(8);
    let mut active = Active::start(Arc::clone(&region), 1);
    active.add(&record(5, 200, 1));
    assert_eq!(generation_of(&region), Some(1));
    let _next = Active::start(Arc::clone(&region), 3);
    assert_eq!(generation_of(&region), Some(3));
    assert_eq!(read(&region, 3), (Vec::new(), 0));
}

#[test]
fn damage_is_counted_not_believed() {
    let region = region(8);
    let mut active = Active::start(Arc::clone(&region), 1);
    active.add(&record(5, 200, 1));
    let slot = (0..14)
        .map(|i| HEADER_WORDS + i * SLOT_WORDS)
        .find(|at| region.words()[*at].load(Ordering::Relaxed) != 0);
    let copy = (region.words()[slot.unwrap()].load(Ordering::Relaxed) & 1) as usize;
    region.words()[slot.unwrap() + 1 + copy * COPY_WORDS + 9].fetch_add(1, Ordering::Relaxed);
    assert_eq!(read(&region, 1), (Vec::new(), 1));
}
