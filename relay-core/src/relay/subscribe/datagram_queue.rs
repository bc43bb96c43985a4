//! Datagrams on their way to one viewer: what its transport has no room for is dropped and counted.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::relay::Counters;
use crate::transmit::Transmit;

/// Datagrams that may wait for a session's next pump, and their bytes: the oldest go first.
const WAITING_MAX: usize = 256;
const WAITING_LEN_MAX: usize = 256 * 1024;

/// Datagrams on their way to one session.
#[derive(Debug, Default)]
pub(crate) struct DatagramQueue {
    queue: VecDeque<(Bytes, usize)>,
    len: usize,
}

impl DatagramQueue {
    /// Adds one; gives the number of those that had to go for it.
    pub(crate) fn push(&mut self, datagram: Bytes, payload_len: usize) -> u64 {
        self.len += datagram.len();
        self.queue.push_back((datagram, payload_len));
        let mut dropped = 0;
        while self.queue.len() > WAITING_MAX || self.len > WAITING_LEN_MAX {
            let Some((oldest, _)) = self.queue.pop_front() else { break };
            self.len = self.len.saturating_sub(oldest.len());
            dropped += 1;
        }
        dropped
    }

    /// Hands all of them over; what is not taken now never is.
    pub(crate) fn pump(&mut self, counters: &mut Counters, io: &mut dyn Transmit) {
        self.len = 0;
        for (datagram, payload_len) in self.queue.drain(..) {
            if io.send_datagram(&datagram) {
                counters.count_out(payload_len);
            } else {
                counters.datagrams_dropped += 1;
            }
        }
    }
}
