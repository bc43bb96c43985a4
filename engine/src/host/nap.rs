//! How an idle shard sleeps: in one poll(2) over everything that can bring it work.
//!
//! glommio could park the thread itself, but an executor of version 0.9 that parks may have runnable tasks (see
//! `POLL_BEFORE_PARK` in [`super`]). So the executor is never idle here: the shard's own task blocks, for a short time at most, and glommio only
//! ever polls.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest nap. glommio's own timers (read timeouts of encoders) are looked at between naps.
const NAP_MAX: Duration = Duration::from_millis(4);

/// Everything that one shard's thread can be woken by.
pub(crate) struct Nap {
    packets: Option<UdpSocket>,
    bell: File,
    listener: Option<TcpListener>,
    connections: RefCell<HashMap<u64, TcpStream>>,
    next: Cell<u64>,
}

/// Keeps a connection among the reasons to wake up while it lives.
pub(crate) struct Watch {
    nap: Rc<Nap>,
    id: u64,
}

impl Nap {
    /// `bell` is an eventfd, the others are further handles of sockets that the shard uses.
    pub(super) fn new(packets: Option<UdpSocket>, bell: File, listener: Option<TcpListener>) -> Rc<Self> {
        Rc::new(Self { packets, bell, listener, connections: RefCell::default(), next: Cell::new(0) })
    }

    /// Wakes the shard when `socket` (another handle of an encoder's connection) has data.
    pub(crate) fn watch(self: &Rc<Self>, socket: TcpStream) -> Watch {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        self.connections.borrow_mut().insert(id, socket);
        Watch { nap: self.clone(), id }
    }

    /// Blocks the thread until there may be work, at the latest at `due`.
    pub(super) fn until(&self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now()).min(NAP_MAX);
        let Ok(timeout) = Timespec::try_from(left) else { return };
        let connections = self.connections.borrow();
        let mut reasons = Vec::with_capacity(3 + connections.len());
        reasons.push(PollFd::new(&self.bell, PollFlags::IN));
        reasons.extend(self.packets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        reasons.extend(self.listener.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        reasons.extend(connections.values().map(|socket| PollFd::new(socket, PollFlags::IN)));
        // An interrupted or refused poll is a short nap: the next turn looks at everything anyway.
        let _ = poll(&mut reasons, Some(&timeout));
        let rung = reasons.first().is_some_and(|bell| !bell.revents().is_empty());
        if rung {
            let mut count = [0u8; 8];
            let _ = (&self.bell).read(&mut count);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.nap.connections.borrow_mut().remove(&self.id);
    }
}
