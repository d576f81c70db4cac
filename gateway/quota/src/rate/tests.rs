use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rate(units: u64, burst: u64) -> Rate {
    Rate::new(units, SECOND, burst).unwrap()
}

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

fn allowed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Allowed { .. })
}

#[test]
fn a_bucket_empties_and_fills() {
    let (bucket, rate) = (Bucket::new(), rate(10, 3));
    let first = Verdict::Allowed { remaining: 2, reset: Duration::from_millis(100) };
    assert_eq!(bucket.take(&rate, 1, at(0)), first);
    assert!(allowed(bucket.take(&rate, 2, at(0))));
    let none = Verdict::Limited { remaining: 0, retry_after: Duration::from_millis(100) };
    assert_eq!(bucket.take(&rate, 1, at(0)), none);
    assert!(!allowed(bucket.take(&rate, 1, at(99))));
    assert!(allowed(bucket.take(&rate, 1, at(100))));
    assert!(allowed(bucket.take(&rate, 3, at(10_000))));
}

#[test]
fn more_than_the_burst_never_passes() {
    let none = Verdict::Limited { remaining: 3, retry_after: Duration::MAX };
    assert_eq!(Bucket::new().take(&rate(10, 3), 4, at(0)), none);
    assert_eq!(Bucket::new().take(&rate(10, 3), u64::MAX, at(0)), none);
}

#[test]
fn a_smaller_rate_takes_effect_at_once_and_clips_what_is_saved() {
    let bucket = Bucket::new();
    assert!(allowed(bucket.take(&rate(10, 100), 1, at(0))));
    assert!(!allowed(bucket.take(&rate(10, 5), 6, at(0))));
    assert!(allowed(bucket.take(&rate(10, 5), 4, at(0))));
}

#[test]
fn rates_that_let_nothing_pass_are_refused() {
    assert_eq!(Rate::new(0, SECOND, 1), Err(RateError::Zero));
    assert_eq!(Rate::new(1, Duration::ZERO, 1), Err(RateError::Zero));
    assert_eq!(Rate::new(1, Duration::from_hours(24), 400), Err(RateError::Slow { burst: 400 }));
    assert!(Rate::new(u64::MAX, SECOND, 1).is_ok());
    assert!(Rate::new(1, Duration::MAX, 1).is_err());
}

#[test]
fn workers_share_a_bucket_without_losing_or_doubling() {
    let (bucket, rate) = (Bucket::new(), rate(1, 1_000));
    let count = || (0..1_000).filter(|_| allowed(bucket.take(&rate, 1, at(0)))).count();
    let total: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(count)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(total, 1_000);
}

proptest! {
    /// No interval of length t admits more than burst + units · t, whatever is asked when.
    #[test]
    fn admits_at_most_its_arrival_curve(
        units in 1_u64..2_000, burst in 1_u64..100,
        asks in prop::collection::vec((0_u64..300_000_000, 1_u64..20), 1..60),
    ) {
        let (bucket, rate) = (Bucket::new(), rate(units, burst));
        let mut now = 1_000_000_000_000_u64;
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (pause, n) in asks {
            now += pause;
            if allowed(bucket.take(&rate, n, Mono::from_nanos(now))) {
                passed.push((now, n));
            }
        }
        for from in 0..passed.len() {
            let mut sum = 0;
            for (time, n) in &passed[from..] {
                sum += n;
                let span = time - passed[from].0;
                let most = u128::from(burst) * 1_000_000_000 + u128::from(units) * u128::from(span);
                prop_assert!(u128::from(sum) * 1_000_000_000 <= most);
            }
        }
    }

    /// What is refused passes after exactly the time that was named, and not before.
    #[test]
    fn retry_after_is_exact(units in 1_u64..2_000, burst in 1_u64..50, n in 1_u64..50) {
        let (bucket, rate) = (Bucket::new(), rate(units, burst));
        prop_assume!(n <= burst);
        prop_assert!(allowed(bucket.take(&rate, burst, at(5))));
        let Verdict::Limited { retry_after, .. } = bucket.take(&rate, n, at(5)) else { panic!("it is empty") };
        let early = Mono::from_nanos(at(5).as_nanos() + retry_after.as_nanos() as u64 - 1);
        prop_assert!(!allowed(bucket.take(&rate, n, early)));
        prop_assert!(allowed(bucket.take(&rate, n, at(5).plus(retry_after))));
    }

    /// Shares of a rate never add up to more than the rate.
    #[test]
    fn shares_add_up(units in 1_u64..10_000, burst in 1_u64..1_000, weights in prop::collection::vec(0_u32..9, 0..12)) {
        let whole = rate(units, burst);
        let shares = whole.split(&weights);
        prop_assert_eq!(shares.len(), weights.len());
        let sum = |of: fn(&Rate) -> u64| shares.iter().flatten().map(of).sum::<u64>();
        prop_assert!(sum(Rate::units) <= units && sum(Rate::burst) <= burst);
        prop_assert_eq!(super::shares(units, &weights).iter().sum::<u64>() == units, weights.iter().any(|w| *w > 0));
    }
}
