use jiff::Timestamp;

use super::*;
use crate::{
    limit::LeaseId,
    message::{Count, Denial, Limits},
    slot::Spend,
};

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

fn lease(number: u64) -> LeaseId {
    LeaseId::new(number).unwrap()
}

fn key() -> QuotaKey {
    QuotaKey::new("plan/gold", "alice")
}

fn limits() -> Limits {
    Limits { quantity: 100, pool: 50, window_start: Timestamp::UNIX_EPOCH, ends_in_ms: 60_000 }
}

fn grant(number: u64, granted: u64) -> Answer {
    Answer::Grant { key: key(), lease: lease(number), granted, ttl_ms: 10_000, limits: limits() }
}

fn reply(sent: Mono, answers: Vec<Answer>) -> Reply {
    Reply { version: VERSION, gateway: "g".into(), epoch: 1, sent, answers }
}

/// A registered holder with one slot.
fn holder() -> (Holder, Arc<Slot>) {
    let mut holder = Holder::new(HolderConfig::new("g", 1), at(0));
    assert_eq!(holder.poll(at(0)).unwrap().asks, []);
    holder.apply(&reply(at(0), vec![]), at(1));
    let slot = holder.slot(&key());
    (holder, slot)
}

/// One that holds lease 5 with `units`, granted at 10 ms.
fn holding(units: u64) -> (Holder, Arc<Slot>) {
    let (mut holder, slot) = holder();
    assert_eq!(slot.try_spend(1, at(10)), Spend::Empty { left: 0 });
    holder.nudge(&slot);
    let batch = holder.poll(at(10)).unwrap();
    assert!(matches!(batch.asks.as_slice(), [Ask::Acquire { lease: None, need: 1, .. }]));
    assert_eq!(holder.apply(&reply(at(10), vec![grant(5, units)]), at(12)).changed.len(), 1);
    (holder, slot)
}

fn spend(slot: &Slot, units: u64, now: Mono) {
    assert!(matches!(slot.try_spend(units, now), Spend::Spent { .. }));
}

#[test]
fn registers_until_it_is_heard() {
    let mut holder = Holder::new(HolderConfig::new("g", 1), at(0));
    assert!(holder.poll(at(0)).is_some());
    holder.failed(at(0), at(1));
    assert!(holder.poll(at(2)).is_none());
    assert_eq!(holder.next_poll(), at(51));
    assert!(holder.poll(at(51)).is_some());
}

#[test]
fn the_deadline_counts_from_the_sending() {
    let (_, slot) = holding(5);
    // 10 s less 0.1 % after 10 ms, although the reply came later.
    spend(&slot, 1, at(9_999));
    assert_eq!(slot.try_spend(1, at(10_001)), Spend::Expired);
}

#[test]
fn the_largest_spend_that_waits_is_asked_for() {
    let (mut holder, slot) = holder();
    for units in [3, 9, 2] {
        assert!(matches!(slot.try_spend(units, at(10)), Spend::Empty { .. }));
    }
    holder.nudge(&slot);
    let asks = holder.poll(at(10)).unwrap().asks;
    assert!(matches!(asks.as_slice(), [Ask::Acquire { need: 9, .. }]), "{asks:?}");
    // Nothing more while the answer is awaited; again when it does not come.
    holder.nudge(&slot);
    assert!(holder.poll(at(20)).is_none());
    assert_eq!(holder.next_poll(), at(250));
    assert!(holder.poll(at(250)).is_none());
    assert!(matches!(holder.poll(at(510)).unwrap().asks.as_slice(), [Ask::Acquire { need: 9, .. }]));
}

#[test]
fn a_want_brings_units_and_takes_none() {
    let (mut holder, slot) = holder();
    slot.want(3);
    holder.nudge(&slot);
    assert!(matches!(holder.poll(at(10)).unwrap().asks.as_slice(), [Ask::Acquire { need: 3, .. }]));
    holder.apply(&reply(at(10), vec![grant(5, 8)]), at(11));
    // Where there is enough, nothing is asked.
    slot.want(3);
    holder.nudge(&slot);
    assert_eq!(holder.poll(at(20)), None);
    assert_eq!(slot.left(), 8);
}

#[test]
fn reports_and_renews() {
    let (mut holder, slot) = holding(20);
    spend(&slot, 2, at(20));
    let asks = holder.poll(at(300)).unwrap().asks;
    let count = Count { granted: 20, returned: 0, spent: 2 };
    assert_eq!(asks, [Ask::Report { lease: lease(5), count }]);
    assert_eq!(holder.poll(at(600)), None);
    // Without use, a third of the time to live later.
    assert!(matches!(holder.poll(at(4_000)).unwrap().asks.as_slice(), [Ask::Report { .. }]));
}

