//! The data plane's task: it turns the shard for as long as there is work, lets the edge's tasks run between turns, and waits
//! when both are idle.
//!
//! ```text
//!   turn -> Busy -----> edge tasks that are ready, a slice at most; the reactor once a millisecond -> turn
//!        '-> Idle(due): after work, nap: packets gather -> turn
//!                       else wait: packet, bell, edge task, or the time that is due -> turn
//! ```
//!
//! This task never waits for anything that glommio could forget: see [`super::time::pass`] and [`super::files`].

use std::cell::RefCell;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::future::yield_now;
use glommio::{Task, executor};
use rustix::event::Timespec;
use rustix::event::epoll;
use tracing::info;

use super::files::Files;
use super::gate::Gate;
use super::tasks::Spawner;
use super::time::{pass, spare_timers, timer};
use super::watch::{Watch, set_of};
use super::{HostSettings, PollMode};
use crate::EngineError;
use crate::edge::Edge;
use crate::shard::{Mailbox, Shard, ShardParts, Turn, Waiting};

/// A busy shard lets the reactor look at its rings so often, and at once when the latency ring says that a peer of the edge has
/// sent. A look costs some 16 us.
const PASS_INTERVAL: Duration = Duration::from_millis(1);
/// Longest wait when there is no descriptor left to wait with.
const BLIND_WAIT: Duration = Duration::from_millis(1);
/// How long sessions may take to leave when the engine stops.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

/// What a shard waits with. Made before the rights for it are given up.
pub(super) struct Descriptors {
    /// Packets and the bell.
    arrivals: OwnedFd,
    /// The bell alone.
    nap: OwnedFd,
    bell: File,
    _packets: Vec<OwnedFd>,
}

impl Descriptors {
    pub(super) fn new(packets: Vec<OwnedFd>, mailbox: &Mailbox) -> std::io::Result<Self> {
        let bell = mailbox.bell()?;
        let mut all: Vec<&dyn AsFd> = vec![&bell];
        for packets in &packets {
            all.push(packets);
        }
        Ok(Self { arrivals: set_of(&all)?, nap: set_of([&bell])?, bell, _packets: packets })
    }
}

/// The data plane of one shard.
pub(super) struct DataPlane {
    pub(super) shard: Rc<RefCell<Shard>>,
    pub(super) edge: Edge,
    pub(super) gate: Rc<Gate>,
    files: Files,
    arrivals: Watch,
    nap: OwnedFd,
    bell: File,
    _packets: Vec<OwnedFd>,
    mailbox: Arc<Mailbox>,
    stop: Arc<AtomicBool>,
    /// When the reactor had its last look.
    passed: Instant,
    /// Edge tasks may have asked the reactor for something since.
    asked: bool,
    spares: Vec<Task<()>>,
}

impl DataPlane {
    /// Of a shard whose executor runs on this thread. The edge listens afterwards.
    pub(super) fn new(
        parts: ShardParts,
        descriptors: Descriptors,
        settings: HostSettings,
    ) -> Result<Self, EngineError> {
        let HostSettings { edge, sockets, mailbox, stop, .. } = settings;
        let Descriptors { arrivals, nap, bell, _packets } = descriptors;
        let index = parts.shard;
        let now = Instant::now();
        let shard = Rc::new(RefCell::new(Shard::new(parts, now)));
        let gate = Rc::new(Gate::default());
        let edge = Edge::start(&shard, Spawner::new(gate.clone()), edge, sockets)?;
        info!(shard = index, poll = ?shard.borrow().waiting().poll, "shard runs");
        Ok(Self {
            shard,
            edge,
            files: Files::new(gate.clone()),
            gate,
            arrivals: Watch::new(arrivals),
            nap,
            bell,
            _packets,
            mailbox,
            stop,
            passed: now,
            asked: true,
            spares: Vec::new(),
        })
    }

    /// Has spare timers beside it: see [`spare_timers`].
    pub(super) fn with_spares(mut self) -> Self {
        self.spares = spare_timers();
        self
    }

    /// Turns the shard until it is told to stop and has stopped, or cannot go on.
    pub(super) async fn run(mut self) -> Result<(), EngineError> {
        let ended = self.turns().await;
        self.edge.end().await;
        for spare in std::mem::take(&mut self.spares) {
            spare.cancel().await;
        }
        self.finish_files().await;
        ended
    }

