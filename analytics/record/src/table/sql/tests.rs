use super::*;
use crate::NameId;
use crate::segment::{Flavour, Hash, Seal, Source, seal};
use crate::table::ColumnType;
use crate::{GatewayId, Record, Stream};

fn placement() -> Placement {
    Placement { database: "turnpike".to_owned(), cluster: None, retention_days: 35 }
}

#[test]
fn one_server() {
    let sql = create_table(&placement());
    assert!(sql.starts_with(
        "CREATE TABLE IF NOT EXISTS `turnpike`.`usage_records` (\n  `ts` DateTime64(6, 'UTC') COMMENT '"
    ));
    for part in [
        "\nENGINE = MergeTree\nPARTITION BY toDate(ts)\nORDER BY (toStartOfHour(ts), consumer, route, ts)\n",
        "TTL toDate(ts) + INTERVAL 35 DAY DELETE",
        "fsync_after_insert = 1, fsync_part_directory = 1",
        " non_replicated_deduplication_window = 100000",
        " replicated_deduplication_window = 20000",
        "`consumer` LowCardinality(String)",
        "`charge_units` Array(UInt64)",
        "COMMENT 'spool that sealed the row\\'s segment'",
    ] {
        assert!(sql.contains(part), "{part}");
    }
    assert!(!sql.contains("\n\n"), "a blank line would end the statement");
}

#[test]
fn a_cluster() {
    let sql = create_table(&Placement { cluster: Some("main`".to_owned()), ..placement() });
    assert!(sql.contains(" ON CLUSTER `main\\`` ("));
    assert!(sql.contains("ENGINE = ReplicatedMergeTree("));
}

#[test]
fn types_are_spelled_one_way() {
    for column in COLUMNS {
        assert_eq!(ColumnType::from_clickhouse(column.ty.clickhouse()), Some(column.ty), "{}", column.name);
        assert!(!column.doc.is_empty() && column.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    }
    assert_eq!(ColumnType::from_clickhouse("Nothing"), None);
}

#[test]
fn the_count_names_segments_and_their_time() {
    let stream = Stream { gateway: GatewayId([1; 16]), epoch: 2, shard: 3 };
    let headers: Vec<Header> = (0..2)
        .map(|seq| {
            let request = Seal {
                name: stream.segment(seq),
                flavour: Flavour::Detail,
                source: Source::Ring { from: 0, to: 8 },
                complete_through_us: 0,
                wall_anchor_us: 0,
                previous: Hash::ZERO,
            };
            let record = Record::at(1_000_000 + u64::from(seq));
            seal(&request, &[record], &|_: NameId| "".into()).unwrap().header
        })
        .collect();
    let sql = verify_statement("turnpike", &headers);
    assert!(sql.contains("IN ((toUUID('01010101-0101-0101-0101-010101010101'), 2, 3, 0), (toUUID('01010101-0101-0101-0101-010101010101'), 2, 3, 1))"));
    assert!(sql.contains("toInt64(1000000)") && sql.contains("toInt64(1000001)"));
    assert!(
        insert_statement("turnpike")
            .starts_with("INSERT INTO `turnpike`.`usage_records` (`ts`, `request_id`, ")
    );
    assert!(insert_statement("turnpike").ends_with("`segment_row`) FORMAT Native"));
}
