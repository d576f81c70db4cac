//! The unmodified `clickhouse` crate.

use clickhouse::error::Error;
use clickhouse::{Compression, Row};
use serde::{Deserialize, Serialize};

use crate::process::Engine;

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Visit {
    at: u64,
    consumer: String,
    tags: Vec<String>,
    status: Option<u16>,
}

fn visits(count: u64) -> Vec<Visit> {
    (0..count)
        .map(|at| Visit {
            at,
            consumer: format!("consumer-{}", at % 7),
            tags: vec!["a".into(); (at % 3) as usize],
            status: (at % 2 == 0).then_some(200),
        })
        .collect()
}

const TABLE: &str = "CREATE TABLE visits (at UInt64, consumer LowCardinality(String), tags Array(String), status Nullable(UInt16)) \
    ENGINE = MergeTree ORDER BY at";

#[tokio::test]
async fn rows_round_trip_packed_and_plain_validated_and_not() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let client = engine.client();
    client.query(TABLE).execute().await.unwrap();
    let rows = visits(3000);
    for (compression, validated) in [
        (Compression::Lz4, true),
        (Compression::None, true),
        (Compression::Lz4, false),
        (Compression::None, false),
    ] {
        client.query("TRUNCATE TABLE visits").execute().await.unwrap();
        let client = engine.client().with_compression(compression).with_validation(validated);
        let mut insert = client.insert::<Visit>("visits").await.unwrap();
        for row in &rows {
            insert.write(row).await.unwrap();
        }
        insert.end().await.unwrap();
        let read = client.query("SELECT ?fields FROM visits ORDER BY at").fetch_all::<Visit>().await.unwrap();
        assert!(read == rows, "{compression:?}, validated: {validated}");
    }
}

#[tokio::test]
async fn long_results_stream_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let mut cursor = engine.client().query("SELECT number FROM numbers(400000)").fetch::<u64>().unwrap();
    let mut expected = 0;
    while let Some(number) = cursor.next().await.unwrap() {
        assert_eq!(number, expected);
        expected += 1;
    }
    assert_eq!(expected, 400_000);
    let none = engine.client().query("SELECT number FROM numbers(0)").fetch_all::<u64>().await.unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn parameters_settings_and_database_reach_their_request_only() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let client = engine.client();
    client.query("CREATE DATABASE other").execute().await.unwrap();
    let hostile = "a'b\\c\n\td {x} \u{2013} `; DROP DATABASE other";
    let told =
        client.query("SELECT {text:String}").param("text", hostile).fetch_one::<String>().await.unwrap();
    assert_eq!(told, hostile);
    let told = client.query("SELECT ?").bind(hostile).fetch_one::<String>().await.unwrap();
    assert_eq!(told, hostile);
    let set = client.clone().with_database("other").with_setting("max_block_size", "1234");
    let read = "SELECT concat(currentDatabase(), ' ', toString(getSetting('max_block_size')))";
    assert_eq!(set.query(read).fetch_one::<String>().await.unwrap(), "other 1234");
    assert_ne!(client.query(read).fetch_one::<String>().await.unwrap(), "other 1234");
}

#[tokio::test]
async fn errors_come_with_the_engines_words() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let client = engine.client();
    for (sql, code) in [
        ("SELECT * FROM nowhere", "Code: 60."),
        ("SELECT nothing", "Code: 47."),
        ("SELEC 1", "Code: 62."),
        ("SELECT throwIf(1)", "Code: 395."),
    ] {
        let Err(Error::BadResponse(text)) = client.query(sql).fetch_all::<u8>().await else {
            panic!("{sql} did not fail")
        };
        assert!(text.contains(code), "{sql}: {text}");
    }
    let mut cursor = client
        .query("SELECT number, throwIf(number = 300000) FROM numbers(400000) SETTINGS max_block_size = 65505")
        .fetch::<(u64, u8)>()
        .unwrap();
    let mut read = 0u64;
    let error = loop {
        match cursor.next().await {
            Ok(Some(_)) => read += 1,
            Ok(None) => panic!("the stream ended well after {read} rows"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(read > 0 && error.contains("Code: 395."), "after {read} rows: {error}");
}
