//! Tests that load the whole machine take turns: two cores carry one product and one load, not several.

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits for this test's turn; it lasts as long as what is returned.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
