//! Waiting for conditions.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`, at most for `deadline`.
///
/// # Panics
/// With the last answer when the time is over.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) if Instant::now() > end => panic!("{what}: not within {deadline:?}: {error:?}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Waits until `condition` holds, at most for `deadline`.
///
/// # Panics
/// When the time is over.
pub fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {deadline:?}");
        std::thread::sleep(POLL);
    }
}
