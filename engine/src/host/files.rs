//! Files of a shard: written by the blocking thread of its executor, one batch after the other, while the shard goes on.
//!
//! When that thread is done it raises glommio's preempt flag, and no task with it. An executor that has fetched the result by
//! then may take itself for idle (glommio 0.9) and sleep until its next timer. So as long as a batch is out there is a timer that
//! is never far.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use glommio::timer::Timer;
use glommio::{TaskQueueHandle, executor, spawn_local_into};

use super::gate::Gate;
use crate::broadcast::FileWork;

/// Longest sleep while a batch is out.
const GUARD: Duration = Duration::from_millis(1);

/// The files of one shard.
pub(super) struct Files {
    gate: Rc<Gate>,
    /// A batch is out.
    out: Rc<Cell<bool>>,
}

impl Files {
    pub(super) fn new(gate: Rc<Gate>) -> Self {
        Self { gate, out: Rc::default() }
    }

    /// Whether the next batch may be given.
    pub(super) fn is_free(&self) -> bool {
        !self.out.get()
    }

    /// Has a batch carried out, in its order. The gate is kicked when it is.
    pub(super) fn carry_out(&self, batch: Vec<FileWork>) {
        if batch.is_empty() {
            return;
        }
        let (gate, out) = (self.gate.clone(), self.out.clone());
        out.set(true);
        let work = async move {
            guarded(executor().spawn_blocking(move || batch.into_iter().for_each(FileWork::carry_out))).await;
            out.set(false);
            gate.kick();
        };
        if let Ok(task) = spawn_local_into(work, TaskQueueHandle::default()) {
            task.detach();
        }
    }
}

/// Awaits something of the blocking thread.
pub(super) async fn guarded<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut guard = Timer::new(GUARD);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        while Pin::new(&mut guard).poll(context).is_ready() {
            guard = Timer::new(GUARD);
        }
        Poll::Pending
    })
    .await
}
