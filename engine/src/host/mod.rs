//! Hosting a shard: a thread with a glommio executor, pinned to a core, on which everything of the shard runs.
//!
//! ```text
//!   thread (thread) -> executor, pinned (executor) -> one queue of tasks, first come first served
//!                                                      |-- the data plane: turn after turn (plane)
//!                                                      |-- the edge: a task a connection, in slices (gate, tasks)
//!                                                      '-- files, a batch at a time (files)
//!   reactor: packets and bell by one epoll set (watch), TCP (tcp), datagrams of the edge (udp), timers (time)
//! ```
//!
//! The packet path must never depend on whether the executor finds its tasks runnable, and glommio 0.9 can be wrong about that: a
//! completion that raises its preempt flag and wakes no task makes it take itself for idle. So whatever would raise the flag
//! that way is kept out: no preempt timer, no waker that crosses threads, more ring entries than operations, and a timer nearby
//! while its blocking thread works. The tests in `wakes` hold that.

mod executor;
mod files;
mod gate;
mod plane;
mod tasks;
mod tcp;
mod thread;
mod time;
mod udp;
mod watch;

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod wakes;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::edge::{EdgeSettings, EdgeSockets};
use crate::shard::Mailbox;

pub use executor::ExecutorProblem;
pub(crate) use executor::allow_rings;
pub(crate) use tasks::Spawner;
pub(crate) use tcp::{HostedListener, HostedStream};
pub(crate) use thread::{ShardThread, spawn};
pub(crate) use time::sleep_until;
pub(crate) use udp::HostedSocket;

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
    pub(crate) edge: EdgeSettings,
    pub(crate) sockets: EdgeSockets,
    /// Other handles of the backend's sockets, to sleep on.
    pub(crate) packets: Vec<OwnedFd>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) stop: Arc<AtomicBool>,
}
