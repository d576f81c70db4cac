//! What fuzz targets share: a snapshot to decide over, and what must hold for any snapshot.
//!
//! A target fails when the code under test panics, when an assertion here does, when it needs more than the memory
//! or the time that `tests/fuzz.sh` allows, and never because it refuses something.

use std::sync::Arc;

use analytics_record::NameId;
use gateway_pipeline::{Exchange, Lease, Now, Outcome, Prepared, RequestHead, Step};
use gateway_quota::{Holder, HolderConfig, Mono};
use gateway_snapshot::{Finding, Snapshot};
use http::HeaderMap;
use operator_compile::resources::read;
use operator_compile::{Options, compile};

/// A fixed time: 2026-11-23.
pub const NOW_S: i64 = 1_795_446_000;

/// The example, and a route with every filter and match that there is.
const FOLDER: [(&str, &str); 7] = [
    ("gateway.yaml", include_str!("../../examples/shop/gateway.yaml")),
    ("routes.yaml", include_str!("../../examples/shop/routes.yaml")),
    ("consumers.yaml", include_str!("../../examples/shop/consumers.yaml")),
    ("products.yaml", include_str!("../../examples/shop/products.yaml")),
    ("matches.yaml", include_str!("../../operator/compile/testdata/route-matches/in.yaml")),
    ("filters.yaml", include_str!("../../operator/compile/testdata/route-filters/in.yaml")),
    ("policies.yaml", include_str!("../../operator/compile/testdata/policies/in.yaml")),
];

/// A snapshot that has something of everything.
pub fn snapshot() -> Snapshot {
    let files = FOLDER.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let (resources, _) = read(&files);
    compile(&resources, &Options { now: Some(NOW_S), ..Options::default() }).snapshot
}

/// Prepares a snapshot as a gateway does.
pub fn prepare(snapshot: &Snapshot) -> Result<Arc<Prepared>, Vec<Finding>> {
    let mut names = 0;
    Prepared::new(snapshot, None, &mut |_| {
        names += 1;
        NameId(names)
    })
    .map(Arc::new)
}

/// Takes a request through all of its steps; it must end in one record.
pub fn exchange(prepared: &Arc<Prepared>, head: &RequestHead<'_>, headers: &HeaderMap) {
    let now = Now { mono_ns: 1_000_000_000, unix_us: NOW_S * 1_000_000 };
    let mut exchange = Exchange::new(prepared, head, now);
    let mut outcome = Outcome::default();
    match exchange.begin(head, now) {
        Step::Forward => {
            let mut sent = headers.clone();
            exchange.edit_request(head, &mut sent);
            drop(exchange.request_bytes(100, now));
            assert!(exchange.plan().is_some(), "a request that is forwarded has a plan");
            let mut answer = headers.clone();
            exchange.edit_response(&mut answer, now);
            drop(exchange.response_bytes(100, now));
            outcome.status = 200;
        }
        Step::Answer(response) => outcome.status = response.status.as_u16(),
        // No lease ever comes here: it ends as a refusal.
        Step::NeedLease(need) => {
            let slot = need.slot.unwrap_or_else(|| holder().slot(&need.key));
            let lease = Lease { slot, timed_out: true };
            if let Step::Answer(response) = exchange.resume(head, &lease, now) {
                outcome.status = response.status.as_u16();
            }
        }
    }
    let record = exchange.finish(&outcome, now);
    assert_eq!(record.n, 1, "one record stands for one request");
}

fn holder() -> Holder {
    Holder::new(HolderConfig::new("fuzz", 1), Mono::ZERO)
}
