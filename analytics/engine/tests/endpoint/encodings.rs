//! Packed bodies and answers.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::process::Engine;

#[tokio::test]
async fn gzip_goes_in_and_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..10_000 {
        writeln!(packed, "{number}").unwrap();
    }
    let http = reqwest::Client::new();
    let insert = http
        .post(format!("{}?query=INSERT+INTO+t+FORMAT+TSV", engine.url()))
        .header("content-encoding", "gzip")
        .body(packed.finish().unwrap());
    assert_eq!(insert.send().await.unwrap().status(), 200);
    let answer = http
        .post(engine.url())
        .header("accept-encoding", "gzip")
        .body("SELECT a FROM t ORDER BY a")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&answer.bytes().await.unwrap()[..]).read_to_string(&mut text).unwrap();
    assert!(text.lines().map(|line| line.parse::<u64>().unwrap()).eq(0..10_000));
}

#[tokio::test]
async fn blocks_that_are_damaged_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let http = reqwest::Client::new();
    let select = |sql: &'static str| {
        http.post(format!("{}?compress=1&default_format=RowBinary", engine.url())).body(sql).send()
    };
    let block = select("SELECT number FROM numbers(10)").await.unwrap().bytes().await.unwrap().to_vec();
    let insert = "decompress=1&query=INSERT+INTO+t+FORMAT+RowBinary";
    let mut damaged = block.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (body, code) in [
        (damaged, "Code: 271."),
        (block[..block.len() - 3].to_vec(), "Code: 271."),
        (vec![0xff; 64], "Code: 271."),
    ] {
        let (status, text) = engine.post(insert, body).await;
        assert!(status == 400 && text.contains(code), "{status} {text}");
    }
    assert_eq!(engine.text("SELECT count() FROM t").await, "0");
    assert_eq!(engine.post(insert, block).await.0, 200);
    assert_eq!(engine.text("SELECT sum(a) FROM t").await, "45");
}
