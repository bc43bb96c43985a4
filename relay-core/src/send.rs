//! Bytes of control and request messages on their way to the transport.

use crate::wire::{ControlMessage, Draft};

use crate::transmit::{StreamId, Transmit, TransmitError};

/// Messages of one stream that the transport has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    bytes: Vec<u8>,
    sent: usize,
    fin: bool,
    fin_sent: bool,
}

impl SendBuffer {
    /// Appends a message. `false`: one of its values is over a limit of the wire, and nothing was appended.
    #[must_use]
    pub(crate) fn push(&mut self, draft: Draft, message: &ControlMessage) -> bool {
        message.encode(draft, &mut self.bytes).is_ok()
    }

    /// No message follows.
    pub(crate) fn finish(&mut self) {
        self.fin = true;
    }

    /// Forgets what was not sent; the stream is about to be reset.
    pub(crate) fn clear(&mut self) {
        *self = Self { fin: true, fin_sent: true, ..Self::default() };
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.len() == 0 && (!self.fin || self.fin_sent)
    }

    /// Everything was sent, and the end too.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin_sent
    }

    /// Hands over what the transport takes; `true` when nothing is left.
    pub(crate) fn flush(&mut self, stream: StreamId, io: &mut dyn Transmit) -> Result<bool, TransmitError> {
        if self.is_drained() {
            return Ok(true);
        }
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        let taken = io.write(stream, rest, self.fin)?.min(rest.len());
        let all = taken == rest.len();
        self.sent += taken;
        if all {
            self.bytes.clear();
            self.sent = 0;
            self.fin_sent = self.fin;
        }
        Ok(all)
    }
}
