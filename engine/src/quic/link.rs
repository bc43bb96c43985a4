//! The relay's way into one connection: [`Transmit`] over quiche streams.

use std::time::Instant;

use bytes::Bytes;
use streams_relay_core::relay::{StreamId, Transmit, TransmitError};

use super::connection::{Connection, Mode};
use crate::stages::{Stage, timed};

/// Lends a connection to the relay for one pump.
pub(super) struct Link<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) now: Instant,
}

impl Link<'_> {
    /// Sends what a WebTransport stream still owes of its prefix. False while some of it is left.
    fn prefix_sent(&mut self, id: u64) -> Result<bool, TransmitError> {
        let Some(index) = self.connection.pending_prefixes.iter().position(|(stream, _)| *stream == id) else {
            return Ok(true);
        };
        let Some((_, prefix)) = self.connection.pending_prefixes.get(index) else { return Ok(true) };
        let sent = self.connection.quic.stream_send(id, prefix, false);
        let sent = taken(self.connection, sent)?;
        let Some((_, prefix)) = self.connection.pending_prefixes.get_mut(index) else { return Ok(true) };
        prefix.drain(..sent.min(prefix.len()));
        let done = prefix.is_empty();
        if done {
            self.connection.pending_prefixes.swap_remove(index);
        }
        Ok(done)
    }

    fn open(&mut self, bidi: bool) -> Option<StreamId> {
        let connection = &mut *self.connection;
        let left =
            if bidi { connection.quic.peer_streams_left_bidi() } else { connection.quic.peer_streams_left_uni() };
        if left == 0 {
            return None;
        }
        let prefix = match &connection.mode {
            Mode::Raw => None,
            Mode::WebTransport(state) => Some(state.prefix(bidi)?),
            Mode::Handshake => return None,
        };
        let next = if bidi { &mut connection.next_bidi } else { &mut connection.next_uni };
        let id = *next;
        // Setting a priority is what makes quiche create the stream and count it against the peer's limit.
        connection.quic.stream_priority(id, DEFAULT_URGENCY, false).ok()?;
        *next += 4;
        if let Some(prefix) = prefix {
            connection.pending_prefixes.push((id, prefix));
            // A stopped or full stream shows at the first write of the relay.
            let _ = self.prefix_sent(id);
        }
        Some(StreamId(id))
    }

    fn send(
        &mut self,
        id: u64,
        len: usize,
        send: impl FnOnce(&mut super::Quic) -> quiche::Result<usize>,
    ) -> Result<usize, TransmitError> {
        if !self.prefix_sent(id)? {
            self.connection.blocked = true;
            return Ok(0);
        }
        let sent = timed(Stage::Write, || send(&mut self.connection.quic));
        let sent = taken(self.connection, sent)?;
        self.connection.blocked |= sent < len;
        Ok(sent)
    }
}

/// quiche's default urgency, in the middle of its range.
const DEFAULT_URGENCY: u8 = 127;

fn taken(connection: &Connection, result: quiche::Result<usize>) -> Result<usize, TransmitError> {
    match result {
        Ok(sent) => Ok(sent),
        Err(quiche::Error::Done) => Ok(0),
        Err(quiche::Error::StreamStopped(code)) => Err(TransmitError::Stopped(connection.session_code(code))),
        Err(_) => Err(TransmitError::Closed),
    }
}

impl Transmit for Link<'_> {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.open(false)
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.open(true)
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        self.send(stream.0, data.len(), |quic| quic.stream_send(stream.0, data, fin))
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.send(stream.0, data.len(), |quic| quic.stream_send_zc(stream.0, data.clone(), fin).map(|(sent, _)| sent))
    }

    fn send_datagram(&mut self, data: &[u8]) -> bool {
        let mut wire = match &self.connection.mode {
            Mode::Raw => Vec::new(),
            Mode::WebTransport(state) => match state.datagram_prefix() {
                Some(prefix) => prefix,
                None => return false,
            },
            Mode::Handshake => return false,
        };
        wire.extend_from_slice(data);
        self.connection.quic.dgram_send_buf(wire).is_ok()
    }

    fn set_urgency(&mut self, stream: StreamId, urgency: u8) {
        // The stream may be gone already; then there is nothing to order.
        let _ = self.connection.quic.stream_priority(stream.0, urgency, false);
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.connection.reset(stream.0, code);
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.connection.stop(stream.0, code);
    }

    fn close(&mut self, code: u64, reason: &str) {
        self.connection.close_session(self.now, code, reason);
    }
}
