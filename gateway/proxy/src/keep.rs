//! What was served last, kept on disk for the next start, beside the work of serving.
//!
//! In: each snapshot that is served. Out: the newest of them in the state directory, at most one in a second: whoever gives
//! them has it anyway. Then memory that the change needed for a moment goes back to the system.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_snapshot::Snapshot;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::source::StateDir;

/// Between two snapshots that are kept.
const BETWEEN: Duration = Duration::from_secs(1);

/// The newest snapshot that is not kept yet.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    told: Notify,
}

impl Newest {
    /// This one, instead of what has not been kept so far.
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>) {
        *self.lock() = Some(snapshot);
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes it, if there is one.
    fn write(&self, state: &StateDir) {
        let Some(snapshot) = self.lock().take() else { return };
        let json = serde_json::to_vec(&*snapshot).expect("snapshots have string keys only");
        if let Err(error) = state.keep(&json) {
            tracing::error!(%error, "the snapshot is served but not kept for the next start");
        }
    }
}

/// Keeps what comes until `stop`, and then what has come last.
pub(crate) async fn keep(newest: Arc<Newest>, state: StateDir, give_back: fn(), stop: CancellationToken) {
    loop {
        tokio::select! {
            () = newest.told.notified() => {}
            () = stop.cancelled() => return newest.write(&state),
        }
        tokio::task::block_in_place(|| {
            newest.write(&state);
            give_back();
        });
        let _ = tokio::time::timeout(BETWEEN, stop.cancelled()).await;
    }
}
