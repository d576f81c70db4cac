//! Start, lock, parent, stop.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Engine, Tweaks};

#[test]
fn a_missing_library_names_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let tweaks = Tweaks::default().with("TURNPIKE_ENGINE_LIB", "/nowhere/libchdb.so");
    let error = Engine::start_with(folder.path(), tweaks).err().unwrap();
    assert!(error.contains("TURNPIKE_ENGINE_LIB") && error.contains("make engine"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let tweaks = Tweaks::default().with("TURNPIKE_ENGINE_LIB", "").with("TURNPIKE_ENGINE_DIR", empty.path());
    let error = Engine::start_with(folder.path(), tweaks).err().unwrap();
    assert!(error.contains("run `make engine`"), "{error}");
    let other = empty.path().join("libchdb.so");
    std::fs::write(&other, "no library").unwrap();
    let error = Engine::start_with(folder.path(), Tweaks::default().with("TURNPIKE_ENGINE_LIB", &other))
        .err()
        .unwrap();
    assert!(error.contains("cannot be loaded") && error.contains("make engine"), "{error}");
}

#[tokio::test]
async fn a_second_process_waits_for_the_folder_or_says_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Engine::start(folder.path());
    let error =
        Engine::start_with(folder.path(), Tweaks::default().with("TURNPIKE_TEST_LOCK_WAIT_MS", "100"))
            .err()
            .unwrap();
    assert!(error.contains(&format!("in use by process {}", first.pid())), "{error}");
    first.text("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    first.text("INSERT INTO t VALUES (1)").await;
    let path = folder.path().to_owned();
    let second = std::thread::spawn(move || Engine::start(&path));
    first.terminate();
    assert!(first.wait(Duration::from_secs(10)).success());
    let second = second.join().unwrap();
    assert_eq!(second.text("SELECT a FROM t").await, "1");
}

#[tokio::test]
async fn a_running_statement_finishes_before_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(folder.path());
    let running = engine.client().query("SELECT 7 + sleep(1)").fetch_one::<u16>();
    let stop = async {
        while engine.text("SELECT count() FROM system.processes WHERE query LIKE '%sleep(1)%' AND query NOT LIKE '%processes%'").await == "0" {}
        engine.terminate();
    };
    let (answer, ()) = tokio::join!(running, stop);
    assert_eq!(answer.unwrap(), 7);
    assert!(engine.wait(Duration::from_secs(10)).success());
}

#[test]
fn the_engine_ends_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let tweaks = Tweaks::default().with("TURNPIKE_TEST_PARENT", parent.id().to_string());
    let mut engine = Engine::start_with(folder.path(), tweaks).unwrap();
    parent.kill().unwrap();
    // Not waited for yet: a parent that has ended counts as ended even before it is reaped.
    assert!(engine.wait(Duration::from_secs(10)).success());
    parent.wait().unwrap();
}
