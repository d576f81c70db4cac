//! `kill -9` and what is there afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::process::Engine;

const ROWS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_batches_survive_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    engine
        .text("CREATE TABLE t (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY (batch, n) SETTINGS non_replicated_deduplication_window = 1000")
        .await;
    drop(engine);
    let mut acknowledged = Vec::new();
    let mut next = 0u64;
    for round in 0..4u64 {
        let engine = Engine::start(folder.path());
        let enough = AtomicU64::new(0);
        let url = engine.url();
        let insert = async {
            let http = reqwest::Client::new();
            loop {
                let body: Vec<_> = (0..ROWS).map(|n| format!("{next}\t{n}")).collect();
                let target =
                    format!("{url}?insert_deduplication_token=b{next}&query=INSERT+INTO+t+FORMAT+TSV");
                match http.post(target).body(body.join("\n")).send().await {
                    Ok(answer) if answer.status() == 200 => acknowledged.push(next),
                    Ok(answer) => panic!("{}", answer.text().await.unwrap()),
                    Err(_) => break,
                }
                enough.fetch_add(1, Ordering::Relaxed);
                next += 1;
            }
            next += 1;
        };
        let kill = async {
            // After a few batches, at a moment that differs from round to round.
            while enough.load(Ordering::Relaxed) < 5 + round * 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_micros(700 * round)).await;
            engine.kill();
        };
        tokio::join!(insert, kill);
    }
    let engine = Engine::start(folder.path());
    let whole = engine.text(&format!("SELECT groupArray(batch) FROM (SELECT batch FROM t GROUP BY batch HAVING count() = {ROWS} AND uniqExact(n) = {ROWS} ORDER BY batch)")).await;
    let whole: Vec<u64> =
        whole.trim_matches(['[', ']']).split(',').map(|batch| batch.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|batch| !whole.contains(batch)).collect();
    assert!(acknowledged.len() >= 20 && lost.is_empty(), "lost {lost:?} of {}", acknowledged.len());
    let torn = engine
        .text(&format!("SELECT count() FROM (SELECT batch FROM t GROUP BY batch HAVING count() != {ROWS})"))
        .await;
    assert_eq!(torn, "0", "a batch is there whole or not at all");
    assert!(engine.text("CHECK TABLE t").await.ends_with('1'));
}
