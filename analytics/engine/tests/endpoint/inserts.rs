//! Raw inserts: statement in the query string, data in the body.

use crate::process::Engine;

const TABLE: &str = "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000";

async fn start(folder: &std::path::Path) -> Engine {
    let engine = Engine::start(folder);
    engine.text(TABLE).await;
    engine
}

#[tokio::test]
async fn a_native_batch_is_kept_once_per_token() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path()).await;
    let http = reqwest::Client::new();
    let select = "SELECT number AS a, toString(number) AS s FROM numbers(1000) FORMAT Native";
    let batch = http.post(engine.url()).body(select).send().await.unwrap().bytes().await.unwrap().to_vec();
    let insert = |token: &str| {
        format!("insert_deduplication_token={token}&query=INSERT%20INTO%20t%20(a,%20s)%20FORMAT%20Native")
    };
    for (token, rows) in [("one", "1000"), ("one", "1000"), ("two", "2000"), ("one", "2000")] {
        let (status, text) = engine.post(&insert(token), batch.clone()).await;
        assert_eq!((status, text.as_str()), (200, ""));
        assert_eq!(engine.text("SELECT count() FROM t").await, rows, "token {token}");
    }
    let parts = engine.text("SELECT groupArray(rows) FROM system.parts WHERE table = 't' AND active").await;
    assert_eq!(parts, "[1000,1000]", "one block per batch");
}

#[tokio::test]
async fn payloads_are_never_read_as_statements() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path()).await;
    let csv = b"1,\"x\n\nDROP TABLE t\"\n2,y\n".to_vec();
    assert_eq!(engine.post("query=INSERT+INTO+t+FORMAT+CSV", csv).await.0, 200);
    // Other rows: a table with a deduplication window keeps equal batches once, token or not.
    let inline = b"INSERT INTO t FORMAT CSV\n1,\"x\n\nDROP TABLE t\"\n7,y\n".to_vec();
    assert_eq!(engine.post("", inline).await.0, 200);
    for broken in ["3,z\n\nDROP TABLE t", "3,z\n\n;DROP TABLE t;\n", "'\n\nDROP TABLE t\n"] {
        let _ = engine.post("query=INSERT+INTO+t+FORMAT+CSV", broken.into()).await;
        let _ = engine.post("", format!("INSERT INTO t FORMAT CSV\n{broken}").into()).await;
    }
    let (status, text) = engine.ask("INSERT INTO t VALUES (4, 'w'); DROP TABLE t").await;
    assert!(status == 400 || status == 200, "{text}");
    let binary =
        [8u64.to_le_bytes().to_vec(), vec![17], b"\n\nDROP TABLE t\n\n".to_vec(), vec![b';']].concat();
    assert_eq!(engine.post("query=INSERT+INTO+t+FORMAT+RowBinary", binary).await, (200, String::new()));
    assert_eq!(engine.text("SELECT count() FROM t WHERE a = 1 AND s = 'x\\n\\nDROP TABLE t'").await, "2");
    assert_eq!(engine.text("SELECT count() FROM t WHERE a = 8").await, "1");
    assert_eq!(engine.text("EXISTS t").await, "1");
}

#[tokio::test]
async fn values_and_inserts_by_select_work_from_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path()).await;
    engine.text("INSERT INTO t (a, s) SETTINGS async_insert = 0 VALUES (1, 'a'), (2, 'b''c')").await;
    engine.text("INSERT INTO t (a, s) SETTINGS async_insert = 0 SELECT a + 10, s FROM t").await;
    assert_eq!(
        engine.text("SELECT groupArray((a, s)) FROM (SELECT * FROM t ORDER BY a)").await,
        "[(1,'a'),(2,'b\\'c'),(11,'a'),(12,'b\\'c')]"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_inserts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path()).await;
    let pieces = futures::stream::iter([Ok("1,a\n".repeat(100)), Err(std::io::Error::other("gone"))]);
    let sent = reqwest::Client::new()
        .post(format!("{}?query=INSERT+INTO+t+FORMAT+CSV", engine.url()))
        .body(reqwest::Body::wrap_stream(pieces))
        .send()
        .await;
    assert!(sent.is_err());
    // The writers' lane is free again, so the broken insert has ended.
    engine.text("INSERT INTO t VALUES (5, 'e')").await;
    assert_eq!(engine.text("SELECT groupArray(a) FROM t").await, "[5]");
}

#[tokio::test]
async fn a_wrong_batch_fails_whole_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path()).await;
    let (status, text) = engine.post("query=INSERT+INTO+t+FORMAT+CSV", b"1,a\nx,b\n".to_vec()).await;
    assert!(status == 400 && text.contains("Code: 27."), "{status} {text}");
    let (status, text) = engine.post("query=INSERT+INTO+nowhere+FORMAT+CSV", vec![b'1'; 3 << 20]).await;
    assert!(status == 404 && text.contains("Code: 60."), "{status} {text}");
    assert_eq!(engine.text("SELECT count() FROM t").await, "0");
}
