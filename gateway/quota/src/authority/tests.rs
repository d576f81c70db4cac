use std::collections::BTreeMap;

use super::*;
use crate::{
    limit::{Mode, Unit},
    message::{Ask, Batch, Count, Denial, VERSION},
    window::{Period, WindowSpec},
};

/// An authority with one limit, its store, and both clocks.
struct Bench {
    authority: Authority,
    limit: Limit,
    rows: BTreeMap<String, Row>,
    crossings: Vec<Crossing>,
    millis: u64,
}

const START: i64 = 1_790_000_040;

impl Bench {
    fn new(quantity: u64) -> Self {
        let limit = Limit {
            id: "plan/gold".into(),
            unit: Unit::Requests,
            quantity,
            window: WindowSpec::calendar(Period::Minute, "UTC").unwrap(),
            mode: Mode::Hard,
            thresholds: vec![50, 100],
        };
        let authority = Authority::restore(AuthorityConfig::default(), [], now(0));
        let (rows, crossings) = (BTreeMap::new(), Vec::new());
        let mut bench = Self { authority, limit, rows, crossings, millis: 0 };
        bench.set_limit(|_| {});
        bench
    }

    fn commit(&mut self, step: Step) -> Vec<Answer> {
        for change in step.changes {
            match change {
                Change::Put(row) => self.rows.insert(row.id(), row),
                Change::Drop(id) => self.rows.remove(&id),
            };
        }
        self.crossings.extend(step.crossings);
        assert_eq!(step.discrepancies, []);
        step.reply.map_or(Vec::new(), |reply| reply.answers)
    }

    fn set_limit(&mut self, change: impl FnOnce(&mut Limit)) {
        change(&mut self.limit);
        let step = self.authority.set_limits([self.limit.clone()], now(self.millis));
        self.commit(step);
    }

    fn ask(&mut self, gateway: &str, epoch: u32, asks: Vec<Ask>) -> Vec<Answer> {
        let batch = Batch { version: VERSION, gateway: gateway.into(), epoch, sent: Mono::ZERO, asks };
        batch.check().unwrap();
        let step = self.authority.handle(&batch, now(self.millis));
        self.commit(step)
    }

    /// The lease and everything granted on it.
    fn acquire(
        &mut self,
        gateway: &str,
        held: Option<(LeaseId, Count)>,
        need: u64,
    ) -> Option<(LeaseId, u64)> {
        let answers = self.ask(gateway, 1, vec![acquire(held, need)]);
        answers.iter().find_map(|answer| match answer {
            Answer::Grant { lease, granted, .. } => Some((*lease, *granted)),
            _ => None,
        })
    }

    fn restart(&mut self) {
        let rows: Vec<Row> = self.rows.values().cloned().collect();
        self.authority = Authority::restore(AuthorityConfig::default(), rows, now(self.millis));
        self.set_limit(|_| {});
    }

    fn settle(&mut self, gateway: &str, proof: Proof, units: Vec<(LeaseId, u64)>) {
        let (gateway, observed) = (gateway.into(), now(self.millis).mono);
        let facts = Settlement { gateway, epoch: 1, observed, proof, units };
        let step = self.authority.settle(&facts, now(self.millis));
        self.commit(step);
    }

    fn view(&self) -> AccountView {
        self.authority.accounts().next().unwrap()
    }

    fn fired(&self) -> Vec<(u64, u8)> {
        self.crossings.iter().map(|crossing| (crossing.version, crossing.threshold)).collect()
    }
}

fn now(millis: u64) -> Now {
    let wall = Timestamp::from_millisecond(START * 1000 + millis as i64).unwrap();
    Now { mono: Mono::from_nanos(millis * 1_000_000), wall }
}

fn acquire(lease: Option<(LeaseId, Count)>, need: u64) -> Ask {
    Ask::Acquire { key: QuotaKey::new("plan/gold", "alice"), lease, need, rate: 0.0 }
}

fn spent(granted: u64, spent: u64) -> Count {
    Count { granted, returned: 0, spent }
}

#[test]
fn leases_and_use_never_exceed_the_limit() {
    let mut bench = Bench::new(10);
    let (first, units) = bench.acquire("a", None, 4).unwrap();
    assert_eq!(units, 5, "half of the limit is a threshold");
    let (_, more) = bench.acquire("b", None, 5).unwrap();
    assert_eq!(more, 5);
    assert_eq!(bench.acquire("c", None, 1), None);
    assert_eq!(bench.view().leased, 10);
    bench.ask("a", 1, vec![Ask::Return { lease: first, spent: 2, recorded: true }]);
    assert_eq!((bench.view().settled, bench.view().remaining), (2, 3));
    assert_eq!(bench.acquire("c", None, 3).unwrap().1, 3);
}