#[test]
fn a_third_of_a_lease_is_refilled_however_often_it_was_renewed_meanwhile() {
    let (mut holder, slot) = holding(300);
    for round in 1..=9 {
        spend(&slot, 11, at(250 * round));
        let asks = holder.poll(at(250 * round)).unwrap().asks;
        assert!(matches!(asks.as_slice(), [Ask::Report { .. }]), "{asks:?}");
        holder.apply(&reply(at(250 * round), vec![grant(5, 300)]), at(250 * round + 1));
    }
    spend(&slot, 2, at(2500));
    let asks = holder.poll(at(2500)).unwrap().asks;
    assert!(matches!(asks.as_slice(), [Ask::Acquire { need: 1, .. }]), "{asks:?}");
    // There is nothing to be had: what is here is spent before anybody is refused.
    let limits = Some(limits());
    let denied = Answer::Denied { key: key(), reason: Denial::Exhausted, retry_after_ms: 100, limits };
    holder.apply(&reply(at(2500), vec![denied]), at(2501));
    spend(&slot, 199, at(2502));
    assert_eq!(slot.try_spend(1, at(2503)), Spend::Empty { left: 0 });
}

#[test]
fn a_repeated_or_late_grant_adds_nothing() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 4, at(20));
    holder.apply(&reply(at(10), vec![grant(5, 10), grant(5, 8)]), at(30));
    assert_eq!(slot.left(), 6);
    holder.apply(&reply(at(20), vec![grant(5, 15)]), at(31));
    assert_eq!(slot.left(), 11);
}

#[test]
fn replies_to_another_life_are_ignored() {
    let (mut holder, slot) = holder();
    let mut other = reply(at(0), vec![grant(5, 10)]);
    other.epoch = 2;
    assert!(holder.apply(&other, at(1)).changed.is_empty());
    assert_eq!(slot.left(), 0);
}

#[test]
fn a_recall_gives_back_what_is_left_and_keeps_the_lease() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 4, at(20));
    holder.apply(&reply(at(10), vec![Answer::Recall { lease: lease(5) }]), at(30));
    let count = Count { granted: 10, returned: 6, spent: 4 };
    let asks = holder.poll(at(30)).unwrap().asks;
    assert!(matches!(asks.as_slice(), [Ask::Acquire { lease: Some((_, c)), .. }] if *c == count), "{asks:?}");
    holder.apply(&reply(at(30), vec![grant(5, 13)]), at(31));
    assert_eq!(slot.left(), 3);
}

#[test]
fn an_expired_lease_is_returned_until_it_is_settled() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 4, at(20));
    assert_eq!(slot.try_spend(1, at(11_000)), Spend::Expired);
    holder.nudge(&slot);
    let asks = holder.poll(at(11_000)).unwrap().asks;
    let returned = |recorded| Ask::Return { lease: lease(5), spent: 4, recorded };
    assert_eq!(asks[0], returned(false));
    assert!(matches!(asks[1], Ask::Acquire { lease: None, .. }));
    // Repeated until acknowledged, then silent, then final when all is recorded.
    assert!(holder.poll(at(11_300)).unwrap().asks.contains(&returned(false)));
    let acknowledged = |settled| Answer::Returned { lease: lease(5), settled };
    holder.apply(&reply(at(11_300), vec![acknowledged(false), grant(9, 5)]), at(11_310));
    let silent = holder.poll(at(11_600));
    assert!(silent.is_none_or(|batch| !batch.asks.contains(&returned(false))));
    holder.recorded_through(at(11_700));
    assert!(holder.poll(at(11_900)).unwrap().asks.contains(&returned(true)));
    holder.apply(&reply(at(11_900), vec![acknowledged(true)]), at(11_910));
    holder.close(at(12_000));
    assert!(!holder.is_drained());
}

#[test]
fn a_closed_lease_never_comes_back() {
    let (mut holder, slot) = holding(10);
    let ended = Answer::Ended { lease: lease(5) };
    holder.apply(&reply(at(20), vec![ended]), at(30));
    holder.apply(&reply(at(20), vec![Answer::Returned { lease: lease(5), settled: true }]), at(40));
    holder.apply(&reply(at(20), vec![grant(5, 50)]), at(50));
    assert_eq!(slot.left(), 0);
    // A lease of which it never heard is returned unspent, and refused from then on.
    holder.apply(&reply(at(20), vec![Answer::Ended { lease: lease(8) }]), at(60));
    holder.apply(&reply(at(20), vec![grant(8, 50)]), at(61));
    assert_eq!(slot.left(), 0);
    let asks = holder.poll(at(300)).unwrap().asks;
    assert!(asks.contains(&Ask::Return { lease: lease(8), spent: 0, recorded: true }), "{asks:?}");
}

