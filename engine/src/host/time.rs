//! Timers of glommio, and how a task that never waits gives way to the reactor.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::future::yield_now;
use glommio::timer::Timer;
use glommio::{Task, TaskQueueHandle, spawn_local_into};

/// Over at the reactor's next look.
const SHORTEST: Duration = Duration::from_nanos(200);
/// Spare timers: how many, when each goes off first, and how often.
const SPARES: u64 = 3;
const SPARE_FIRST: Duration = Duration::from_millis(7);
const SPARE_APART: Duration = Duration::from_millis(200);
const SPARE_EVERY: Duration = Duration::from_millis(600);

/// Ends at `deadline`.
pub(crate) async fn sleep_until(deadline: Instant) {
    timer(deadline).await;
}

/// A timer that goes off at `deadline`.
pub(super) fn timer(deadline: Instant) -> Timer {
    Timer::new(deadline.saturating_duration_since(Instant::now()))
}

/// Has the reactor look at its rings, and every task that is ready by then polled once. To yield alone does not lead there: the
/// executor goes on with ready tasks, this one among them. What does is a timer that was pending once. Some 16 us.
pub(super) async fn pass() {
    let mut timer: Option<Timer> = None;
    poll_fn(|context| {
        if let Some(timer) = &mut timer {
            return Pin::new(timer).poll(context).map(drop);
        }
        loop {
            let mut fresh = Timer::new(SHORTEST);
            if Pin::new(&mut fresh).poll(context).is_pending() {
                timer = Some(fresh);
                return Poll::Pending;
            }
        }
    })
    .await;
    yield_now().await;
}

/// Timers that only see to it that the executor never sleeps for long: should it ever take itself for idle although tasks are
/// ready, it goes on when the next of them is over.
pub(super) fn spare_timers() -> Vec<Task<()>> {
    let spare = |number: u64| async move {
        let first = SPARE_FIRST + SPARE_APART.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        Timer::new(first).await;
        loop {
            Timer::new(SPARE_EVERY).await;
        }
    };
    (0..SPARES).filter_map(|number| spawn_local_into(spare(number), TaskQueueHandle::default()).ok()).collect()
}
