//! Hosting a shard on a glommio executor: one pinned thread, two task queues, sleep and wake.
//!
//! | queue | what runs in it |
//! |---|---|
//! | `dataplane` | the shard's turns (packets, QUIC, relay, housekeeping by its own interval) and what wakes them |
//! | `edge` | TCP: RTMP connections |

mod fd;
mod nap;

use std::cell::RefCell;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};
use tracing::{error, info};

use crate::EngineError;
use crate::edge::rtmp::{self, RtmpEdge, RtmpSettings};
use crate::shard::{Mailbox, Shard, ShardParts, Turn};

pub(crate) use fd::{clone_tcp, eventfd, hosted_listener, hosted_tcp};
pub(crate) use nap::{Nap, Watch};

/// How often glommio interrupts a busy queue for the others when nothing else does. Its default of 100 ms would starve the
/// encoders' sockets; completions of theirs interrupt at once anyway, for their queue is latency-bound.
const PREEMPT_TIMER: Duration = Duration::from_millis(5);
/// glommio 0.9 looks at its preempt flag before it runs the first task of a round. When the flag is up already (any completion
/// in the latency ring raises it) no task runs, and the executor takes that for having none although tasks are runnable. It must
/// not park then, so it is told to poll for as long as this, and every timer that fires makes it look again. One timer may
/// have fired for a round that failed too and is armed again only by a round that runs, so there are several, out of step.
const POLL_BEFORE_PARK: Duration = Duration::from_secs(365 * 24 * 3600);
const GUARDS: u64 = 24;
const GUARD_INTERVAL_MIN_MS: u64 = 8;
/// How long an adaptive shard goes on looking before it sleeps: an acknowledgement of what was just sent is a few
/// microseconds away on a LAN, and a sleep and a wake cost more than that.
const SPIN_BEFORE_SLEEP: Duration = Duration::from_micros(50);
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
    pub(crate) poll: PollMode,
    pub(crate) core: usize,
    pub(crate) rtmp: RtmpSettings,
    pub(crate) listener: std::net::TcpListener,
    /// Another handle of the backend's socket, to sleep on.
    pub(crate) packets: Option<UdpSocket>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// A running shard's thread.
pub(crate) type ShardThread = glommio::ExecutorJoinHandle<()>;

/// Starts the thread of one shard. `make` runs on it, for a shard's parts stay on their thread.
pub(crate) fn spawn(
    index: usize,
    settings: HostSettings,
    make: impl FnOnce() -> Result<ShardParts, EngineError> + Send + 'static,
) -> Result<ShardThread, EngineError> {
    LocalExecutorBuilder::new(Placement::Fixed(settings.core))
        .name(&format!("shard-{index}"))
        .preempt_timer(PREEMPT_TIMER)
        .spin_before_park(POLL_BEFORE_PARK)
        .spawn(move || async move {
            match make() {
                Ok(parts) => run(parts, settings).await,
                Err(problem) => {
                    error!(shard = index, error = %problem, "the shard cannot start");
                    settings.stop.store(true, Ordering::Release);
                }
            }
        })
        .map_err(|problem| EngineError::Host { shard: index, detail: problem.to_string() })
}

async fn run(parts: ShardParts, settings: HostSettings) {
    let HostSettings { poll, rtmp: rtmp_settings, listener, packets, mailbox, stop, .. } = settings;
    let index = parts.shard;
    let shard = Rc::new(RefCell::new(Shard::new(parts, Instant::now())));
    let executor = glommio::executor();
    let dataplane =
        executor.create_task_queue(Shares::Static(1000), Latency::Matters(Duration::from_micros(200)), "dataplane");
    let edge_queue =
        executor.create_task_queue(Shares::Static(200), Latency::Matters(Duration::from_millis(1)), "edge");

    let bell = match mailbox.bell() {
        Ok(bell) => bell,
        Err(problem) => return error!(shard = index, error = %problem, "the shard has no door bell"),
    };
    let nap = Nap::new(packets, bell, listener.try_clone().ok());
    let edge = RtmpEdge { shard: shard.clone(), nap: nap.clone(), settings: Rc::new(rtmp_settings) };
    let tasks = [glommio::spawn_local_into(rtmp::listen(edge.clone(), listener), edge_queue)];
    for task in tasks {
        match task {
            Ok(task) => drop(task.detach()),
            Err(problem) => error!(shard = index, error = %problem, "a task queue is gone"),
        }
    }
    for guard in 0..GUARDS {
        let interval = Duration::from_millis(GUARD_INTERVAL_MIN_MS + 2 * guard);
        if let Ok(task) = glommio::spawn_local_into(keep_timer_armed(interval), dataplane) {
            task.detach();
        }
    }
    let turns = Turns { shard, nap, mailbox, stop, edge, edge_queue, poll };
    let Ok(task) = glommio::spawn_local_into(turns.run(), dataplane) else { return };
    info!(shard = index, ?poll, "shard runs");
    task.await;
}

/// Lets the shard turn until it is told to stop and has stopped.
struct Turns {
    shard: Rc<RefCell<Shard>>,
    nap: Rc<Nap>,
    mailbox: Arc<Mailbox>,
    stop: Arc<AtomicBool>,
    edge: RtmpEdge,
    edge_queue: glommio::TaskQueueHandle,
    poll: PollMode,
}

impl Turns {
    async fn run(self) {
        let mut idle_since: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if self.stop.load(Ordering::Acquire) {
                self.shard.borrow_mut().stop(STOP_PATIENCE);
            }
            let turn = self.shard.borrow_mut().turn(now);
            self.take_over_arrived();
            match turn {
                Turn::Stopped => return,
                Turn::Busy => {
                    idle_since = None;
                    glommio::executor().yield_if_needed().await;
                }
                Turn::Idle(_) if self.poll == PollMode::Busy => glommio::executor().yield_now().await,
                Turn::Idle(_) if now.duration_since(*idle_since.get_or_insert(now)) < SPIN_BEFORE_SLEEP => {
                    glommio::executor().yield_now().await;
                }
                Turn::Idle(_) => {
                    // No spinning after a nap that brought nothing: only work makes more work likely.
                    self.sleep();
                    glommio::executor().yield_now().await;
                }
            }
        }
    }

    /// Sleeps until something arrives or a timer is due. Whoever has work for this shard looks at its flag after making the
    /// work visible, and this looks for work after setting the flag: one of both sees the other.
    fn sleep(&self) {
        self.mailbox.fall_asleep();
        let turn = self.shard.borrow_mut().turn(Instant::now());
        self.take_over_arrived();
        if let Turn::Idle(due) = turn {
            self.shard.borrow_mut().count_sleep();
            self.nap.until(due);
        }
        self.mailbox.awake();
    }

    fn take_over_arrived(&self) {
        let arrived = self.shard.borrow_mut().take_arrived();
        for encoder in arrived {
            let edge = self.edge.clone();
            let start = async move { rtmp::take_over(edge, encoder) };
            if let Ok(task) = glommio::spawn_local_into(start, self.edge_queue) {
                task.detach();
            }
        }
    }
}

/// One of the timers that end false idleness, see [`POLL_BEFORE_PARK`].
async fn keep_timer_armed(interval: Duration) {
    loop {
        glommio::timer::sleep(interval).await;
    }
}
