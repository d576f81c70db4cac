//! A seeded simulation: gateways and an authority in a world that loses, repeats and delays messages, crashes
//! either side, drifts and sets clocks, changes limits and lets windows pass. After every step the invariants Q1–Q10
//! of the design hold, or the run names its seed.
//!
//! Replay one run: `TURNPIKE_SIM_SEED=17 cargo test -p gateway-quota simulation`. More runs: `TURNPIKE_SIM_RUNS`.

mod checks;
mod events;
mod machines;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Sabotage, World};

const RUNS: u64 = 2_000;

fn runs() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TURNPIKE_SIM_SEED") {
        return seed..seed + 1;
    }
    0..number("TURNPIKE_SIM_RUNS").unwrap_or(RUNS)
}

#[test]
fn no_fault_breaks_an_invariant() {
    let mut spent = 0;
    let mut seen = std::collections::BTreeMap::new();
    for seed in runs() {
        match World::new(seed, Sabotage::None).run() {
            Ok(report) => {
                spent += report.spent;
                for (what, times) in report.happened {
                    *seen.entry(what).or_insert(0_u64) += times;
                }
            }
            Err(broken) => panic!("{broken}\nreplay: TURNPIKE_SIM_SEED={seed}"),
        }
    }
    println!("{spent} units spent; {seen:?}");
    if runs().count() > 100 {
        // A simulation in which nothing happens proves nothing.
        for what in [
            "authority crash",
            "gateway crash",
            "zombie",
            "raised",
            "lowered",
            "wall jump",
            "rollover",
            "settled",
            "recall",
            "denied",
            "crossing",
            "refund",
            "lost commit",
            "forgotten",
        ] {
            assert!(seen.get(what).is_some_and(|times| *times > 20), "{what} hardly happened: {seen:?}");
        }
    }
}

/// The checks find each of these within a few hundred runs, so they can fail.
fn finds(sabotage: Sabotage) -> String {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..600).find_map(|seed| {
        let run = catch_unwind(AssertUnwindSafe(|| World::new(seed, sabotage).run()));
        match run {
            Ok(Ok(_)) => None,
            Ok(Err(broken)) => Some(broken),
            Err(_) => Some("panic".to_owned()),
        }
    });
    std::panic::set_hook(hook);
    found.unwrap_or_else(|| panic!("{sabotage:?} was not noticed"))
}

#[test]
fn sending_before_the_commit_is_noticed() {
    let broken = finds(Sabotage::SendBeforeCommit);
    assert!(broken.contains("Q4"), "{broken}");
}

#[test]
fn counting_expiry_from_the_receipt_is_noticed() {
    let broken = finds(Sabotage::ExpiryFromReceipt);
    assert!(broken.contains("Q3") || broken.contains("Q6"), "{broken}");
}

#[test]
fn freeing_orphans_without_settlement_is_noticed() {
    let broken = finds(Sabotage::FreeOrphans);
    assert!(["Q3", "Q6", "Q7"].iter().any(|name| broken.contains(name)), "{broken}");
}
