//! The edge's tasks: glommio tasks that keep to the slices of the [`Gate`] and end with the shard.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use glommio::{Task, TaskQueueHandle, spawn_local_into};

use super::gate::Gate;

/// What runs beside the turn of one shard.
#[derive(Default)]
struct Tasks {
    next: Cell<u64>,
    running: RefCell<HashMap<u64, Task<()>>>,
    /// Tasks that have ended and stand in `running` still: a task cannot give its own handle away while it is polled.
    ended: RefCell<Vec<u64>>,
}

/// Lets the edge's tasks start more tasks on their thread.
#[derive(Clone)]
pub(crate) struct Spawner {
    gate: Rc<Gate>,
    tasks: Rc<Tasks>,
}

impl Spawner {
    pub(super) fn new(gate: Rc<Gate>) -> Self {
        Self { gate, tasks: Rc::default() }
    }

    /// Starts a task; it ends with the shard's thread at the latest. All tasks stand in one queue with the turn, first come first
    /// served: glommio shares time between queues, and a shard decides itself how much its edge may have.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let id = self.tasks.next.get();
        self.tasks.next.set(id.wrapping_add(1));
        let task = EdgeTask { id, gate: self.gate.clone(), tasks: self.tasks.clone(), task: Box::pin(task) };
        // The queue that every executor has.
        if let Ok(task) = spawn_local_into(task, TaskQueueHandle::default()) {
            self.tasks.running.borrow_mut().insert(id, task);
            self.gate.kick();
        }
    }

    /// Forgets tasks that have ended.
    pub(crate) fn sweep(&self) {
        let ended = std::mem::take(&mut *self.tasks.ended.borrow_mut());
        let mut running = self.tasks.running.borrow_mut();
        for id in ended {
            running.remove(&id);
        }
    }

    /// Ends every task, in no order.
    pub(crate) async fn end_all(&self) {
        self.sweep();
        let running = std::mem::take(&mut *self.tasks.running.borrow_mut());
        for task in running.into_values() {
            task.cancel().await;
        }
    }
}

struct EdgeTask {
    id: u64,
    gate: Rc<Gate>,
    tasks: Rc<Tasks>,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for EdgeTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let began = Instant::now();
        if !self.gate.may_run(began) {
            self.gate.defer(context.waker().clone());
            return Poll::Pending;
        }
        let polled = self.task.as_mut().poll(context);
        self.gate.ran(began.elapsed());
        if polled.is_ready() {
            self.tasks.ended.borrow_mut().push(self.id);
        }
        polled
    }
}
