//! What a request costs us, apart from moving its bytes, and what size costs: `cargo bench -p tests --bench cost`, with
//! `-- request` or `-- scale` for one of them, `-- quick` without what takes minutes.
//!
//! In: the pure crates and a real spool, on one thread; a gateway's process. Out: a table with median and 99th percentile
//! per operation, one by size, and the machine, for docs/benchmarks.md. No limit fails it: a number means something only on the machine it was taken on, with nothing
//! else running.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints a table")]

mod measure;
mod scale;
mod shop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use analytics_record::Record;
use gateway_pipeline::{Exchange, Outcome, Prepared, Step};
use gateway_quota::{QuotaKey, Spend};
use gateway_spool::{Options, Spool};

use measure::{Table, machine};
use shop::{Callers, Desk, LIMIT, Request, shop};

fn main() {
    if scale::is_gateway() {
        return;
    }
    let only = std::env::args().find(|word| word == "request" || word == "scale");
    if only.as_deref() != Some("scale") {
        println!("\n## A request, apart from moving its bytes\n\n{}.\n", machine());
        request();
    }
    if only.as_deref() != Some("request") {
        println!("\n## Size\n\n{}.\n", machine());
        scale::table(std::env::args().any(|word| word == "quick"));
    }
}

fn request() {
    let mut table = Table::default();
    table.row("reading the clock, for comparison", None, |_| {
        std::hint::black_box(Instant::now());
    });
    record(&mut table);
    quota(&mut table);
    decisions(&mut table);
    println!("{table}");
}

/// A spool with its sealer at work.
fn with_spool(work: impl FnOnce(&Spool)) {
    let dir = tempfile::tempdir().unwrap();
    let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    let (spool, mut sealer) = Spool::open(dir.path(), Options::default(), wall()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sealer.tick(wall());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        work(&spool);
        stop.store(true, Ordering::Relaxed);
    });
}

fn record(table: &mut Table) {
    with_spool(|spool| {
        let shard = &spool.shards()[0];
        let record = Record::at(spool.clock().now_us());
        table.row("a record into the spool", Some(1_000), |_| {
            std::hint::black_box(shard.append(&record));
        });
    });
}

fn quota(table: &mut Table) {
    let mut desk = Desk::new(&shop(10, Callers(10)));
    let slot = desk.slot(&QuotaKey::new(LIMIT, "bench"));
    let mut now = desk.moment();
    table.row("a quota decision, lease in hand", Some(100), |turn| {
        if turn.is_multiple_of(64) {
            now = desk.moment();
        }
        match slot.try_spend(1, now.mono()) {
            Spend::Spent { low: false, .. } => {}
            _ => desk.refill(&slot),
        }
    });
}

fn decisions(table: &mut Table) {
    for routes in [10, 100_000] {
        let name = format!("a route of {routes}");
        decide(table, &name, None, routes, 10, |n| Request::open(n % routes));
    }
    for consumers in [10, 100_000] {
        let name = format!("the same of 10 routes, and a key of {consumers}");
        decide(table, &name, None, 10, consumers, |n| Request::keyed(n % consumers));
    }
    let sold = "the same of 100000 routes and keys, subscription, rate and quota";
    decide(table, sold, None, 100_000, 100_000, |n| Request::sold(n % 100_000));
    whole(table);
}

/// Decides 4,096 different requests in turn.
fn decide(
    table: &mut Table,
    name: &str,
    limit: Option<u64>,
    routes: usize,
    consumers: usize,
    request: impl Fn(usize) -> Request,
) {
    let snapshot = shop(routes, Callers(consumers));
    let (prepared, mut desk) = (shop::prepare(&snapshot), Desk::new(&snapshot));
    // A prime stride: neighbours in time are no neighbours in the tables.
    let requests: Vec<Request> = (0..4_096).map(|n| request(n * 7_919)).collect();
    for request in &requests {
        drop(admit(&prepared, &mut desk, request));
    }
    table.row(name, limit, |turn| {
        drop(std::hint::black_box(admit(&prepared, &mut desk, &requests[turn % requests.len()])));
    });
}

/// Everything but the bytes: decided, headers edited both ways, recorded.
fn whole(table: &mut Table) {
    let snapshot = shop(100_000, Callers(100_000));
    let (prepared, mut desk) = (shop::prepare(&snapshot), Desk::new(&snapshot));
    let requests: Vec<Request> = (0..4_096).map(|n| Request::sold((n * 7_919) % 100_000)).collect();
    with_spool(|spool| {
        let shard = &spool.shards()[0];
        table.row("all of that, header edits and the record", None, |turn| {
            let request = &requests[turn % requests.len()];
            let mut exchange = admit(&prepared, &mut desk, request);
            let mut header = request.headers.clone();
            exchange.edit_request(&request.head(), &mut header);
            header.clear();
            exchange.edit_response(&mut header, desk.now());
            let outcome = Outcome { status: 200, attempts: 1, ..Outcome::default() };
            shard.append(&exchange.finish(&outcome, desk.now()));
        });
    });
}

fn admit(prepared: &Arc<Prepared>, desk: &mut Desk, request: &Request) -> Exchange {
    let head = request.head();
    let mut exchange = Exchange::new(prepared, &head, desk.now());
    let mut step = exchange.begin(&head, desk.now());
    loop {
        match step {
            Step::Forward => break,
            Step::NeedLease(need) => {
                let lease = desk.fetch(&need);
                step = exchange.resume(&head, &lease, desk.now());
            }
            Step::Answer(response) => panic!("refused: {} {}", response.status, exchange.reason()),
        }
    }
    exchange.nudges(&mut |slot| desk.refill(slot));
    exchange
}
