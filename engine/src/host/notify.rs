//! A wake-up call between tasks of one executor. Calls while nobody waits are remembered once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// One waiter, any number of callers, one thread.
#[derive(Default)]
pub(crate) struct Notify {
    called: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Notify {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Wakes the waiter, or lets the next wait return at once.
    pub(crate) fn notify(&self) {
        self.called.set(true);
        if let Some(waiter) = self.waiter.borrow_mut().take() {
            waiter.wake();
        }
    }

    /// Returns when called since the last return.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            if self.called.take() {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
