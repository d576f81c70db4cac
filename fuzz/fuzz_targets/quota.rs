//! Messages of gateways to the quota authority, one JSON a line, over its whole life.
#![no_main]

use fuzz::NOW_S;
use gateway_quota::message::Batch;
use gateway_quota::{Authority, AuthorityConfig, Limit, Mode, Mono, Now, Period, Unit, WindowSpec};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const QUANTITY: u64 = 1000;

fn now(second: u64) -> Now {
    let wall = Timestamp::from_second(NOW_S + second as i64).expect("a time of this century");
    Now { mono: Mono::from_nanos(second * 1_000_000_000), wall }
}

fuzz_target!(|bytes: &[u8]| {
    let limit = Limit {
        id: "daily".into(),
        unit: Unit::Requests,
        quantity: QUANTITY,
        window: WindowSpec::calendar(Period::Day, "UTC").expect("a known zone"),
        mode: Mode::Hard,
        thresholds: vec![50, 100],
    };
    let mut authority = Authority::restore(AuthorityConfig::default(), [], now(0));
    drop(authority.set_limits([limit], now(0)));
    for (line, second) in bytes.split(|byte| *byte == b'\n').take(64).zip(1..) {
        let Ok(batch) = serde_json::from_slice::<Batch>(line) else { continue };
        if batch.check().is_err() {
            continue;
        }
        let step = authority.handle(&batch, now(second));
        let reply = step.reply.expect("a batch has an answer");
        assert!(reply.check().is_ok(), "the authority's own answer is one that holders take");
        drop(authority.tick(now(second)));
        for account in authority.accounts() {
            let taken = account.settled + account.unaccounted + account.leased;
            assert!(taken <= QUANTITY, "more is granted than the quota holds: {account:?}");
        }
    }
});
