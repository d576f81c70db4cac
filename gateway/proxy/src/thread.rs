//! A small number for each thread, by which what many threads write to is split.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
}

/// The calling thread's share of `shares`: threads rarely meet on one.
pub(crate) fn share(shares: usize) -> usize {
    MINE.get() % shares
}

/// The calling thread's own of what is split.
pub(crate) fn own<T>(all: &[T]) -> &T {
    &all[share(all.len())]
}

/// Gives the calling thread this number: threads that take over from each other have the same.
pub(crate) fn number(number: usize) {
    MINE.set(number);
}
