//! Streams of the peer that we asked to stop, until quiche has let go of them.
//!
//! quiche 0.30 looks whether a stream is complete when the application reads it and when something that was sent on it is
//! acknowledged. One that was shut down for reading is never read again. If the peer's last word on it comes after ours was
//! acknowledged, nothing looks, and the stream counts against the peer's limit for good. So the last word is ours: a reset
//! waits for the peer's end, and a FIN that was sent before is sent once more, without data, to be acknowledged once more.
//! A unidirectional stream of the peer has no half of ours, so it is never shut down: it is read to its end and dropped.

use quiche::Shutdown;

use super::Quic;
use super::webtransport::Http3Io;

/// The streams, at most as many as the peer may have open.
#[derive(Debug, Default)]
pub(super) struct Ending {
    streams: Vec<Stopped>,
}

#[derive(Debug)]
struct Stopped {
    id: u64,
    /// How our half is to be reset once the peer has ended its own.
    reset: Option<u64>,
}

impl Ending {
    /// Asks the peer to end its half of a bidirectional stream.
    pub(super) fn stop(&mut self, quic: &mut Quic, id: u64, code: u64) {
        // It is gone, or was stopped before: then there is nothing to wait for.
        if quic.stream_shutdown(id, Shutdown::Read, code).is_ok() {
            self.streams.push(Stopped { id, reset: None });
        }
    }

    /// Resets our half of a stream.
    pub(super) fn reset(&mut self, quic: &mut Quic, id: u64, code: u64) {
        match self.streams.iter_mut().find(|stopped| stopped.id == id) {
            Some(stopped) if !quic.stream_finished(id) => drop(stopped.reset.get_or_insert(code)),
            // A stream that is gone already needs no reset.
            _ => drop(quic.stream_shutdown(id, Shutdown::Write, code)),
        }
    }

    /// Looks after those whose peers have ended them since.
    pub(super) fn sweep(&mut self, quic: &mut Quic) {
        self.streams.retain(|stopped| {
            if !quic.stream_finished(stopped.id) {
                return true;
            }
            // By this quiche lets go of one that the peer has stopped as well; such a one, and one that is gone, has no capacity.
            if quic.stream_capacity(stopped.id).is_err() {
                return false;
            }
            if let Some(code) = stopped.reset {
                let _ = quic.stream_shutdown(stopped.id, Shutdown::Write, code);
            } else if quic.stream_closed(stopped.id) {
                let _ = quic.stream_send(stopped.id, b"", true);
            }
            // Else our half is still open, and its end will be acknowledged.
            false
        });
    }
}

/// The transport as the HTTP/3 machine sees it.
pub(super) struct Streams<'a> {
    pub(super) quic: &'a mut Quic,
    pub(super) ending: &'a mut Ending,
}

impl Http3Io for Streams<'_> {
    fn send(&mut self, id: u64, data: &[u8], fin: bool) -> bool {
        let _ = self.quic.stream_priority(id, 0, false);
        self.quic.stream_send(id, data, fin) == Ok(data.len())
    }

    fn reset(&mut self, id: u64, code: u64) {
        self.ending.reset(self.quic, id, code);
    }

    fn stop(&mut self, id: u64, code: u64) {
        self.ending.stop(self.quic, id, code);
    }

    fn close(&mut self, code: u64, reason: &str) {
        let _ = self.quic.close(true, code, reason.as_bytes());
    }
}
