//! TLS around an encoder's session: bytes of the wire in and out, and inside it is the session that it would be without.
//!
//! It has no socket either, so that the connection moves to its home shard like any other, its keys with it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::{Error as TlsError, InvalidMessage, ServerConfig, ServerConnection};
use streams_ingest::{Answer, IngestError, Protocol, Session, SessionEvent};

/// Bytes of the wire that one call decrypts at most.
const SLICE_LEN_MAX: usize = 4 * 1024;

/// A session over TLS.
pub(super) struct TlsSession {
    tls: ServerConnection,
    inner: Box<dyn Session>,
    /// Decrypted and not taken by the session yet: less than a record and a slice.
    plain: Vec<u8>,
}

impl TlsSession {
    /// A fresh connection.
    ///
    /// # Errors
    /// [`IngestError::Tls`] when the configuration allows no connection.
    pub(super) fn new(config: Arc<ServerConfig>, inner: Box<dyn Session>) -> Result<Self, IngestError> {
        let mut tls = ServerConnection::new(config).map_err(refused)?;
        // What a session says is bounded by itself.
        tls.set_buffer_limit(None);
        Ok(Self { tls, inner, plain: Vec::new() })
    }

    /// Decrypts some of `input`; how many bytes of it.
    fn decrypt(&mut self, input: &[u8]) -> Result<usize, IngestError> {
        let mut slice = input.get(..SLICE_LEN_MAX).unwrap_or(input);
        let used = self.tls.read_tls(&mut slice).map_err(broken)?;
        let state = self.tls.process_new_packets().map_err(refused)?;
        let len = self.plain.len();
        self.plain.resize(len.saturating_add(state.plaintext_bytes_to_read()), 0);
        let room = self.plain.get_mut(len..).unwrap_or_default();
        if !room.is_empty() {
            self.tls.reader().read_exact(room).map_err(broken)?;
        }
        Ok(used)
    }
}

impl Session for TlsSession {
    fn protocol(&self) -> Protocol {
        self.inner.protocol()
    }

    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<usize, IngestError> {
        let used = if self.is_behind() { 0 } else { self.decrypt(input)? };
        let taken = self.inner.handle_input(now, &self.plain)?;
        self.plain.drain(..taken.min(self.plain.len()));
        Ok(used)
    }

    fn is_behind(&self) -> bool {
        !self.plain.is_empty() || self.inner.is_behind()
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.inner.poll_event()
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let mut plain = Vec::new();
        self.inner.poll_transmit(&mut plain);
        // Without a limit every byte finds room, and so it does in `out`.
        let _ = self.tls.writer().write_all(&plain);
        while self.tls.wants_write() && self.tls.write_tls(out).is_ok_and(|len| len > 0) {}
        out.len() > before
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError> {
        self.inner.answer(answer)
    }
}

fn refused(error: TlsError) -> IngestError {
    IngestError::Tls {
        what: match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "what came is no TLS; push to an rtmps:// URL, or to the port of rtmp://".to_owned()
            }
            other => other.to_string(),
        },
    }
}

fn broken(error: io::Error) -> IngestError {
    IngestError::Tls { what: error.to_string() }
}
