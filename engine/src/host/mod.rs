//! Hosting a shard on a glommio executor: one pinned thread, two task queues, sleep and wake.
//!
//! | queue | what runs in it |
//! |---|---|
//! | `dataplane` | the shard's turns (packets, QUIC, relay, housekeeping by its own interval) and what wakes them |
//! | `edge` | TCP: RTMP connections |

mod fd;
mod notify;

use std::cell::RefCell;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};
use tracing::{error, info};

use crate::EngineError;
use crate::edge::rtmp::{self, RtmpEdge, RtmpSettings};
use crate::shard::{Mailbox, Shard, ShardParts, Turn};

pub(crate) use fd::{clone_tcp, eventfd, hosted_listener, hosted_tcp};
pub(crate) use notify::Notify;

/// How often glommio interrupts a busy queue for the others when nothing else does. Its default of 100 ms would starve the
/// encoders' sockets; completions of theirs interrupt at once anyway, for their queue is latency-bound.
const PREEMPT_TIMER: Duration = Duration::from_millis(5);
/// glommio 0.9 parks an executor that still has runnable tasks when the preempt timer fires between its being armed and the
/// first look at the queues (a thread that was descheduled just then): no task ran, which it takes for having none. Only
/// an event wakes such an executor, so one timer is always armed. It costs 0.3 % of a core.
const GUARD_INTERVAL: Duration = Duration::from_millis(2);
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
    pub(crate) core: Option<usize>,
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
    let placement = settings.core.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(&format!("shard-{index}"))
        .preempt_timer(PREEMPT_TIMER)
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
    let notify = Notify::new();
    let executor = glommio::executor();
    let dataplane =
        executor.create_task_queue(Shares::Static(1000), Latency::Matters(Duration::from_micros(200)), "dataplane");
    let edge_queue =
        executor.create_task_queue(Shares::Static(200), Latency::Matters(Duration::from_millis(1)), "edge");

    let edge = RtmpEdge { shard: shard.clone(), notify: notify.clone(), settings: Rc::new(rtmp_settings) };
    let tasks = [
        glommio::spawn_local_into(rtmp::listen(edge.clone(), listener), edge_queue),
        glommio::spawn_local_into(watch_bell(mailbox.clone(), notify.clone()), dataplane),
        glommio::spawn_local_into(guard(), dataplane),
    ];
    for task in tasks {
        match task {
            Ok(task) => drop(task.detach()),
            Err(problem) => error!(shard = index, error = %problem, "a task queue is gone"),
        }
    }
    let rearm = Notify::new();
    if let Some(packets) = packets.filter(|_| poll == PollMode::Adaptive)
        && let Ok(task) = glommio::spawn_local_into(watch_packets(packets, notify.clone(), rearm.clone()), dataplane)
    {
        task.detach();
    }
    let turns = Turns { shard, notify, rearm, mailbox, stop, edge, edge_queue, poll };
    let Ok(task) = glommio::spawn_local_into(turns.run(), dataplane) else { return };
    info!(shard = index, ?poll, "shard runs");
    task.await;
}

/// Lets the shard turn until it is told to stop and has stopped.
struct Turns {
    shard: Rc<RefCell<Shard>>,
    notify: Rc<Notify>,
    rearm: Rc<Notify>,
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
                    self.sleep().await;
                    idle_since = None;
                }
            }
        }
    }

    /// Sleeps until something arrives or a timer is due. Whoever has work for this shard looks at its flag after making the
    /// work visible, and this looks for work after setting the flag: one of both sees the other.
    async fn sleep(&self) {
        self.mailbox.fall_asleep();
        let turn = self.shard.borrow_mut().turn(Instant::now());
        self.take_over_arrived();
        if let Turn::Idle(due) = turn {
            self.shard.borrow_mut().count_sleep();
            self.rearm.notify();
            let left = due.saturating_duration_since(Instant::now());
            self.notify.wait().or(glommio::timer::sleep(left)).await;
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

/// Turns rings of the door bell into wake-ups of this executor.
async fn watch_bell(mailbox: Arc<Mailbox>, notify: Rc<Notify>) {
    let bell = match mailbox.bell() {
        Ok(bell) => fd::hosted_file(bell),
        Err(problem) => return error!(error = %problem, "the shard has no door bell"),
    };
    loop {
        if let Err(problem) = bell.read_at(0, 8).await {
            return error!(error = %problem, "the shard's door bell broke");
        }
        notify.notify();
    }
}

/// Keeps a timer armed, see [`GUARD_INTERVAL`].
async fn guard() {
    loop {
        glommio::timer::sleep(GUARD_INTERVAL).await;
    }
}

/// Waits for a datagram without taking it, and wakes the shard; armed again each time the shard falls asleep.
async fn watch_packets(packets: UdpSocket, notify: Rc<Notify>, rearm: Rc<Notify>) {
    let packets = fd::hosted_udp(packets);
    let mut first_byte = [0u8; 1];
    loop {
        rearm.wait().await;
        // An error here (an ICMP message about an earlier packet) is a reason to look as well.
        let _ = packets.peek_from(&mut first_byte).await;
        notify.notify();
    }
}
