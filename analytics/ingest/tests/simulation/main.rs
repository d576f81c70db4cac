//! Seeded simulation of the whole way of a record: spool → network → ingestion → a store that de-duplicates badly.
//!
//! The spool and the state machine are the real ones; file system, network and store are models that crash, lose,
//! repeat and reorder. One run is one seed; `TURNPIKE_SIM_SEED=n` replays it with a trace, `TURNPIKE_SIM_RUNS=n` sets
//! how many run. Every run checks M1–M6 and M8 of the metering protocol; M7 (no back-pressure) holds by what `append`
//! may do and is checked by the spool's own tests. Deliberately broken variants must be caught.
#![allow(
    clippy::needless_for_each,
    clippy::print_stdout,
    clippy::struct_field_names,
    clippy::too_many_arguments,
    clippy::unwrap_used,
    reason = "a simulation in a test tells its story and stops at what it does not expect"
)]

mod check;
mod gateway;
mod random;
mod service;
mod store;
mod world;

use std::collections::BTreeMap;

use world::{Flaw, Tracing, World};

/// Runs of the correct protocol.
const RUNS: u64 = 2_000;
/// Runs within which each flaw must show.
const FLAWED_RUNS: u64 = 600;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Runs `count` seeds from `first` on, on all cores; gives the seeds that failed, with why.
fn run(first: u64, count: u64, flaw: Option<Flaw>, stop_at_first: bool) -> BTreeMap<u64, String> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let failures = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let failures = &failures;
            scope.spawn(move || {
                for seed in (first..first + count).skip(thread as usize).step_by(threads as usize) {
                    if stop_at_first && failures.lock().is_ok_and(|found| !found.is_empty()) {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| World::new(seed, flaw, Tracing::Off).run());
                    if let Err(why) = outcome.unwrap_or_else(|_| Err("it panicked, see above".to_owned())) {
                        failures.lock().expect("no run panics with the lock").insert(seed, why);
                    }
                }
            });
        }
    });
    failures.into_inner().expect("no run panics with the lock")
}

#[test]
fn every_record_is_stored_exactly_once() {
    if let Some(seed) = number("TURNPIKE_SIM_SEED") {
        World::new(seed, None, Tracing::Print).run().unwrap();
        return;
    }
    let failures = run(0, number("TURNPIKE_SIM_RUNS").unwrap_or(RUNS), None, false);
    let list: Vec<String> =
        failures.iter().take(10).map(|(seed, why)| format!("seed {seed}: {why}")).collect();
    assert!(
        failures.is_empty(),
        "{} runs failed; TURNPIKE_SIM_SEED replays one:\n{}",
        failures.len(),
        list.join("\n")
    );
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..5 {
        let trace = |_| {
            let mut world = World::new(seed, None, Tracing::Keep);
            world.run().unwrap();
            world.trace()
        };
        assert_eq!(trace(0), trace(1), "seed {seed}");
    }
}

#[test]
fn broken_variants_are_caught() {
    for flaw in Flaw::ALL {
        let failures = run(0, FLAWED_RUNS, Some(flaw), true);
        assert!(!failures.is_empty(), "{flaw:?} went unnoticed in {FLAWED_RUNS} runs");
    }
}
