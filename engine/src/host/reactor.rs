//! Readiness of one shard's descriptors: an epoll set, in which the idle shard also sleeps.
//!
//! Sockets of the edge tasks are registered edge-triggered and once: a task tries first and waits only after "would block", so
//! nothing is lost, for readiness is read by the same thread after the task has put its waker down. The packet sockets
//! and the bell are level-triggered and only end a sleep. Packets are in an outer set, which holds the other as well: a nap waits
//! for all but packets.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::future;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::timers::{Sleep, Timers};

/// Events taken by one look. What is left over comes with the next.
const EVENTS_MAX: usize = 256;
/// Registrations that no task waits for.
const BELL: u64 = 0;
const FIRST_SOCKET: u64 = 1;
/// Registrations of the outer set.
const PACKETS: u64 = 0;
const OTHERS: u64 = 1;
/// Events of the outer set: more packet sockets than these only end the same sleep.
const OUTER_EVENTS_MAX: usize = 4;

/// Who waits for a socket.
#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The epoll set and the timers of one shard.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    /// The packet sockets and `epoll`.
    outer: OwnedFd,
    bell: File,
    _packets: Vec<OwnedFd>,
    sockets: RefCell<HashMap<u64, Waiting>>,
    next: Cell<u64>,
    timers: Rc<Timers>,
    events: RefCell<Vec<epoll::Event>>,
}

impl Reactor {
    /// `bell` is an eventfd, `packets` other handles of the packet backend's sockets.
    pub(super) fn new(packets: Vec<OwnedFd>, bell: File) -> io::Result<Rc<Self>> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&set, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        let outer = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&outer, &set, EventData::new_u64(OTHERS), EventFlags::IN)?;
        for packets in &packets {
            epoll::add(&outer, packets, EventData::new_u64(PACKETS), EventFlags::IN)?;
        }
        Ok(Rc::new(Self {
            epoll: set,
            outer,
            bell,
            _packets: packets,
            sockets: RefCell::default(),
            next: Cell::new(FIRST_SOCKET),
            timers: Rc::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS_MAX)),
        }))
    }

    /// Hosts a socket here. It is made non-blocking by its caller.
    pub(crate) fn register<T: AsFd>(self: &Rc<Self>, io: T) -> io::Result<Hosted<T>> {
        let id = self.next.get();
        self.next.set(id + 1);
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &io, EventData::new_u64(id), interest)?;
        self.sockets.borrow_mut().insert(id, Waiting::default());
        Ok(Hosted { io, id, reactor: self.clone() })
    }

    /// A future that is ready from `deadline` on.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.timers.sleep_until(deadline)
    }

    /// Wakes the tasks whose sockets or timers are ready, without waiting.
    pub(super) fn look(&self, now: Instant) {
        self.wait(Duration::ZERO);
        self.timers.fire(now);
    }

    /// Blocks until there may be work for the shard or for a task, at the latest at `due`.
    pub(super) fn sleep(&self, due: Instant) {
        let timeout = Timespec::try_from(self.until(due)).ok();
        let mut events = [const { MaybeUninit::uninit() }; OUTER_EVENTS_MAX];
        // An interrupted wait is a short one: the next turn looks at everything anyway.
        let others = epoll::wait(&self.outer, &mut events, timeout.as_ref())
            .is_ok_and(|(events, _)| events.iter().any(|event| event.data.u64() == OTHERS));
        if others {
            self.wait(Duration::ZERO);
        }
        self.timers.fire(Instant::now());
    }

    /// As [`Reactor::sleep`], but packets do not end it.
    pub(super) fn nap(&self, due: Instant) {
        self.wait(self.until(due));
        self.timers.fire(Instant::now());
    }

    /// Time to `due` or to the first timer.
    fn until(&self, due: Instant) -> Duration {
        let due = self.timers.next_deadline().map_or(due, |timer| timer.min(due));
        due.saturating_duration_since(Instant::now())
    }

    fn wait(&self, timeout: Duration) {
        let timeout = Timespec::try_from(timeout).ok();
        let mut events = self.events.borrow_mut();
        events.clear();
        // An interrupted wait is a short one: the next turn looks at everything anyway.
        if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()).is_err() {
            return;
        }
        for event in events.iter() {
            match event.data.u64() {
                BELL => {
                    // Silent again until the next ring; nobody else reads it.
                    let _ = (&self.bell).read(&mut [0; 8]);
                }
                socket => self.wake(socket, event.flags),
            }
        }
    }

    fn wake(&self, socket: u64, flags: EventFlags) {
        let mut sockets = self.sockets.borrow_mut();
        // An event may be left of a socket that was closed meanwhile.
        let Some(waiting) = sockets.get_mut(&socket) else { return };
        let both = EventFlags::ERR | EventFlags::HUP;
        let reader = waiting.reader.take_if(|_| flags.intersects(EventFlags::IN | EventFlags::RDHUP | both));
        let writer = waiting.writer.take_if(|_| flags.intersects(EventFlags::OUT | both));
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }
}

/// Which way a task waits.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Read,
    Write,
}

/// A non-blocking socket whose tasks run on this shard. Dropping it closes it, unless there are other handles.
pub(crate) struct Hosted<T: AsFd> {
    io: T,
    id: u64,
    reactor: Rc<Reactor>,
}

impl<T: AsFd> Hosted<T> {
    /// The socket itself.
    pub(crate) fn io(&self) -> &T {
        &self.io
    }

    /// Tries `step` until it says something else than "would block". Other tasks and the shard's turn get their share
    /// after every step, for a peer that sends faster than its task reads would never let it wait.
    pub(super) async fn when_ready<R>(&self, way: Way, mut step: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let done = poll_fn(|context| {
            loop {
                match step(&self.io) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    done => return Poll::Ready(done),
                }
            }
            let mut sockets = self.reactor.sockets.borrow_mut();
            let waiting = sockets.entry(self.id).or_default();
            let slot = match way {
                Way::Read => &mut waiting.reader,
                Way::Write => &mut waiting.writer,
            };
            *slot = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        future::yield_now().await;
        done
    }

    /// The same with a time limit, after which it fails with [`io::ErrorKind::TimedOut`].
    pub(super) async fn by<R>(
        &self,
        deadline: Instant,
        way: Way,
        step: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let late = async {
            self.reactor.sleep_until(deadline).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        future::or(self.when_ready(way, step), late).await
    }
}

impl<T: AsFd> Drop for Hosted<T> {
    fn drop(&mut self) {
        // Other handles of the socket may live on, so closing this one would not take it out of the set.
        let _ = epoll::delete(&self.reactor.epoll, &self.io);
        self.reactor.sockets.borrow_mut().remove(&self.id);
    }
}
