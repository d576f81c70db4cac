//! What is let in.

use crate::process::{Engine, Tweaks};

#[tokio::test]
async fn one_statement_at_a_time_and_none_that_reaches_files_or_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    engine.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let outside = folder.path().join("out.csv");
    let outfile = format!("SELECT 1 INTO OUTFILE '{}'", outside.display());
    for sql in [
        "SELECT 1; DROP TABLE t",
        "SELECT 1\n\n;\n\nDROP TABLE t",
        "DROP TABLE t; SELECT 1",
        "SELECT 1 PARALLEL WITH DROP TABLE t",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
        "INSERT INTO FUNCTION file('/tmp/turnpike-x.csv') SELECT 1",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "CREATE TABLE f (a String) ENGINE = File(CSV)",
        "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(FILE(PATH '/etc/passwd' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(1)",
        "CREATE USER u",
        "ATTACH TABLE u FROM '/etc' (a UInt64) ENGINE = MergeTree ORDER BY a",
        "SYSTEM SHUTDOWN",
        "BACKUP DATABASE default TO File('/tmp/turnpike-x.zip')",
        &outfile,
    ] {
        let (status, text) = engine.ask(sql).await;
        assert!((400..=501).contains(&status) && text.starts_with("Code: "), "{sql}: {status} {text}");
    }
    assert_eq!(engine.text("EXISTS t").await, "1");
    assert!(!outside.exists());
}

#[tokio::test]
async fn functions_and_formats_that_need_no_grant_reach_only_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "hidden ${data} words").unwrap();
    let secret = secret.display();
    let engine = Engine::start(folder.path());
    engine.text("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a").await;
    for sql in [
        format!("SELECT file('{secret}')"),
        format!("SELECT `fi\\x6ce`('{secret}')"),
        format!("SELECT * APPLY file FROM (SELECT '{secret}')"),
        format!("SELECT arrayMap(file, ['{secret}'])"),
        format!("SELECT * FROM format(Values, 'a String', '(file(''{secret}''))')"),
        format!("INSERT INTO t VALUES (file('{secret}'))"),
        format!("SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'"),
        "SELECT file('/proc/self/environ')".to_owned(),
        "SELECT file('/etc/passwd')".to_owned(),
    ] {
        let (status, text) = engine.ask(&sql).await;
        assert!((400..=501).contains(&status) && text.starts_with("Code: "), "{sql}: {status} {text}");
        assert!(!text.contains("hidden"), "{sql}: {text}");
    }
    assert_eq!(engine.text("SELECT count() FROM t").await, "0");
}

#[tokio::test]
async fn tokens_decide_who_writes_and_who_reads() {
    let folder = tempfile::tempdir().unwrap();
    let tweaks =
        Tweaks::default().with("TURNPIKE_TEST_TOKEN", "write").with("TURNPIKE_TEST_READ_TOKEN", "read");
    let engine = Engine::start_with(folder.path(), tweaks).unwrap();
    let create = "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a";
    assert_eq!(engine.ask("SELECT 1").await.0, 401);
    assert_eq!(
        engine
            .client()
            .with_password("write")
            .query(create)
            .execute()
            .await
            .map_err(|error| error.to_string()),
        Ok(())
    );
    let reader = engine.client().with_access_token("read");
    assert_eq!(reader.query("SELECT count() FROM t").fetch_one::<u64>().await.unwrap(), 0);
    for sql in [
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        "INSERT INTO t SELECT 1",
        "SET max_threads = 1",
        "KILL QUERY WHERE 1",
    ] {
        let error = reader.query(sql).execute().await.unwrap_err().to_string();
        assert!(error.contains("Code: 164.") || error.contains("Code: 497."), "{sql}: {error}");
    }
    assert_eq!(engine.post("password=wrong", b"SELECT 1".to_vec()).await.0, 403);
    assert_eq!(reqwest::get(format!("{}ping", engine.url())).await.unwrap().text().await.unwrap(), "Ok.\n");
}

#[tokio::test]
async fn pages_and_gets_do_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path());
    let get = |sql: &str| reqwest::get(format!("{}?query={sql}", engine.url()));
    assert_eq!(get("SELECT+1").await.unwrap().text().await.unwrap(), "1\n");
    assert_eq!(get("CREATE+DATABASE+x").await.unwrap().status(), 403);
    let page =
        reqwest::Client::new().post(engine.url()).header("origin", "https://example.com").body("SELECT 1");
    assert_eq!(page.send().await.unwrap().status(), 403);
    assert_eq!(engine.post("session_id=s", b"SELECT 1".to_vec()).await.0, 501);
    assert_eq!(engine.post("query=SELECT+1", b"+1".to_vec()).await.0, 400);
    assert_eq!(engine.post("nonsense=1", b"SELECT 1".to_vec()).await.0, 404);
    assert_eq!(engine.ask("").await, (200, "Ok.\n".into()));
}
