//! Command and control of one thread or process: is it there, is it alive, what state is it in.
//!
//! ```text
//! byte 0 magic | 8 pid | 16 signal | 24 heartbeat, ns | 32 padding to 128 B
//!
//! Boot -> Run -> Halt        Boot, Run -> Fail
//! ```

use crate::region::Region;
use crate::sync::{Ordering, load_acquire};

const MAGIC: u64 = u64::from_le_bytes(*b"STRMcnc\0");
const WORD_MAGIC: usize = 0;
const WORD_PID: usize = 1;
const WORD_SIGNAL: usize = 2;
const WORD_HEARTBEAT: usize = 3;

/// State of the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Signal {
    /// Does its work.
    Run = 0,
    /// Starting; the state of a new cnc.
    Boot = 1,
    /// Ended by a fault that its log names.
    Fail = 2,
    /// Ended as asked.
    Halt = 3,
}

/// A joined cnc. Clones are the same cnc; the owner writes, anybody reads.
#[derive(Debug, Clone)]
pub struct Cnc {
    region: Region,
}

impl Cnc {
    pub(crate) const FOOTPRINT: u64 = 128;

    pub(crate) fn init(region: &Region) {
        region.word(WORD_SIGNAL).store(Signal::Boot as u64, Ordering::Relaxed);
        region.word(WORD_PID).store(u64::from(std::process::id()), Ordering::Relaxed);
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    pub(crate) fn join(region: Region) -> Result<Cnc, &'static str> {
        match region.words() {
            words if words.len() as u64 * 8 != Self::FOOTPRINT => Err("size is wrong"),
            words if load_acquire(&words[WORD_MAGIC]) != MAGIC => Err("magic is wrong"),
            _ => Ok(Cnc { region }),
        }
    }

    /// State of the owner. A word that is no signal reads as `Fail`.
    pub fn signal(&self) -> Signal {
        match load_acquire(self.region.word(WORD_SIGNAL)) {
            0 => Signal::Run,
            1 => Signal::Boot,
            3 => Signal::Halt,
            _ => Signal::Fail,
        }
    }

    /// Tells the state. What the owner wrote before is visible to whoever sees it.
    ///
    /// # Panics
    /// On a read-only join, as do the other setters.
    pub fn set_signal(&self, signal: Signal) {
        self.region.store(WORD_SIGNAL, signal as u64, Ordering::Release);
    }

    /// Tells that the owner was alive at `now_ns` (see `now_ns`).
    pub fn heartbeat(&self, now_ns: u64) {
        self.region.store(WORD_HEARTBEAT, now_ns, Ordering::Release);
    }

    /// Last heartbeat, nanoseconds of the monotonic clock; 0: none yet.
    pub fn heartbeat_ns(&self) -> u64 {
        load_acquire(self.region.word(WORD_HEARTBEAT))
    }

    /// Process of the owner: the workspace's creator until the owner says otherwise.
    pub fn pid(&self) -> u32 {
        load_acquire(self.region.word(WORD_PID)) as u32
    }

    /// Tells the owner's process.
    pub fn set_pid(&self, pid: u32) {
        self.region.store(WORD_PID, u64::from(pid), Ordering::Release);
    }
}
