//! What passes between the edge's tasks and the shard's turn, all on one thread.
//!
//! ```text
//!   edge task polled --> kicks: the shard turns next        slice used up --> waits for the next one
//!          ^                                                                        |
//!          '------------ after the turn: the next slice, and whoever waits for it <-'
//! ```

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long edge tasks may run between two turns.
const SLICE: Duration = Duration::from_micros(200);

/// The gate of one shard.
#[derive(Default)]
pub(super) struct Gate {
    /// An edge task has run since the turn looked last.
    kicked: Cell<bool>,
    /// The data plane, while it waits.
    turner: RefCell<Option<Waker>>,
    /// When the first task of this slice began.
    slice_began: Cell<Option<Instant>>,
    /// Tasks that wait for the next slice.
    deferred: RefCell<Vec<Waker>>,
    /// Time of edge tasks that was not counted yet.
    spent: Cell<Duration>,
    #[cfg(test)]
    pub(super) observer: RefCell<Option<Box<dyn FnMut()>>>,
}

impl Gate {
    /// There is work for a turn, or for a task that was just started.
    pub(super) fn kick(&self) {
        self.kicked.set(true);
        if let Some(turner) = self.turner.borrow_mut().take() {
            turner.wake();
        }
    }

    /// Whether it was kicked, not taken back.
    pub(super) fn is_kicked(&self) -> bool {
        self.kicked.get()
    }

    /// Whether it was kicked since this was asked last.
    pub(super) fn take_kick(&self) -> bool {
        self.kicked.take()
    }

    /// Who is woken by the next kick; nobody for `None`.
    pub(super) fn set_turner(&self, waker: Option<Waker>) {
        *self.turner.borrow_mut() = waker;
    }

    /// Whether a task may be polled in this slice.
    pub(super) fn may_run(&self, now: Instant) -> bool {
        let began = self.slice_began.get().unwrap_or(now);
        self.slice_began.set(Some(began));
        now.saturating_duration_since(began) < SLICE
    }

    /// Wakes a task in the next slice.
    pub(super) fn defer(&self, waker: Waker) {
        self.deferred.borrow_mut().push(waker);
        self.kick();
    }

    /// A task was polled for so long.
    pub(super) fn ran(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
        #[cfg(test)]
        if let Some(observer) = self.observer.borrow_mut().as_mut() {
            observer();
        }
        self.kick();
    }

    /// Begins the next slice.
    pub(super) fn next_slice(&self) {
        self.slice_began.set(None);
        let deferred = std::mem::take(&mut *self.deferred.borrow_mut());
        deferred.into_iter().for_each(Waker::wake);
    }

    /// What edge tasks took and was not counted yet.
    pub(super) fn spent(&self) -> Duration {
        self.spent.get()
    }

    /// The same, counted from now on.
    pub(super) fn take_spent(&self) -> Duration {
        self.spent.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_slice_ends_for_all_tasks_and_begins_again_after_the_turn() {
        let (gate, woken, start) = (Gate::default(), Arc::new(Woken::default()), Instant::now());
        assert!(gate.may_run(start));
        assert!(gate.may_run(start + SLICE / 2));
        assert!(!gate.may_run(start + SLICE));
        gate.defer(woken.clone().into());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        gate.next_slice();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(gate.may_run(start + 2 * SLICE));
    }

    #[test]
    fn a_kick_wakes_the_turner_once_and_is_kept_for_one_that_does_not_wait() {
        let (gate, woken) = (Gate::default(), Arc::new(Woken::default()));
        gate.set_turner(Some(woken.clone().into()));
        gate.ran(Duration::from_micros(3));
        gate.ran(Duration::from_micros(4));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(gate.take_spent(), Duration::from_micros(7));
        assert!(gate.is_kicked() && gate.take_kick() && !gate.take_kick());
    }
}
