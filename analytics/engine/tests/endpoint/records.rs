//! Sealed usage segments load into the real table, value for value, and the verifying count sees what headers say.

use std::sync::Arc;

use analytics_record::segment::{Flavour, Hash, INSERT_SETTINGS, Seal, Sealed, Segment, Source, seal};
use analytics_record::table::{Placement, create_table, insert_statement, verify_statement};
use analytics_record::{
    Charge, Flags, GatewayId, Method, NameId, Protocol, Reason, Record, SegmentName, Stream, Text,
};

use crate::process::Engine;

/// 2026-11-23 12:00:00.000001 UTC.
const NOON: u64 = 1_795_435_200_000_001;

fn name(seq: u32) -> SegmentName {
    let gateway: GatewayId = "018f4d2a-1234-7000-8000-00000000002a".parse().unwrap();
    Stream { gateway, epoch: 3, shard: 1 }.segment(seq)
}

/// 1,000 requests of 300 consumers: more than one byte of dictionary index.
fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for i in 0..1_000u64 {
        let mut record = Record::at(NOON + i * 3_000);
        record.request_id = *b"0123456789abcdef";
        record.trace_id[15] = 7;
        record.consumer = NameId(10 + (i % 300) as u32);
        record.route = NameId(2);
        record.method = Method::Get;
        record.protocol = Protocol::H2;
        record.status = 200;
        record.grpc_status = -1;
        record.reason = Reason::Ok;
        record.flags = Flags::TLS.with(Flags::SAMPLED);
        record.duration_us = 1_500;
        (record.request_bytes, record.response_bytes) = (i, 2 * i);
        record.host = Text::new("shop.example.com");
        record.path = Text::new("/orders/ü'\n\nDROP TABLE x");
        for lease in 0..i % 3 {
            assert!(record.charges.push(Charge { lease: lease + 1, units: i }));
        }
        records.push(record);
    }
    records
}

fn sealed(seq: u32) -> Sealed {
    let request = Seal {
        name: name(seq),
        flavour: Flavour::Detail,
        source: Source::Ring { from: 0, to: 8 },
        complete_through_us: NOON,
        wall_anchor_us: NOON,
        previous: Hash::ZERO,
    };
    let text = |id: NameId| -> Arc<str> {
        if id == NameId::NONE { "".into() } else { format!("name-{}", id.0).into() }
    };
    seal(&request, &records(), &text).unwrap()
}

async fn insert(engine: &Engine, segment: &Sealed, token: &str) {
    let statement = insert_statement("default");
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut query = format!("query={}&insert_deduplication_token={}", encode(&statement), encode(token));
    for (setting, value) in INSERT_SETTINGS {
        query = format!("{query}&{setting}={value}");
    }
    let block = Segment::parse(&segment.bytes).unwrap().block_bytes().unwrap();
    assert_eq!(engine.post(&query, block).await, (200, String::new()));
}

#[tokio::test]
async fn a_sealed_segment_loads_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let placement = Placement { database: "default".to_owned(), cluster: None, retention_days: 36_500 };
    engine.text(&create_table(&placement)).await;
    let segments = [sealed(0), sealed(1)];
    insert(&engine, &segments[0], "zero").await;
    insert(&engine, &segments[0], "zero").await;
    insert(&engine, &segments[1], "one").await;

    let headers = [segments[0].header, segments[1].header];
    let count = engine.text(&format!("{} FORMAT TabSeparated", verify_statement("default", &headers))).await;
    let mut lines: Vec<&str> = count.lines().collect();
    lines.sort_unstable();
    let totals = headers[0].totals;
    let line = |seq: u32| {
        let stream = name(0).stream;
        format!(
            "{}\t3\t1\t{seq}\t{}\t{}\t{}\t{}\t{}",
            stream.gateway, totals.rows, totals.n, totals.units, totals.bytes, totals.row_sum
        )
    };
    assert_eq!(lines, [line(0), line(1)], "the second insert under one token is dropped");

    let parts =
        "SELECT count(), min(rows), max(rows) FROM system.parts WHERE table = 'usage_records' AND active";
    assert_eq!(engine.text(parts).await, "2\t1000\t1000", "one block per segment");
    let row = "SELECT toUnixTimestamp64Micro(ts), request_id, hex(trace_id), consumer, method, protocol, status, grpc_status, \
               reason, flags, duration_us, charge_lease, charge_units, n, host, path = '/orders/ü\\'\\n\\nDROP TABLE x', \
               segment_gateway FROM usage_records WHERE request_bytes = 299 AND segment_seq = 0";
    assert_eq!(
        engine.text(row).await,
        format!(
            "{}\t30313233-3435-3637-3839-616263646566\t00000000000000000000000000000007\tname-309\tGET\th2\t200\t-1\tok\t40\t1500\t\
             [1,2]\t[299,299]\t1\tshop.example.com\t1\t018f4d2a-1234-7000-8000-00000000002a",
            NOON + 299 * 3_000
        )
    );
    let consumers =
        engine.text("SELECT uniqExact(consumer), countIf(consumer = '') FROM usage_records").await;
    assert_eq!(consumers, "300\t0");
}
