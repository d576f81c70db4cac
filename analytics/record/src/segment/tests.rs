use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::entry::tests::any_record;
use crate::table::COLUMNS;
use crate::{Charge, Flags, GatewayId, NameId, Record, SegmentName, Stream, Text};

fn name() -> SegmentName {
    Stream { gateway: GatewayId(*b"gateway-id-bytes"), epoch: 3, shard: 1 }.segment(7)
}

fn request() -> Seal {
    Seal {
        name: name(),
        flavour: Flavour::Detail,
        source: Source::Ring { from: 0, to: 800 },
        complete_through_us: 5,
        wall_anchor_us: 6,
        previous: Hash([9; 32]),
    }
}

fn text(id: NameId) -> Arc<str> {
    if id == NameId::NONE { "".into() } else { format!("name-{}", id.0).into() }
}

fn sealed(records: &[Record]) -> Sealed {
    seal(&request(), records, &text).unwrap()
}

fn some_records() -> Vec<Record> {
    let mut records = Vec::new();
    for i in 0..50u64 {
        let mut record = Record::at(1_700_000_000_000_000 + i * 7_000_000);
        record.consumer = NameId(2 + (i % 3) as u32);
        record.route = NameId(10 + (i % 2) as u32);
        record.path = Text::new(&format!("/p/{i}"));
        record.request_bytes = i;
        assert!(record.charges.push(Charge { lease: i, units: 2 * i }));
        records.push(record);
    }
    records
}

#[test]
fn a_segment_tells_everything_about_itself() {
    let records = some_records();
    let sealed = sealed(&records);
    let segment = Segment::parse(&sealed.bytes).unwrap();
    assert_eq!(*segment.header(), sealed.header);
    assert_eq!(segment.header().name, name());
    let totals = segment.header().totals;
    assert_eq!(
        (totals.rows, totals.n, totals.units, totals.bytes, totals.row_sum),
        (50, 50, 2450, 1225, 1225)
    );
    assert_eq!(
        (segment.header().min_ts_us, segment.header().max_ts_us),
        (records[0].ts_us, records[49].ts_us)
    );
    let block = segment.block().unwrap();
    assert_eq!(block.columns.len(), COLUMNS.len());
    for (column, def) in block.columns.iter().zip(COLUMNS) {
        assert_eq!((column.name.as_str(), column.ty), (def.name, def.ty));
    }
    assert_eq!(block.column("segment_seq").unwrap().number(49), Some(7));
    assert_eq!(block.column("segment_row").unwrap().number(49), Some(49));
    assert_eq!(block.column("segment_gateway").unwrap().bytes16(0), Some(b"gateway-id-bytes"));
}

#[test]
fn rows_are_in_the_order_of_the_tables_key() {
    let sealed = sealed(&some_records());
    let block = Segment::parse(&sealed.bytes).unwrap().block().unwrap();
    let get = |name: &str| block.column(name).unwrap();
    let key = |row: usize| {
        let ts = get("ts").number(row).unwrap();
        (ts / 3_600_000_000, get("consumer").text(row).unwrap(), get("route").text(row).unwrap(), ts)
    };
    assert!((1..block.rows).all(|row| key(row - 1) <= key(row)));
}

#[test]
fn the_same_records_give_the_same_bytes() {
    assert_eq!(sealed(&some_records()).bytes, sealed(&some_records()).bytes);
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    assert_eq!(seal(&request(), &[], &text).unwrap_err(), SegmentError::Empty);
    let days = [Record::at(86_399_999_999), Record::at(86_400_000_000)];
    assert_eq!(seal(&request(), &days, &text).unwrap_err(), SegmentError::SpansDays);
    let far = [Record::at(u64::MAX)];
    assert_eq!(seal(&request(), &far, &text).unwrap_err(), SegmentError::Header("time"));
}

#[test]
fn every_changed_byte_is_seen() {
    let bytes = sealed(&some_records()[..3]).bytes;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(Segment::parse(&changed).is_err(), "byte {at}");
    }
    for len in 0..bytes.len() {
        assert!(Segment::parse(&bytes[..len]).is_err(), "length {len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_is_a_row(records in proptest::collection::vec(any_record(), 1..30), day in 0u64..20_000) {
        let mut records = records;
        for record in &mut records {
            record.ts_us = day * 86_400_000_000 + record.ts_us % 86_400_000_000;
        }
        let sealed = sealed(&records);
        let block = Segment::parse(&sealed.bytes).unwrap().block().unwrap();
        prop_assert_eq!(block.rows, records.len());
        let get = |name: &str| block.column(name).unwrap();
        let mut rows: Vec<_> = (0..block.rows)
            .map(|row| (
                get("ts").number(row).unwrap(),
                *get("request_id").bytes16(row).unwrap(),
                get("consumer").text(row).unwrap().to_owned(),
                get("reason").text(row).unwrap().to_owned(),
                get("charge_units").numbers(row).unwrap().to_vec(),
                get("path").text(row).unwrap().to_owned(),
                get("flags").number(row).unwrap(),
            ))
            .collect();
        let mut expected: Vec<_> = records
            .iter()
            .map(|r| (
                r.ts_us,
                r.request_id,
                text(r.consumer).to_string(),
                r.reason.as_str().to_owned(),
                r.charges.as_slice().iter().map(|c| c.units).collect::<Vec<_>>(),
                r.path.as_str().to_owned(),
                u64::from(Flags(r.flags.0).0),
            ))
            .collect();
        rows.sort();
        expected.sort();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), good in any::<bool>()) {
        if good && bytes.len() >= 8 {
            bytes[..6].copy_from_slice(b"TPSEG\0");
            bytes[6..8].copy_from_slice(&1u16.to_le_bytes());
        }
        if good && bytes.len() >= HEADER_BYTES {
            let crc = u64::from(crc32c::crc32c(&bytes[..HEADER_BYTES - 8]));
            bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_BYTES]);
        }
        let _ = Segment::parse(&bytes);
    }

    #[test]
    fn a_false_header_never_misleads(totals in any::<[u64; 4]>(), block_bytes in any::<u64>()) {
        let sealed = sealed(&some_records()[..5]);
        let mut header = sealed.header;
        let [rows, n, units, bytes] = totals;
        header.totals = Totals { rows: rows % 20, n, units, bytes, row_sum: 0 };
        header.block_bytes = block_bytes % 100_000;
        let body = &sealed.bytes[HEADER_BYTES..];
        header.content = content_hash(&header, body);
        let forged = [&header.encode()[..], body].concat();
        if let Ok(segment) = Segment::parse(&forged) {
            prop_assert!(segment.block().is_err());
        }
    }
}
