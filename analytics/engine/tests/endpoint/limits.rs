//! Bounds on statements, and statements side by side.

use std::time::{Duration, Instant};

use crate::process::{Engine, Tweaks};

const ENDLESS: &str = "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)";

/// Polls until no statement but the asking one is running.
async fn assert_idle(engine: &Engine, patience: Duration) {
    let deadline = Instant::now() + patience;
    while engine.text("SELECT count() FROM system.processes WHERE query LIKE '%cityHash64(number)%' AND query NOT LIKE '%processes%'").await != "0" {
        assert!(Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn time_and_size_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let tweaks = Tweaks::default()
        .with("TURNPIKE_TEST_RUN_S", "1")
        .with("TURNPIKE_TEST_RESULT_BYTES", "1000000")
        .with("TURNPIKE_TEST_INSERT_BYTES", "1000");
    let engine = Engine::start_with(folder.path(), tweaks).unwrap();
    let (status, text) = engine.post("max_execution_time=0", ENDLESS.into()).await;
    assert!(status == 408 && text.contains("Code: 159."), "{status} {text}");
    let (status, text) = engine.ask("SELECT 1 SETTINGS max_execution_time = 100").await;
    assert!(status == 400 && text.contains("Code: 452."), "{status} {text}");
    let (_, text) = engine.ask("SELECT number FROM numbers(1000000) FORMAT JSON").await;
    assert!(text.contains("Code: 396."), "{text}");
    let (_, text) = engine
        .ask("SELECT length(groupArray(number)) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000")
        .await;
    assert!(text.contains("Code: 241."), "{text}");
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let (status, text) = engine.post("query=INSERT+INTO+t+FORMAT+TSV", b"1\n".repeat(600)).await;
    assert!(status == 413 && text.contains("Code: 307."), "{status} {text}");
    assert_eq!(engine.text("SELECT count() FROM t").await, "0");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_statement_along() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let patience = Duration::from_millis(400);
    assert!(tokio::time::timeout(patience, engine.ask(ENDLESS)).await.is_err());
    assert_idle(&engine, Duration::from_secs(5)).await;
    // Gone between two chunks of a stream.
    let mut cursor = engine
        .client()
        .query("SELECT number, cityHash64(number) FROM numbers(1000000000000)")
        .fetch::<(u64, u64)>()
        .unwrap();
    cursor.next().await.unwrap().unwrap();
    drop(cursor);
    assert_idle(&engine, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let engine =
        Engine::start_with(folder.path(), Tweaks::default().with("TURNPIKE_TEST_READERS", "1")).unwrap();
    let busy = async {
        // Refused as long as one of the short statements has the only place.
        while let Ok((status, text)) = tokio::time::timeout(Duration::from_secs(2), engine.ask(ENDLESS)).await
        {
            assert_eq!(status, 503, "{text}");
        }
    };
    let refused = async {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let (status, text) = engine.ask("SELECT 1").await;
            if status == 503 {
                return text;
            }
            assert!(Instant::now() < deadline, "never refused: {status} {text}");
        }
    };
    let ((), text) = tokio::join!(busy, refused);
    assert!(text.contains("Code: 202."), "{text}");
    // Writers have a lane of their own.
    engine.text("CREATE DATABASE x").await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while engine.ask("SELECT 1").await.0 != 200 {
        assert!(Instant::now() < deadline, "the lane stays taken");
    }
}

#[tokio::test]
async fn statements_run_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let started = Instant::now();
    let slow = "SELECT sleep(0.5), 7 FORMAT TSV";
    let answers = futures::future::join_all((0..4).map(|_| engine.ask(slow))).await;
    assert!(answers.iter().all(|answer| *answer == (200, "0\t7\n".into())), "{answers:?}");
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    let sums = futures::future::join_all((0..40u64).map(|n| {
        let client = engine.client();
        async move {
            client
                .query("SELECT sum(number) FROM numbers(?)")
                .bind(n * 1000)
                .fetch_one::<u64>()
                .await
                .unwrap()
        }
    }))
    .await;
    assert!(
        sums.into_iter().zip(0..40u64).all(|(sum, n)| sum == (n * 1000) * (n * 1000).saturating_sub(1) / 2)
    );
}

/// Starts an insert whose body sends one row and then nothing.
fn stalled_insert(engine: &Engine, settings: &str) -> reqwest::RequestBuilder {
    let rows = futures::stream::iter([Ok::<_, std::io::Error>("1\n")]);
    let stalled = futures::StreamExt::chain(rows, futures::stream::pending());
    reqwest::Client::new()
        .post(format!("{}?query=INSERT+INTO+t+FORMAT+TSV{settings}", engine.url()))
        .body(reqwest::Body::wrap_stream(stalled))
        .timeout(Duration::from_secs(10))
}

#[tokio::test]
async fn an_insert_that_stalls_gives_its_turn_back() {
    let folder = tempfile::tempdir().unwrap();
    let tweaks = Tweaks::default().with("TURNPIKE_TEST_IDLE_MS", "200");
    let engine = Engine::start_with(folder.path(), tweaks).unwrap();
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    assert_eq!(stalled_insert(&engine, "").send().await.unwrap().status(), 408);
    assert_eq!(engine.text("SELECT count() FROM t").await, "0");
}

#[tokio::test]
async fn an_insert_never_commits_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let engine =
        Engine::start_with(folder.path(), Tweaks::default().with("TURNPIKE_TEST_WRITERS", "1")).unwrap();
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let started = Instant::now();
    let first = stalled_insert(&engine, "&max_execution_time=1.5").send();
    // Waits behind the first for longer than its own time.
    let second = async {
        let lane_is_taken = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'";
        while engine.text(lane_is_taken).await == "0" {
            assert!(started.elapsed() < Duration::from_secs(2), "the first insert never ran");
        }
        engine.post("query=INSERT+INTO+t+FORMAT+TSV&max_execution_time=0.3", b"2\n".to_vec()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().status(), 408);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(second.0, 503, "{}", second.1);
    engine.text("INSERT INTO t VALUES (3)").await;
    assert_eq!(engine.text("SELECT groupArray(a) FROM t").await, "[3]");
}
