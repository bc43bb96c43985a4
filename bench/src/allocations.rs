//! Counts what this program allocates, thread by thread: a measurement tells how many allocations a packet took.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a counter in front.
struct Counting;

fn count() {
    // A thread that is about to end has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
}

// SAFETY: every call goes to the system's allocator as it came; the counter is thread-local and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations (and growths of one) that this thread made so far.
pub fn of_this_thread() -> u64 {
    COUNT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_and_growths_of_this_thread_alone_are_counted() {
        let before = of_this_thread();
        let mut kept: Vec<u8> = std::hint::black_box(Vec::with_capacity(100));
        assert_eq!(of_this_thread() - before, 1);
        kept.extend_from_slice(&[1; 100]);
        assert_eq!(of_this_thread() - before, 1);
        kept.reserve(1_000);
        assert_eq!(of_this_thread() - before, 2);
        std::thread::scope(|scope| {
            let before = of_this_thread();
            scope.spawn(|| std::hint::black_box(vec![0; 10_000])).join().unwrap();
            let here = of_this_thread() - before;
            assert!(here < 100, "{here}");
        });
    }
}
