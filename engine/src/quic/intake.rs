//! How fast a connection is read, and so how much of it quiche may have to keep.
//!
//! quiche keeps what comes out of order, and for each piece of one byte some 145 bytes of memory (measured). The windows bound it. quiche opens
//! them wider, up to eight times, for a peer that uses up half of one within two round trips, which a publisher does and has to.
//! A session that only reads does not: its requests are read no faster than a quarter of the first window in three round trips, so
//! its windows stay as they were. Who may publish is set free when it first comes to that bound, as long as the shard has room.

use std::time::{Duration, Instant};

use super::config::CONNECTION_WINDOW_LEN_MIN;

/// Bytes that are read in one period.
const PERIOD_LEN: usize = CONNECTION_WINDOW_LEN_MIN as usize / 4;
/// Round trips of one period: quiche widens a window that was used up to the half within two.
const PERIOD_ROUND_TRIPS: u32 = 3;
/// On loopback a round trip is shorter than a turn of the shard.
const PERIOD_MIN: Duration = Duration::from_millis(10);
/// A peer can make its round trips seem as long as it likes by answering late.
const PERIOD_MAX: Duration = Duration::from_secs(3);

/// What of one connection may still be read.
#[derive(Debug)]
pub(super) struct Intake {
    left: usize,
    /// When `left` is filled up again; `None` while it is not used up.
    refill_at: Option<Instant>,
    free: bool,
}

impl Default for Intake {
    fn default() -> Self {
        Self { left: PERIOD_LEN, refill_at: None, free: false }
    }
}

impl Intake {
    /// How many bytes may be read now, of at most `len`.
    pub(super) fn most(&self, len: usize) -> usize {
        if self.free { len } else { len.min(self.left) }
    }

    /// So many were read.
    pub(super) fn spend(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len);
    }

    /// It is used up, and nobody has said yet when it goes on.
    pub(super) fn is_spent(&self) -> bool {
        !self.free && self.left == 0 && self.refill_at.is_none()
    }

    /// There is no bound any more.
    pub(super) fn set_free(&mut self) {
        (self.free, self.refill_at) = (true, None);
    }

    /// Whether it has no bound.
    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    /// It goes on after a period.
    pub(super) fn pause(&mut self, now: Instant, round_trip: Duration) {
        self.refill_at = Some(now + (round_trip * PERIOD_ROUND_TRIPS).clamp(PERIOD_MIN, PERIOD_MAX));
    }

    /// When there is more to read.
    pub(super) fn refill_at(&self) -> Option<Instant> {
        self.refill_at
    }

    /// `true`: the pause is over, and there is something to read.
    pub(super) fn refill(&mut self, now: Instant) -> bool {
        let due = self.refill_at.is_some_and(|at| now >= at);
        if due {
            (self.left, self.refill_at) = (PERIOD_LEN, None);
        }
        due
    }
}
