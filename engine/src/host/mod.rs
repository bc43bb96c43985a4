//! Hosting a shard: one pinned thread that turns it, runs the edge's tasks between turns, and sleeps when both are idle.
//!
//! ```text
//!   turn(now) -> Busy ------------> edge tasks that are ready, for EDGE_SLICE at most -> turn
//!             '-> Idle(due) ------> the same; after work: nap, packets gather -> turn
//!                                             nothing: sleep in epoll until packet, bell, socket or timer
//! ```
//!
//! The thread owns its loop instead of running inside an executor's, for the packet path must never depend on whether an
//! executor finds its tasks runnable; the executor of the edge (TCP: RTMP connections) is asked to run tasks one at a time.

mod reactor;
mod tcp;
mod timers;

#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::{error, info, warn};

use crate::EngineError;
use crate::edge::door::Door;
use crate::edge::rtmp::{self, RtmpEdge, RtmpSettings};
use crate::shard::{Mailbox, Shard, ShardParts, Turn, Waiting};

pub(crate) use reactor::{Hosted, Reactor};
pub(crate) use tcp::{host_listener, host_stream};

/// How often a busy shard looks for readiness of the edge's sockets: a system call that costs a fraction of a percent then.
const EDGE_LOOK_INTERVAL: Duration = Duration::from_micros(100);
/// How long edge tasks may run between two turns.
const EDGE_SLICE: Duration = Duration::from_micros(200);
/// How long sessions may take to leave when the engine stops.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

/// How a shard spends its idle time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Sleeps when idle, woken by packets, encoders, other shards and timers.
    Adaptive,
    /// Never sleeps: one core for the lowest latency.
    Busy,
}

/// What a shard's thread needs besides the shard.
pub(crate) struct HostSettings {
    pub(crate) rtmp: RtmpSettings,
    pub(crate) listener: std::net::TcpListener,
    /// Other handles of the backend's sockets, to sleep on.
    pub(crate) packets: Vec<OwnedFd>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// A running shard's thread.
pub(crate) type ShardThread = JoinHandle<Result<(), EngineError>>;

/// Starts the thread of one shard. `make` runs on it, for a shard's parts stay on their thread.
pub(crate) fn spawn(
    index: usize,
    settings: HostSettings,
    make: impl FnOnce() -> Result<ShardParts, EngineError> + Send + 'static,
) -> Result<ShardThread, EngineError> {
    std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || {
            pin(index);
            let stop = settings.stop.clone();
            let ended = make().and_then(|parts| Host::new(parts, settings)).and_then(Host::run);
            if let Err(problem) = &ended {
                error!(shard = index, error = %problem, "the shard ends");
                stop.store(true, Ordering::Release);
            }
            ended
        })
        .map_err(|problem| EngineError::Host { shard: index, detail: problem.to_string() })
}

/// Pins this thread to one of the cores that the process may use; with more shards than cores they share.
fn pin(index: usize) {
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let mut own = CpuSet::new();
        if let Some(core) = index.checked_rem(cores.len()).and_then(|nth| cores.get(nth)) {
            own.set(*core);
        }
        sched_setaffinity(None, &own)
    });
    if let Err(error) = pinned {
        warn!(shard = index, %error, "the shard is not pinned to a core");
    }
}

