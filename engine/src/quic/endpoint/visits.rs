//! Who has to send, and when: a connection is visited because its session was woken, something arrived for it, or its timer ran out.
//!
//! ```text
//!   wake, datagram, timer -> flush queue -> visit: session -> quiche -> trains -> backend
//!                                 ^------------------ quantum used up, backend full
//! ```

use std::io;
use std::time::Instant;

use streams_relay_core::relay::{Pumped, SessionId, Transmit};

use super::{Endpoint, index_of};
use crate::backend::{PacketBackend, Sent};
use crate::quic::SessionSink;
use crate::quic::connection::Connection;
use crate::quic::flush::flush;
use crate::quic::link::Link;
use crate::stages::{Stage, timed};

/// Connections visited by one flush: about a millisecond of work. Whoever is left keeps its place; what arrives has its turn
/// first, so that a shard with more viewers than it can serve still hears its publishers and all acknowledgements.
const FLUSH_VISITS: usize = 64;
/// So many timers in a row without a word of the peer, and the path may take only shorter packets now (RFC 8899 §4.3): they are
/// short again, and probes begin anew.
const BLACK_HOLE_TIMEOUTS: u32 = 3;

/// What a slot waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// It is in the flush queue.
    queued: bool,
    /// Its session has something to send.
    woken: bool,
}

impl Endpoint {
    /// The session has something to send: its connection is visited by the next [`Endpoint::flush`]. One that is gone is no matter.
    pub fn wake(&mut self, session: SessionId) {
        let index = index_of(session);
        if let Some(mark) = self.marks.get_mut(index) {
            mark.woken = true;
            self.queue_flush(index);
        }
    }

    /// Runs due timers. Connections that are over are told to the sink and dropped.
    pub fn handle_timeouts(&mut self, now: Instant, sink: &mut dyn SessionSink) {
        while let Some(&(due, index)) = self.timers.first().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, index));
            let Some(Some(connection)) = self.slots.get_mut(index) else { continue };
            connection.scheduled = None;
            if connection.quic.timeout_instant().is_some_and(|at| at <= now) {
                connection.quic.on_timeout();
                connection.progress = true;
                connection.timeouts += 1;
                if connection.timeouts == BLACK_HOLE_TIMEOUTS {
                    connection.quic.revalidate_pmtu();
                }
            }
            connection.keep_alive(now, self.limits.idle_timeout_ms, sink);
            if connection.intake.refill(now) {
                self.process(now, index, sink);
            }
            let Some(Some(connection)) = self.slots.get_mut(index) else { continue };
            connection.finish_close(now);
            if connection.quic.is_closed() {
                connection.end_session(sink);
            }
            self.queue_flush(index);
        }
    }

    /// When [`Endpoint::handle_timeouts`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    pub(super) fn queue_flush(&mut self, index: usize) {
        if let Some(mark) = self.marks.get_mut(index)
            && !std::mem::replace(&mut mark.queued, true)
        {
            self.flush_queue.push_back(index);
        }
    }

    /// Whether [`Endpoint::flush`] has work.
    pub fn wants_flush(&self) -> bool {
        !self.flush_queue.is_empty()
    }

    /// Visits some of the queued connections: a session that was woken, or was blocked and may have room again, writes what it has to
    /// send, and its packets leave at once, while all of its state is at hand. Each gets at most one visit's worth.
    pub fn flush(
        &mut self,
        now: Instant,
        backend: &mut dyn PacketBackend,
        sink: &mut dyn SessionSink,
    ) -> io::Result<()> {
        for _ in 0..self.flush_queue.len().min(FLUSH_VISITS) {
            if backend.flush()? == Sent::Blocked {
                return Ok(());
            }
            let Some(index) = self.flush_queue.pop_front() else { return Ok(()) };
            let woken = self.marks.get_mut(index).is_some_and(|mark| std::mem::take(mark).woken);
            let Some(Some(connection)) = self.slots.get_mut(index) else { continue };
            // Only what the peer says (or a lost packet) makes room in the windows; a pump without it would find them as full.
            if connection.open && (woken || connection.blocked && connection.progress) {
                let session = connection.session;
                pump(connection, now, |io| sink.pump(session, io));
            }
            let (peer, len_max) = (connection.peer, connection.packet_len_max);
            let flushed = match flush(&mut connection.quic, peer, len_max, backend, self.limits.visit_packets) {
                Ok(flushed) => flushed,
                Err(error) => {
                    // The packet is lost like one on the way, and the connection's own timer sees to it.
                    self.schedule(index, now);
                    return Err(error);
                }
            };
            self.stats.packets_out += flushed.packets;
            self.stats.bytes_out += flushed.bytes;
            self.stats.blocked += u64::from(flushed.blocked);
            if connection.quic.is_closed() || connection.expired {
                self.remove(index, sink);
                continue;
            }
            if connection.quic.is_draining() || connection.quic.local_error().is_some() {
                connection.end_session(sink);
            }
            self.schedule(index, now);
            if flushed.more || flushed.blocked {
                self.queue_flush(index);
            }
        }
        Ok(())
    }

    fn schedule(&mut self, index: usize, now: Instant) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        let quic_due = connection.quic.timeout_instant();
        let own_due = connection.own_deadline().filter(|_| connection.quic.local_error().is_none());
        let Some(due) = [quic_due, own_due].into_iter().flatten().min() else { return };
        // A deadline moves on with every packet: the entry stays, and puts itself right when its time comes.
        if connection.scheduled.is_none_or(|scheduled| due < scheduled) {
            // A deadline that has passed is run on the next turn, never in this one: a turn ends.
            let due = due.max(now);
            if let Some(later) = connection.scheduled.replace(due) {
                self.timers.remove(&(later, index));
            }
            self.timers.insert((due, index));
        }
    }
}

#[cfg(test)]
impl Endpoint {
    /// Lends the session's transport to `step`, as a visit does.
    pub(in crate::quic) fn pump(
        &mut self,
        now: Instant,
        session: SessionId,
        step: impl FnOnce(&mut dyn Transmit) -> Pumped,
    ) -> Option<Pumped> {
        let index = index_of(session);
        let pumped = pump(self.slots.get_mut(index)?.as_deref_mut()?, now, step);
        self.queue_flush(index);
        Some(pumped)
    }
}

/// Lends the connection's transport to a session.
fn pump(connection: &mut Connection, now: Instant, step: impl FnOnce(&mut dyn Transmit) -> Pumped) -> Pumped {
    (connection.blocked, connection.progress) = (false, false);
    let pumped = timed(Stage::Pump, || step(&mut Link { connection, now }));
    connection.blocked |= pumped.more;
    pumped
}