    async fn turns(&mut self) -> Result<(), EngineError> {
        let mut idle_since: Option<Instant> = None;
        let mut worked = false;
        loop {
            let now = Instant::now();
            if self.stop.load(Ordering::Acquire) {
                self.shard.borrow_mut().stop(STOP_PATIENCE);
            }
            let turn = self.turn(now);
            // What the edge did before the turn is behind it; tasks that stand ready now are told by the next kick.
            let edge_ran = self.edge_step().await;
            let due = match turn {
                Turn::Stopped => return self.shard.borrow_mut().take_failure().map_or(Ok(()), Err),
                Turn::Idle(due) if !edge_ran => due,
                Turn::Busy | Turn::Idle(_) => {
                    (idle_since, worked) = (None, true);
                    self.give_way(now).await;
                    continue;
                }
            };
            let Waiting { poll, spin, nap } = self.shard.borrow().waiting();
            // No spinning and no nap after a sleep that brought nothing: only work makes more work likely.
            let spun = now.duration_since(*idle_since.get_or_insert(now)) >= spin;
            if !spun || poll == PollMode::Busy || executor().need_preempt() {
                self.give_way(now).await;
            } else if worked && !nap.is_zero() {
                if self.asked {
                    // What nobody has asked the kernel for cannot end a nap.
                    self.pass().await;
                    continue;
                }
                worked = false;
                self.nap(due.min(now + nap));
            } else {
                self.sleep().await;
            }
        }
    }

    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let turn = self.shard.borrow_mut().turn(now);
        // Taking over borrows the shard itself.
        let arrived = self.shard.borrow_mut().take_arrived();
        for encoder in arrived {
            self.edge.take_over(encoder);
        }
        let letters = self.shard.borrow_mut().take_letters();
        self.edge.letters(letters);
        let tossed = self.shard.borrow_mut().take_tossed();
        if !tossed.is_empty() {
            let lost = self.edge.tossed(tossed);
            self.shard.borrow_mut().count_untaken(lost);
        }
        if self.files.is_free() {
            self.files.carry_out(self.shard.borrow_mut().take_file_work());
        }
        turn
    }

    /// Runs edge tasks that are ready, each once and a slice at most. True when one ran, or was started, since the last step.
    async fn edge_step(&mut self) -> bool {
        self.gate.next_slice();
        let ran = self.gate.take_kick();
        if ran {
            self.asked = true;
            yield_now().await;
            self.edge.sweep();
        }
        let spent = self.gate.take_spent();
        if !spent.is_zero() {
            self.shard.borrow_mut().count_edge(spent);
        }
        ran
    }

    /// Lets the reactor look at its rings when it is time.
    async fn give_way(&mut self, now: Instant) {
        if executor().need_preempt() || now.saturating_duration_since(self.passed) >= PASS_INTERVAL {
            self.pass().await;
        }
    }

    async fn pass(&mut self) {
        pass().await;
        (self.passed, self.asked) = (Instant::now(), false);
    }

    /// Lets packets gather until `due`, asleep outside of the executor: going through it would cost more than the nap saves. A
    /// bell ends it, and so does whatever a ring completes, for the kernel interrupts the call then.
    fn nap(&mut self, due: Instant) {
        self.mailbox.fall_asleep();
        let asleep = Instant::now();
        let patience = Timespec::try_from(due.saturating_duration_since(asleep)).ok();
        let mut events = [const { MaybeUninit::uninit() }; 1];
        // An interrupted nap is a short one: the next turn looks at everything anyway.
        if epoll::wait(&self.nap, &mut events, patience.as_ref()).is_ok_and(|(events, _)| !events.is_empty()) {
            self.silence();
        }
        self.shard.borrow_mut().count_sleep(asleep.elapsed());
        self.mailbox.awake();
    }

    /// Sleeps until something arrives or a timer is due. Whoever has work for this shard looks at its flag after making the
    /// work visible, and this looks for work after setting the flag: one of both sees the other.
    async fn sleep(&mut self) {
        self.mailbox.fall_asleep();
        let turn = self.turn(Instant::now());
        // The turn may have started a task, which must not wait for the sleep's end.
        if let (Turn::Idle(due), false) = (turn, self.gate.is_kicked()) {
            let asleep = Instant::now();
            self.wait(due).await;
            let slept = asleep.elapsed().saturating_sub(self.gate.spent());
            self.shard.borrow_mut().count_sleep(slept);
            (self.passed, self.asked) = (Instant::now(), false);
        }
        self.mailbox.awake();
    }

    /// Waits for packet, bell, edge or `due`; then every task that is ready by then has been polled once.
    async fn wait(&mut self, due: Instant) {
        let due = match self.arrivals.arm() {
            Ok(()) => due,
            Err(_) => due.min(Instant::now() + BLIND_WAIT),
        };
        let mut timer = timer(due);
        let arrived = poll_fn(|context| {
            if self.arrivals.poll_ready(context).is_ready() {
                return Poll::Ready(true);
            }
            if self.gate.is_kicked() || Pin::new(&mut timer).poll(context).is_ready() {
                return Poll::Ready(false);
            }
            self.gate.set_turner(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        self.gate.set_turner(None);
        if arrived {
            self.silence();
        }
        yield_now().await;
    }

    /// The bell is silent again until the next ring; nobody else reads it.
    fn silence(&self) {
        let _ = (&self.bell).read(&mut [0; 8]);
    }

    /// What waits for the disk is written before the shard ends.
    async fn finish_files(&mut self) {
        loop {
            if self.files.is_free() {
                let work = self.shard.borrow_mut().take_file_work();
                if work.is_empty() {
                    return;
                }
                self.files.carry_out(work);
            }
            pass().await;
        }
    }
}
