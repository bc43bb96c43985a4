//! A wake-up from outside, every few milliseconds.
//!
//! glommio 0.9 looks at its preempt flag before it runs the first task of a round. When the flag is up already (any completion in
//! the latency ring raises it) no task runs, and the executor takes that for having none: it polls for events, or parks, although
//! tasks are runnable, and goes on for ever when no event is due. A wake from another thread ends that state whatever the tasks'
//! own state is, so a small thread a shard gives one regularly. It costs about 0.1 % of a core.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

/// The longest that a shard can be stuck.
const INTERVAL: Duration = Duration::from_millis(2);

/// Where the shard leaves the waker that the thread calls.
pub(super) type Slot = Arc<Mutex<Option<Waker>>>;

/// Starts the thread; it ends when the shard's executor has dropped the slot.
pub(super) fn start(shard: usize) -> Slot {
    let slot = Slot::default();
    let shared = Arc::downgrade(&slot);
    let thread = std::thread::Builder::new().name(format!("pulse-{shard}"));
    if let Err(problem) = thread.spawn(move || beat(&shared)) {
        tracing::error!(shard, error = %problem, "the shard has no pulse and may stall");
    }
    slot
}

fn beat(slot: &Weak<Mutex<Option<Waker>>>) {
    while let Some(slot) = slot.upgrade() {
        if let Some(waker) = slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            waker.wake_by_ref();
        }
        drop(slot);
        std::thread::sleep(INTERVAL);
    }
}

/// Never ends: keeps the current waker in the slot.
pub(super) async fn listen(slot: Slot) {
    poll_fn(|context| {
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}