#[test]
fn a_lease_that_the_authority_no_longer_has_is_dropped() {
    let (mut holder, slot) = holding(10);
    holder.apply(&reply(at(20), vec![Answer::Gone { lease: lease(5) }]), at(21));
    assert_eq!(slot.try_spend(1, at(22)), Spend::Empty { left: 0 });
    holder.nudge(&slot);
    let asks = holder.poll(at(600)).unwrap().asks;
    assert!(matches!(asks.as_slice(), [Ask::Acquire { lease: None, .. }]), "{asks:?}");
}

#[test]
fn a_denial_is_asked_about_again_only_with_demand() {
    let (mut holder, slot) = holder();
    assert!(matches!(slot.try_spend(1, at(10)), Spend::Empty { .. }));
    holder.nudge(&slot);
    holder.poll(at(10)).unwrap();
    let (reason, limits) = (Denial::Exhausted, Some(limits()));
    let denied = Answer::Denied { key: key(), reason, retry_after_ms: 100, limits };
    assert_eq!(holder.apply(&reply(at(10), vec![denied]), at(12)).changed.len(), 1);
    assert_eq!(holder.poll(at(260)), None);
    assert_eq!(slot.try_spend(1, at(300)), Spend::Exhausted);
    holder.nudge(&slot);
    assert!(matches!(holder.poll(at(300)).unwrap().asks.as_slice(), [Ask::Acquire { .. }]));
    holder.apply(&reply(at(300), vec![grant(6, 1)]), at(301));
    spend(&slot, 1, at(302));
}

#[test]
fn an_idle_lease_goes_back() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 1, at(20));
    let mut returned = false;
    for tick in 1..200 {
        let now = at(tick * 300);
        if let Some(batch) = holder.poll(now) {
            returned |= batch.asks.contains(&Ask::Return { lease: lease(5), spent: 1, recorded: false });
            holder.apply(&reply(now, vec![grant(5, 10)]), now);
        }
    }
    assert!(returned);
    assert_eq!(slot.left(), 0);
}

#[test]
fn a_fence_stops_everything() {
    let (mut holder, slot) = holding(10);
    holder.apply(&reply(at(20), vec![Answer::Fenced { epoch: 2 }]), at(21));
    assert_eq!(holder.fenced(), Some(2));
    assert_eq!(slot.try_spend(1, at(22)), Spend::Empty { left: 0 });
    assert_eq!(holder.poll(at(1_000)), None);
}

#[test]
fn closing_returns_everything() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 3, at(20));
    holder.close(at(30));
    assert_eq!(slot.left(), 0);
    assert!(!holder.is_drained());
    assert_eq!(
        holder.poll(at(30)).unwrap().asks,
        [Ask::Return { lease: lease(5), spent: 3, recorded: false }]
    );
    holder.apply(&reply(at(30), vec![Answer::Returned { lease: lease(5), settled: false }]), at(31));
    assert!(holder.is_drained());
}

#[test]
fn a_key_that_nobody_uses_is_forgotten_and_its_leases_stay_closed() {
    let (mut holder, slot) = holding(10);
    spend(&slot, 4, at(20));
    holder.apply(&reply(at(20), vec![Answer::Ended { lease: lease(5) }]), at(30));
    let _ = holder.poll(at(30));
    holder.apply(&reply(at(30), vec![Answer::Returned { lease: lease(5), settled: true }]), at(40));
    let mut now = 40;
    let mut rounds = |holder: &mut Holder| {
        for _ in 0..20 {
            now += 300;
            let _ = holder.poll(at(now));
        }
        at(now)
    };
    rounds(&mut holder);
    assert_eq!(holder.keys(), 1, "somebody still holds the slot");
    drop(slot);
    let now = rounds(&mut holder);
    assert_eq!(holder.keys(), 0);
    // It comes back, and a grant of the closed lease arrives late: nothing may be spent from that.
    let slot = holder.slot(&key());
    slot.want(1);
    holder.nudge(&slot);
    holder.poll(now).unwrap();
    holder.apply(&reply(at(10), vec![grant(5, 50)]), now);
    assert_eq!(slot.left(), 0);
    holder.apply(&reply(now, vec![grant(6, 7)]), now);
    assert_eq!(slot.left(), 7);
}

#[test]
fn memory_follows_the_subjects_in_use() {
    let (mut holder, _slot) = holder();
    for round in 0..50_u64 {
        for subject in 0..1_000 {
            let slot = holder.slot(&QuotaKey::new("plan/gold", format!("{round}/{subject}")));
            slot.want(1);
            holder.nudge(&slot);
        }
        for step in 1..20 {
            let now = at(round * 20_000 + step * 1_000);
            while let Some(batch) = holder.poll(now) {
                assert!(batch.check().is_ok());
                if holder.next_poll() > now {
                    break;
                }
            }
        }
    }
    assert!(holder.keys() < 3_000, "{}", holder.keys());
}
