//! Brings the store to the newest schema, and says when the service is ready.
//!
//! The store may be away at any time: then the service waits, gateways keep their segments, and traffic does not notice.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::dock::Dock;
use crate::migrate::{self, MigrateError};
use crate::store::Store;

/// Wait between attempts and between looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether the service can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It can.
    Ready,
    /// It cannot, and why.
    Waiting(String),
}

/// Starts the task.
pub(crate) fn start(
    options: Options,
    store: Store,
    dock: Dock,
    shutdown: CancellationToken,
) -> (watch::Receiver<Readiness>, tokio::task::JoinHandle<()>) {
    let (say, ready) = watch::channel(Readiness::Waiting("the store was not asked yet".into()));
    let task = tokio::spawn(async move {
        let work = async {
            let empty = prepare(&options, &store, &say).await;
            // A table that was not there when this process started cannot have an insert of an earlier one.
            if options.fresh_store || empty {
                // The dock is gone only when the process is going down.
                let _ = dock.fence().await;
            }
            watch(&store, &say).await;
        };
        tokio::select! { () = work => {}, () = shutdown.cancelled() => {} }
    });
    (ready, task)
}

/// Whether there was no table of records before.
async fn prepare(options: &Options, store: &Store, say: &watch::Sender<Readiness>) -> bool {
    let (mut last, mut empty) = (String::new(), None);
    loop {
        let done = prepare_once(options, store, &mut empty).await;
        let Err(why) = done else { return empty == Some(true) };
        if why != last {
            tracing::warn!(why, "not ready");
            last.clone_from(&why);
        }
        say.send_replace(Readiness::Waiting(why));
        tokio::time::sleep(PAUSE).await;
    }
}

async fn prepare_once(options: &Options, store: &Store, empty: &mut Option<bool>) -> Result<(), String> {
    if empty.is_none() {
        *empty = Some(migrate::is_empty(store).await.map_err(|error| error.to_string())?);
    }
    if options.migrate { apply(options, store).await } else { check(store).await }
}

async fn apply(options: &Options, store: &Store) -> Result<(), String> {
    migrate::apply(store).await.map_err(|error| error.to_string())?;
    migrate::set_retention(store, options.retention_days).await.map_err(|error| error.to_string())
}

async fn check(store: &Store) -> Result<(), String> {
    let found = migrate::version(store).await.map_err(|error: MigrateError| error.to_string())?;
    let known = migrate::MIGRATIONS.len() as u32;
    if found == known {
        Ok(())
    } else {
        Err(format!("schema version is {found}, not {known}: run `turnpike migrate`"))
    }
}

async fn watch(store: &Store, say: &watch::Sender<Readiness>) {
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(rename = "one")]
        _one: u8,
    }
    loop {
        let found = store.rows_of::<One>("SELECT toUInt8(1) AS one").await;
        let now = match found {
            Ok(_) => Readiness::Ready,
            Err(error) => Readiness::Waiting(error.to_string()),
        };
        say.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::info!(readiness = ?now, "readiness changed");
                *before = now;
            }
            changed
        });
        tokio::time::sleep(PAUSE * 4).await;
    }
}
