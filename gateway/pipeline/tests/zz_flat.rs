#[path = "pipeline/support.rs"]
mod support;
use support::*;
use gateway_pipeline::*;
use gateway_quota::Unit;
use std::time::Instant;
fn rss() -> u64 { let s = std::fs::read_to_string("/proc/self/statm").unwrap(); s.split(' ').nth(1).unwrap().parse::<u64>().unwrap()*4 }
#[test]
fn flat() {
    println!("Exchange {} Step {}", size_of::<Exchange>(), size_of::<Step>());
    for n in [10, 1000, 100_000] {
        for shared in [true, false] {
        let mut snapshot = shop();
        sell(&mut snapshot, vec![limit("daily", Unit::Requests, 1_000_000_000)]);
        for i in 0..n { consumer(&mut snapshot, &format!("c{i}"));
          let h = format!("h{i}.example");
          let hosts: &[&str] = if shared { &["a.example"] } else { &[&h] };
          route(&mut snapshot, &format!("r{i}"), hosts, vec![sold(vec![prefix(&format!("/p/{i}"))])]); }
        let before = rss();
        let t = Instant::now();
        let prepared = prepare(&snapshot);
        println!("{n} shared={shared} prepare {:?} rss +{} KiB", t.elapsed(), rss()-before);
        let mut desk = Desk::new(&snapshot);
        let host = if shared { "a.example".to_owned() } else { format!("h{}.example", n/2) };
        let request = Request::get(&format!("http://{host}/p/{}/x?y", n/2)).key("alice");
        let head = request.head();
        let (e, s) = desk.drive(&prepared, &request, at(0)); assert!(!matches!(s, Step::NeedLease(_)), "{s:?}"); finish(e, 200, at(0));
        let mut best = u128::MAX;
        for _ in 0..20 { let t = Instant::now();
        for _ in 0..200 { let (e, _s) = Exchange::begin(&prepared, &head, at(1)); std::hint::black_box(finish(e, 200, at(1))); }
        best = best.min(t.elapsed().as_nanos()/200); }
        println!("   per request {best} ns");
        }
    }
}