#[test]
fn a_repeated_ask_gets_the_same_lease_and_no_more() {
    let mut bench = Bench::new(100);
    let first = bench.acquire("a", None, 1).unwrap();
    let again = bench.acquire("a", None, 1).unwrap();
    assert_eq!(first, again);
    let held = Some((first.0, spent(first.1, first.1)));
    let more = bench.acquire("a", held, 1).unwrap();
    assert!(more.0 == first.0 && more.1 > first.1);
    assert_eq!(bench.acquire("a", held, 1).unwrap(), more);
}

#[test]
fn a_denied_gateway_makes_others_give_back() {
    let mut bench = Bench::new(10);
    let (lease, units) = bench.acquire("a", None, 10).unwrap();
    assert_eq!(units, 10);
    let denied = bench.ask("b", 1, vec![acquire(None, 1)]);
    let [Answer::Denied { reason: Denial::Exhausted, limits: Some(limits), .. }] = denied.as_slice() else {
        panic!("{denied:?}");
    };
    assert_eq!((limits.quantity, limits.pool), (10, 0));
    let answers = bench.ask("a", 1, vec![Ask::Report { lease, count: spent(10, 4) }]);
    assert!(answers.contains(&Answer::Recall { lease }));
    let count = Count { granted: 10, returned: 6, spent: 4 };
    let answers = bench.ask("a", 1, vec![Ask::Report { lease, count }]);
    assert!(!answers.contains(&Answer::Recall { lease }));
    assert!(bench.acquire("b", None, 6).is_some());
}

#[test]
fn nobody_gives_back_for_one_that_has_enough() {
    let mut bench = Bench::new(20);
    let (a, _) = bench.acquire("a", None, 10).unwrap();
    let (b, units) = bench.acquire("b", None, 10).unwrap();
    assert_eq!(units, 10);
    let recalled = |bench: &mut Bench, need: u64, spent_there: u64| {
        let denied = bench.ask("b", 1, vec![acquire(Some((b, spent(10, spent_there))), need)]);
        assert!(matches!(denied.as_slice(), [Answer::Denied { .. }]), "{denied:?}");
        let answers = bench.ask("a", 1, vec![Ask::Report { lease: a, count: spent(10, 4) }]);
        answers.contains(&Answer::Recall { lease: a })
    };
    assert!(!recalled(&mut bench, 1, 5));
    assert!(recalled(&mut bench, 6, 5));
}

#[test]
fn a_newer_life_fences_the_older_one() {
    let mut bench = Bench::new(10);
    bench.acquire("a", None, 1).unwrap();
    bench.ask("a", 2, vec![]);
    assert_eq!(bench.ask("a", 1, vec![acquire(None, 1)]), [Answer::Fenced { epoch: 2 }]);
    bench.restart();
    assert_eq!(bench.ask("a", 1, vec![acquire(None, 1)]), [Answer::Fenced { epoch: 2 }]);
}

#[test]
fn an_orphan_stays_charged_until_its_records_settle_it() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 10).unwrap();
    bench.millis = 5_000;
    assert_eq!(bench.authority.orphans(now(bench.millis)), []);
    bench.ask("a", 2, vec![]);
    let orphans = bench.authority.orphans(now(bench.millis));
    assert_eq!((orphans[0].epoch, orphans[0].leases, orphans[0].superseded), (1, 1, true));
    // Before the lease's time is over, completeness alone proves nothing.
    bench.settle("a", Proof::Complete, vec![(lease, 3)]);
    assert_eq!(bench.view().remaining, 0);
    bench.millis = 30_100;
    bench.settle("a", Proof::Complete, vec![(lease, 3)]);
    assert_eq!((bench.view().settled, bench.view().remaining), (3, 7));
    // Once more changes nothing.
    bench.settle("a", Proof::Complete, vec![(lease, 3)]);
    assert_eq!(bench.view().settled, 3);
}

