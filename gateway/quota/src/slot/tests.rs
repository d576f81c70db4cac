use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Mutex};

use super::*;

const SOON: Mono = Mono::from_nanos(1_000);

fn lease(number: u64) -> LeaseId {
    LeaseId::new(number).unwrap()
}

fn slot(units: u64) -> Slot {
    let slot = Slot::new(QuotaKey::new("plan/gold", "alice"));
    slot.open(Opening { lease: lease(7), units, deadline: SOON, window_start: 60 });
    slot
}

fn at(nanos: u64) -> Mono {
    Mono::from_nanos(nanos)
}

#[test]
fn a_spend_takes_all_or_nothing() {
    let slot = slot(10);
    assert_eq!(slot.try_spend(4, at(0)), Spend::Spent { lease: lease(7), window_start: 60, low: false });
    assert_eq!(slot.try_spend(7, at(0)), Spend::Empty { left: 6 });
    assert_eq!(slot.left(), 6);
    assert_eq!(slot.take_need(), 7);
    assert_eq!(slot.take_need(), 0);
    assert_eq!(slot.refused(), 7);
    assert_eq!(slot.try_spend(6, at(0)), Spend::Spent { lease: lease(7), window_start: 60, low: true });
    assert_eq!(slot.end(), 0);
}

#[test]
fn a_lease_stops_at_its_deadline_and_goes_on_when_it_is_extended() {
    let slot = slot(2);
    assert_eq!(slot.try_spend(1, SOON), Spend::Expired);
    slot.extend(at(2_000));
    slot.extend(at(1_500));
    assert!(matches!(slot.try_spend(1, at(1_999)), Spend::Spent { .. }));
    assert_eq!(slot.try_spend(1, at(2_000)), Spend::Expired);
}

#[test]
fn an_untouched_slot_is_empty_and_an_exhausted_one_says_so() {
    let slot = Slot::new(QuotaKey::new("plan/gold", "alice"));
    assert_eq!(slot.try_spend(1, at(5)), Spend::Empty { left: 0 });
    slot.set_exhausted_until(at(100));
    assert_eq!(slot.try_spend(1, at(99)), Spend::Exhausted);
    assert_eq!(slot.try_spend(1, at(100)), Spend::Empty { left: 0 });
}

#[test]
fn refunds_go_only_to_the_lease_that_they_came_from() {
    let slot = slot(3);
    assert!(matches!(slot.try_spend(3, at(0)), Spend::Spent { .. }));
    assert!(slot.refund(lease(7), 2));
    assert_eq!(slot.left(), 2);
    slot.open(Opening { lease: lease(8), units: 5, deadline: SOON, window_start: 60 });
    assert!(!slot.refund(lease(7), 1));
    assert_eq!(slot.end(), 5);
    assert!(!slot.refund(lease(8), 1));
}

#[test]
fn the_low_mark_is_crossed_once() {
    let slot = slot(10);
    slot.set_low(4);
    let lows: Vec<bool> = (0..10)
        .map(|_| match slot.try_spend(1, at(0)) {
            Spend::Spent { low, .. } => low,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lows.iter().filter(|low| **low).count(), 1);
    assert!(lows[6]);
    assert!(slot.is_low());
}

#[test]
fn the_standing_is_what_was_last_heard_less_what_is_spent_here() {
    let slot = slot(10);
    assert_eq!(slot.standing(at(0)), None);
    let limits = Limits { quantity: 100, pool: 80, window_start: Timestamp::UNIX_EPOCH, ends_in_ms: 5_000 };
    slot.set_limits(&limits, at(0));
    assert!(matches!(slot.try_spend(3, at(0)), Spend::Spent { .. }));
    let standing = slot.standing(at(1_000_000_000)).unwrap();
    let reset = Duration::from_secs(4);
    assert_eq!(standing, Standing { limit: 100, remaining: 87, certain: 7, reset });
}

/// Q2 under contention: whatever leases come and go, each lease's final count is exactly what workers took from it.
#[test]
fn concurrent_spends_are_counted_to_the_unit() {
    let slot = slot(0);
    let taken = Mutex::new(BTreeMap::<u64, i64>::new());
    let mut closed = BTreeMap::<u64, i64>::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (slot, taken, stop) = (&slot, &taken, &stop);
                scope.spawn(move || {
                    let mut mine = BTreeMap::<u64, i64>::new();
                    let mut round = worker;
                    while !stop.load(Relaxed) {
                        round += 1;
                        let units = round % 3 + 1;
                        if let Spend::Spent { lease, .. } = slot.try_spend(units, at(0)) {
                            let back = round % 7 == 0 && slot.refund(lease, units);
                            *mine.entry(lease.get()).or_default() += if back { 0 } else { units as i64 };
                        }
                    }
                    let mut taken = taken.lock().unwrap();
                    for (lease, units) in mine {
                        *taken.entry(lease).or_default() += units;
                    }
                })
            })
            .collect();
        let mut granted = 0_u64;
        for number in 1..3_000_u64 {
            slot.open(Opening { lease: lease(number), units: number % 50, deadline: SOON, window_start: 0 });
            granted = number % 50;
            if number % 2 == 0 {
                slot.top_up(5);
                granted += 5;
            }
            let back = if number % 3 == 0 { slot.take_back() } else { 0 };
            let left = slot.end();
            closed.insert(number, (granted - back - left) as i64);
        }
        assert!(granted > 0);
        stop.store(true, Relaxed);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let taken = taken.into_inner().unwrap();
    for (number, units) in closed {
        assert_eq!(taken.get(&number).copied().unwrap_or(0), units, "lease {number}");
    }
}
