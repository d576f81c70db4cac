//! On the plain path (route, API key, subscription, rate, quota, forward) a request allocates nothing in this
//! crate once its consumer has been seen.

#[path = "pipeline/support.rs"]
#[expect(dead_code, reason = "this test needs a part of the builders")]
mod support;

use gateway_pipeline::{Exchange, Flow, HeaderSink, Step};
use gateway_quota::Unit;
use gateway_snapshot::Rate;
use http::HeaderName;
use support::*;

/// Takes edits without keeping them, as an engine that writes them straight to its buffer does.
#[derive(Default)]
struct Counting(usize);

impl HeaderSink for Counting {
    fn set(&mut self, _: &HeaderName, value: &[u8]) {
        self.0 += value.len();
    }

    fn append(&mut self, _: &HeaderName, value: &[u8]) {
        self.0 += value.len();
    }

    fn remove(&mut self, _: &HeaderName) {}
}

#[test]
fn the_plain_path_allocates_nothing() {
    let mut snapshot = shop();
    sell(&mut snapshot, vec![limit("daily", Unit::Requests, 1000), limit("volume", Unit::Bytes, 100_000)]);
    snapshot.plans.get_mut("shop/gold").unwrap().rates =
        vec![Rate { id: "burst".into(), requests: 1000, period_ms: 1000, burst: 1000 }];
    route(&mut snapshot, "r", &["a.example", "*.b.example"], vec![sold(vec![prefix("/orders")])]);
    let (prepared, mut desk) = (prepare(&snapshot), Desk::new(&snapshot));
    let request = Request::get("http://a.example/orders/17?expand=lines").key("alice");
    let (first, _) = desk.drive(&prepared, &request, at(0));
    let slots: Vec<_> = {
        let mut first = first;
        let mut slots = Vec::new();
        while let Flow::NeedLease(need) = first.response_bytes(1000, at(0)) {
            slots.push(desk.fetch(&need, at(0)).slot);
        }
        finish(first, 200, at(0));
        slots
    };
    for slot in &slots {
        desk.refill(slot, at(0));
    }
    let head = request.head();
    let mut sink = Counting::default();
    let measured = allocation_counter::measure(|| {
        for now in 1..11 {
            let mut exchange = Exchange::new(&prepared, &head, at(now));
            assert!(matches!(exchange.begin(&head, at(now)), Step::Forward));
            exchange.edit_request(&head, &mut sink);
            assert!(matches!(exchange.request_bytes(10, at(now)), Flow::Pass));
            exchange.edit_response(&mut sink, at(now));
            assert!(matches!(exchange.response_bytes(20, at(now)), Flow::Pass));
            exchange.nudges(&mut |_| {});
            assert_eq!(finish(exchange, 200, at(now)).charges.units(), 31);
        }
    });
    assert_eq!(measured.count_total, 0);
    assert!(sink.0 > 0);
}