#[test]
fn a_dead_process_settles_at_once_and_a_lost_spool_stays_charged() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 4).unwrap();
    bench.acquire("b", None, 5).unwrap();
    bench.settle("a", Proof::Dead, vec![(lease, 1), (lease, 1)]);
    assert_eq!(bench.view().settled, 2);
    bench.settle("b", Proof::Lost, vec![]);
    let view = bench.view();
    assert_eq!((view.settled, view.unaccounted, view.remaining, view.used), (2, 5, 3, 2));
}

#[test]
fn what_was_returned_but_not_recorded_settles_from_the_records() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 10).unwrap();
    let answers = bench.ask("a", 1, vec![Ask::Return { lease, spent: 6, recorded: false }]);
    assert_eq!(answers, [Answer::Returned { lease, settled: false }]);
    assert_eq!((bench.view().remaining, bench.view().settled), (4, 0));
    bench.restart();
    assert_eq!(bench.view().remaining, 4);
    // Two of the six were in flight when the process died.
    bench.settle("a", Proof::Dead, vec![(lease, 4)]);
    assert_eq!((bench.view().remaining, bench.view().settled), (6, 4));
}

#[test]
fn thresholds_fire_once_even_after_a_restart() {
    let mut bench = Bench::new(10);
    let (lease, granted) = bench.acquire("a", None, 1).unwrap();
    bench.ask("a", 1, vec![Ask::Report { lease, count: spent(granted, 4) }]);
    assert_eq!(bench.fired(), []);
    bench.ask("a", 1, vec![Ask::Report { lease, count: spent(granted, 5) }]);
    assert_eq!(bench.fired(), [(1, 50)]);
    bench.restart();
    bench.ask("a", 1, vec![Ask::Return { lease, spent: 5, recorded: true }]);
    assert_eq!(bench.fired(), [(1, 50)]);
    assert_eq!(bench.crossings[0].used, 5);
}

#[test]
fn a_changed_quantity_is_a_new_version_and_a_raise_works_at_once() {
    let mut bench = Bench::new(4);
    let (lease, granted) = bench.acquire("a", None, 4).unwrap();
    assert_eq!(granted, 4);
    bench.ask("a", 1, vec![Ask::Report { lease, count: spent(4, 4) }]);
    assert_eq!(bench.fired(), [(1, 50), (1, 100)]);
    bench.set_limit(|limit| limit.quantity = 8);
    assert_eq!(bench.fired(), [(1, 50), (1, 100), (2, 50)]);
    let more = bench.acquire("a", Some((lease, spent(4, 4))), 1).unwrap();
    assert_eq!(more.0, lease);
    // New thresholds alone are no new version: what fired stays fired.
    bench.set_limit(|limit| limit.thresholds = vec![25, 50, 100]);
    assert_eq!(bench.fired(), [(1, 50), (1, 100), (2, 50), (2, 25)]);
}

#[test]
fn a_lowered_limit_recalls_what_is_out() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 10).unwrap();
    bench.set_limit(|limit| limit.quantity = 5);
    let answers = bench.ask("a", 1, vec![]);
    assert_eq!(answers, [Answer::Recall { lease }]);
    bench.ask("a", 1, vec![Ask::Report { lease, count: Count { granted: 10, returned: 8, spent: 2 } }]);
    assert_eq!(bench.view().remaining, 3);
}

#[test]
fn a_lease_belongs_to_its_window() {
    let mut bench = Bench::new(10);
    bench.millis = 58_000;
    let answers = bench.ask("a", 1, vec![acquire(None, 1)]);
    let [Answer::Grant { lease, granted, ttl_ms, limits, .. }] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    let (lease, granted) = (*lease, *granted);
    assert_eq!((*ttl_ms, limits.ends_in_ms, limits.window_start.as_second()), (2_020, 2_000, START));
    bench.millis = 60_100;
    let held = Some((lease, spent(granted, 1)));
    assert_eq!(bench.ask("a", 1, vec![acquire(held, 1)])[0], Answer::Ended { lease });
    bench.ask("a", 1, vec![Ask::Return { lease, spent: 1, recorded: true }]);
    let (next, _) = bench.acquire("a", None, 10).unwrap();
    assert!(next > lease);
    let views: Vec<_> = bench.authority.accounts().map(|view| (view.settled, view.leased)).collect();
    assert_eq!(views, [(1, 0), (0, 10)]);
}

