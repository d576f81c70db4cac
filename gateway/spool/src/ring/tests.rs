use super::*;
use crate::fault::FaultFs;
use crate::vfs::Vfs as _;
use analytics_record::{GatewayId, Text};
use std::path::Path;

fn stream() -> Stream {
    Stream { gateway: GatewayId([7; 16]), epoch: 1, shard: 0 }
}

fn ring(capacity: usize) -> Ring {
    let region = FaultFs::new(1).map_new(Path::new("/ring"), file_bytes(capacity)).unwrap();
    Ring::new(region, stream()).unwrap()
}

/// Writes records with these numbers from `at` on; gives the position behind them.
fn fill(ring: &Ring, mut at: u64, numbers: std::ops::Range<u64>) -> u64 {
    let mut buffer = [0; MAX_ENTRY_BYTES];
    for number in numbers {
        let mut record = Record::at(number);
        record.path = Text::new(&"x".repeat(number as usize % 100));
        let used = entry::encode(&record, at, &mut buffer);
        ring.write(at, &buffer[..used]);
        at += used as u64;
    }
    at
}

fn numbers(ring: &Ring, mut at: u64, end: u64) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(next) = ring.next(at, end) {
        found.push(next.record.ts_us);
        at = next.next;
    }
    found
}

#[test]
fn entries_wrap_and_old_laps_are_never_read() {
    let ring = ring(8192);
    let mut at = 0;
    for lap in 0..40 {
        let from = at;
        at = fill(&ring, at, lap * 20..lap * 20 + 20);
        assert_eq!(numbers(&ring, from, at), (lap * 20..lap * 20 + 20).collect::<Vec<_>>());
        assert_eq!(ring.replay(from), (at, 0), "what earlier laps left behind the end is not taken");
    }
    assert!(at > 3 * ring.capacity());
}

#[test]
fn a_torn_tail_ends_the_replay() {
    let ring = ring(8192);
    let end = fill(&ring, 0, 0..10);
    let mut buffer = [0; MAX_ENTRY_BYTES];
    let mut record = Record::at(99);
    record.path = Text::new("/the/last/word/is/not/zero");
    let used = entry::encode(&record, end, &mut buffer);
    for words in 0..used / 8 {
        ring.write(end, &buffer[..words * 8]);
        assert_eq!(ring.replay(0), (end, 0), "{words} words of the entry are there");
    }
    ring.write(end, &buffer[..used]);
    assert_eq!(ring.replay(0), (end + used as u64, 0));
}

#[test]
fn damage_in_the_middle_costs_only_what_it_hit() {
    let ring = ring(8192);
    let third = fill(&ring, 0, 0..2);
    let fourth = fill(&ring, third, 2..3);
    let end = fill(&ring, fourth, 3..10);
    ring.words(third).nth(3).unwrap().fetch_xor(1, Ordering::Relaxed);
    assert_eq!(numbers(&ring, 0, end), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(ring.replay(0), (end, fourth - third));
}

#[test]
fn checkpoints_take_turns_and_survive_a_torn_one() {
    let ring = ring(4096);
    assert_eq!(ring.checkpoint(), Ok(Checkpoint::default()));
    let checkpoint = |serial: u64| Checkpoint {
        serial,
        consumed: serial * 8,
        next_seq: serial as u32,
        overflow_generation: 3,
        overflow_day: 20_000,
        complete_through_us: 5,
        previous: Hash([serial as u8; 32]),
    };
    for serial in 1..6 {
        ring.write_checkpoint(checkpoint(serial)).unwrap();
        assert_eq!(ring.checkpoint(), Ok(checkpoint(serial)));
    }
    let words = ring.region.words();
    words[CHECKPOINT_STRIDE + 1].fetch_xor(1, Ordering::Relaxed);
    assert_eq!(ring.checkpoint(), Ok(checkpoint(4)), "the older one counts");
    words[1].fetch_xor(1, Ordering::Relaxed);
    assert_eq!(ring.checkpoint(), Err(Damaged));
}

#[test]
fn another_streams_checkpoint_is_not_taken() {
    let region = FaultFs::new(1).map_new(Path::new("/ring"), file_bytes(4096)).unwrap();
    let one = Ring::new(std::sync::Arc::clone(&region), stream()).unwrap();
    one.write_checkpoint(Checkpoint { serial: 1, ..Checkpoint::default() }).unwrap();
    one.write_checkpoint(Checkpoint { serial: 2, ..Checkpoint::default() }).unwrap();
    let other = Ring::new(region, Stream { epoch: 2, ..stream() }).unwrap();
    assert_eq!(other.checkpoint(), Err(Damaged));
}