/// Lets the edge's tasks start more tasks on their thread.
#[derive(Clone)]
pub(crate) struct Spawner(Weak<LocalExecutor<'static>>);

impl Spawner {
    /// Starts a task; it ends with the shard's thread at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

/// The loop of one shard's thread.
struct Host {
    shard: Rc<RefCell<Shard>>,
    executor: Rc<LocalExecutor<'static>>,
    reactor: Rc<Reactor>,
    edge: RtmpEdge,
    mailbox: Arc<Mailbox>,
    stop: Arc<AtomicBool>,
    looked: Instant,
}

impl Host {
    fn new(parts: ShardParts, settings: HostSettings) -> Result<Self, EngineError> {
        let HostSettings { rtmp: rtmp_settings, listener, packets, mailbox, stop } = settings;
        let index = parts.shard;
        let io_error =
            |source| EngineError::Socket { action: "watch the sockets", address: format!("shard {index}"), source };
        let now = Instant::now();
        let bell = mailbox.bell().map_err(io_error)?;
        let reactor = Reactor::new(packets, bell).map_err(io_error)?;
        let listener = host_listener(&reactor, listener).map_err(io_error)?;
        let shard = Rc::new(RefCell::new(Shard::new(parts, now)));
        let executor = Rc::new(LocalExecutor::new());
        let spawner = Spawner(Rc::downgrade(&executor));
        let door = Door::new(rtmp_settings.places);
        let settings = Rc::new(rtmp_settings);
        let edge = RtmpEdge { shard: shard.clone(), reactor: reactor.clone(), spawner, settings, door };
        executor.spawn(rtmp::listen(edge.clone(), listener)).detach();
        info!(shard = index, poll = ?shard.borrow().waiting().poll, "shard runs");
        Ok(Self { shard, executor, reactor, edge, mailbox, stop, looked: now })
    }

    /// Turns the shard until it is told to stop and has stopped, or cannot go on.
    fn run(mut self) -> Result<(), EngineError> {
        let mut idle_since: Option<Instant> = None;
        let mut worked = false;
        loop {
            let now = Instant::now();
            if self.stop.load(Ordering::Acquire) {
                self.shard.borrow_mut().stop(STOP_PATIENCE);
            }
            let turn = self.turn(now);
            let edge_busy = self.edge_step(now);
            let due = match turn {
                Turn::Stopped => return self.shard.borrow_mut().take_failure().map_or(Ok(()), Err),
                Turn::Idle(due) if !edge_busy => due,
                Turn::Busy | Turn::Idle(_) => {
                    (idle_since, worked) = (None, true);
                    continue;
                }
            };
            let Waiting { poll, spin, nap } = self.shard.borrow().waiting();
            // No spinning and no nap after a sleep that brought nothing: only work makes more work likely.
            let spun = now.duration_since(*idle_since.get_or_insert(now)) >= spin;
            if !spun || poll == PollMode::Busy {
                continue;
            }
            if std::mem::take(&mut worked) && !nap.is_zero() {
                self.nap(due.min(now + nap));
            } else {
                self.sleep();
            }
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        let turn = self.shard.borrow_mut().turn(now);
        // Taking over borrows the shard itself.
        let arrived = self.shard.borrow_mut().take_arrived();
        for encoder in arrived {
            rtmp::take_over(&self.edge, encoder);
        }
        turn
    }

    /// Runs edge tasks that are ready. True when there was one.
    fn edge_step(&mut self, now: Instant) -> bool {
        if now.duration_since(self.looked) >= EDGE_LOOK_INTERVAL {
            self.looked = now;
            self.reactor.look(now);
        }
        let mut since_turn = None;
        while self.executor.try_tick() {
            let elapsed = *since_turn.insert(now.elapsed());
            if elapsed > EDGE_SLICE {
                break;
            }
        }
        if let Some(since_turn) = since_turn {
            self.shard.borrow_mut().count_edge(since_turn);
        }
        since_turn.is_some()
    }

    /// Lets packets gather until `due`. Work of another shard that came with the last turn waits as long; later one rings.
    fn nap(&mut self, due: Instant) {
        self.mailbox.fall_asleep();
        let asleep = Instant::now();
        self.reactor.nap(due);
        self.shard.borrow_mut().count_sleep(asleep.elapsed());
        self.mailbox.awake();
    }

    /// Sleeps until something arrives or a timer is due. Whoever has work for this shard looks at its flag after making the
    /// work visible, and this looks for work after setting the flag: one of both sees the other.
    fn sleep(&mut self) {
        self.mailbox.fall_asleep();
        let turn = self.turn(Instant::now());
        // The turn may have started a task, which must not wait for the sleep's end.
        let edge_busy = self.executor.try_tick();
        if let (Turn::Idle(due), false) = (turn, edge_busy) {
            let asleep = Instant::now();
            self.reactor.sleep(due);
            self.shard.borrow_mut().count_sleep(asleep.elapsed());
        }
        self.mailbox.awake();
    }
}
