//! Memory that parsing BTF takes for some milliseconds, 18 MB, and that the C library's allocator would keep for ever.
//!
//! Nothing here can fail, or changes what a program does; with another C library it does nothing.

/// To be called before: what is freed at the end of a heap is given back from 128 KiB on. Otherwise the first large block that
/// is freed, the types themselves, raises that to tens of MiB, and [`give_back`] does not reach the ends of heaps of threads.
pub fn hold_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator's, and is called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

/// To be called after: free pages between those in use go back to the kernel.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it only returns free pages to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}
