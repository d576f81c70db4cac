use super::*;
use crate::entry::tests::any_record;
use crate::segment::Totals;
use proptest::prelude::*;

proptest! {
    #[test]
    fn counts_survive_aggregation(records in proptest::collection::vec(any_record(), 0..40), few in any::<bool>()) {
        let mut aggregator = Aggregator::default();
        let mut expected = records.clone();
        for record in &mut expected {
            if few {
                // Few keys, so that sums are formed.
                (record.gateway, record.route, record.product) = (NameId(1), NameId(2), NameId(3));
                (record.plan, record.consumer, record.subscription) = (NameId(4), NameId(5), NameId(6));
                (record.status, record.reason, record.ts_us) = (200, Reason::Ok, record.ts_us % MINUTE_US);
                record.charges = Charges::NONE;
                assert!(record.charges.push(crate::Charge { lease: 9, units: record.request_bytes }));
            }
            aggregator.add(record);
        }
        let out = aggregator.into_records();
        let (before, after) = (Totals::of_records(&expected), Totals::of_records(&out));
        prop_assert_eq!((before.n, before.units, before.bytes), (after.n, after.units, after.bytes));
        prop_assert!(out.iter().all(|record| record.flags.has(Flags::AGGREGATED)));
        if few && !records.is_empty() && before.n < u64::from(u32::MAX) {
            prop_assert_eq!(out.len(), 1);
            prop_assert_eq!(out[0].ts_us, expected.iter().map(|r| r.ts_us).min().unwrap());
        }
    }
}

#[test]
fn units_stay_with_their_leases() {
    let mut aggregator = Aggregator::default();
    for (lease, units) in [(1, 10), (2, 20), (1, 30)] {
        let mut record = Record::at(5);
        assert!(record.charges.push(crate::Charge { lease, units }));
        record.duration_us = units as u32;
        aggregator.add(&record);
    }
    let out = aggregator.into_records();
    let of = |lease: u64| {
        let record = out.iter().find(|r| r.charges.as_slice()[0].lease == lease).unwrap();
        (record.n, record.charges.units(), record.duration_us)
    };
    assert_eq!((out.len(), of(1), of(2)), (2, (2, 40, 20), (1, 20, 20)));
}

#[test]
fn more_requests_than_a_row_can_count_take_more_rows() {
    let mut sums = Sums { n: u64::from(u32::MAX) + 2, request_bytes: 7, ..Sums::default() };
    sums.units[0] = 5;
    let mut out = Vec::new();
    sums.into_records(&Key { charges: 1, leases: [3, 0, 0, 0], ..Key::default() }, &mut out);
    let totals = Totals::of_records(&out);
    assert_eq!((out.len(), totals.n, totals.bytes, totals.units), (2, u64::from(u32::MAX) + 2, 7, 5));
}
