//! The allocator of all parts but the embedded engine.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives what is free back to the system at once.
#[expect(unsafe_code, reason = "a function of C; its crate has no other way to call it")]
pub fn give_back() {
    // SAFETY: it takes no pointer and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// No huge pages in this process and those that it starts: a part of one that is in use would hold all of it. Where the
/// system has none there is nothing to do.
pub fn small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
