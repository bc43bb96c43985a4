//! Atomics: the processor's, or loom's in a model run.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Loads with acquire semantics by a relaxed load and a fence: a relaxed load is the only atomic access that Rust
/// promises not to fault on a page mapped read-only.
#[inline(always)]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}
