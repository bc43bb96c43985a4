//! Timers of one shard's edge tasks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What waits for a time, earliest first. Two sleeps may end at the same instant, so each has a number too.
#[derive(Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next: Cell<u64>,
}

impl Timers {
    /// A future that is ready from `deadline` on.
    pub(super) fn sleep_until(self: &Rc<Self>, deadline: Instant) -> Sleep {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        Sleep { timers: self.clone(), key: (deadline, number) }
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes everything whose time has come.
    pub(super) fn fire(&self, now: Instant) {
        while let Some(waker) = self.pop_due(now) {
            waker.wake();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// See [`Timers::sleep_until`].
pub(crate) struct Sleep {
    timers: Rc<Timers>,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        self.timers.waiting.borrow_mut().insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.waiting.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn sleeps_fire_once_in_order_and_leave_nothing_behind() {
        let timers = Rc::new(Timers::default());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut sleeps: Vec<_> =
            [2, 1, 1, 3].map(|hours| timers.sleep_until(start + hours * hour)).into_iter().collect();
        for sleep in &mut sleeps {
            assert!(Pin::new(sleep).poll(&mut context).is_pending());
        }
        assert_eq!(timers.next_deadline(), Some(start + hour));
        timers.fire(start + hour);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "both sleeps of one hour and no other");
        timers.fire(start + hour);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(timers.next_deadline(), Some(start + 2 * hour));
        drop(sleeps);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_time_that_has_come_does_not_wait() {
        let timers = Rc::new(Timers::default());
        let waker = Waker::from(Arc::new(Woken::default()));
        let mut sleep = timers.sleep_until(Instant::now());
        assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_ready());
        assert_eq!(timers.next_deadline(), None);
    }
}
