//! A small number for each thread, by which what many threads write to is split.

use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// The calling thread's share of `shares`: threads rarely meet on one.
pub(crate) fn share(shares: usize) -> usize {
    MINE.with(|mine| *mine) % shares
}