#[test]
fn a_forgotten_window_is_never_opened_again() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 5).unwrap();
    bench.ask("a", 1, vec![Ask::Return { lease, spent: 5, recorded: true }]);
    for millis in [61_000, 3_700_000] {
        let step = bench.authority.tick(now(millis));
        bench.commit(step);
    }
    assert_eq!(bench.authority.accounts().count(), 0);
    bench.restart();
    // The clock is set back into the window.
    let answers = bench.ask("a", 1, vec![acquire(None, 1)]);
    assert!(
        matches!(answers.as_slice(), [Answer::Denied { reason: Denial::ClockBehind, .. }]),
        "{answers:?}"
    );
}

#[test]
fn a_wall_clock_that_jumps_ahead_forgets_nothing() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 5).unwrap();
    bench.ask("a", 1, vec![Ask::Return { lease, spent: 5, recorded: true }]);
    let ahead = Now { mono: now(1_000).mono, wall: now(90_000_000).wall };
    let step = bench.authority.tick(ahead);
    bench.commit(step);
    assert_eq!(bench.acquire("a", None, 6), None);
    assert_eq!(bench.acquire("a", None, 5).unwrap().1, 5);
}

#[test]
fn the_authority_is_what_its_store_says() {
    let mut bench = Bench::new(100);
    let (lease, granted) = bench.acquire("a", None, 1).unwrap();
    bench.ask("a", 1, vec![Ask::Report { lease, count: Count { granted, returned: 2, spent: 3 } }]);
    let before = bench.view();
    bench.restart();
    assert_eq!(bench.view(), before);
    // Numbers of leases go on.
    let (next, _) = bench.acquire("b", None, 1).unwrap();
    assert!(next > lease);
}

#[test]
fn soft_limits_end_at_the_overdraft_and_observed_ones_never() {
    let mut bench = Bench::new(4);
    bench.set_limit(|limit| limit.mode = Mode::Soft { overdraft: 2 });
    assert_eq!(bench.acquire("a", None, 6).unwrap().1, 6);
    assert_eq!(bench.acquire("b", None, 1), None);
    bench.set_limit(|limit| limit.mode = Mode::Observe);
    assert_eq!(bench.acquire("b", None, 1_000_000).unwrap().1, 1_000_000);
}

#[test]
fn an_unknown_limit_and_a_lost_store_deny() {
    let mut bench = Bench::new(4);
    let key = QuotaKey::new("plan/none", "alice");
    let answers = bench.ask("a", 1, vec![Ask::Acquire { key, lease: None, need: 1, rate: 0.0 }]);
    assert!(matches!(answers.as_slice(), [Answer::Denied { reason: Denial::UnknownLimit, .. }]));
    bench.authority.start_learning();
    assert_eq!(bench.acquire("a", None, 1), None);
    let window = bench.limit.window.at(now(0).wall);
    let used = [(QuotaKey::new("plan/gold", "alice"), window, 3)];
    let step = bench.authority.finish_learning(used, now(20_000));
    bench.commit(step);
    assert_eq!(bench.view().settled, 3);
    assert_eq!(bench.acquire("a", None, 2), None);
    assert_eq!(bench.acquire("a", None, 1).unwrap().1, 1);
}

#[test]
fn an_expired_lease_that_its_holder_lost_is_asked_for() {
    let mut bench = Bench::new(10);
    let (lease, _) = bench.acquire("a", None, 10).unwrap();
    bench.millis = 29_000;
    assert_eq!(bench.ask("a", 1, vec![]), []);
    bench.millis = 30_500;
    assert_eq!(bench.ask("a", 1, vec![]), [Answer::Ended { lease }]);
}

#[test]
fn hostile_batches_are_refused() {
    let batch = |version, asks| Batch { version, gateway: "g".into(), epoch: 1, sent: Mono::ZERO, asks };
    assert!(batch(VERSION + 1, vec![]).check().unwrap_err().to_string().contains("version"));
    let lease = LeaseId::new(1).unwrap();
    let count = Count { granted: 1, returned: u64::MAX, spent: u64::MAX };
    assert!(batch(VERSION, vec![Ask::Report { lease, count }]).check().is_err());
    let key = QuotaKey::new("x".repeat(5_000), "alice");
    assert!(batch(VERSION, vec![Ask::Acquire { key, lease: None, need: 1, rate: 0.0 }]).check().is_err());
    let key = QuotaKey::new("l", "s");
    assert!(
        batch(VERSION, vec![Ask::Acquire { key, lease: None, need: 1, rate: f64::NAN }]).check().is_err()
    );
    assert!(batch(VERSION, vec![Ask::Report { lease, count: spent(1, 0) }; 10_001]).check().is_err());
}
