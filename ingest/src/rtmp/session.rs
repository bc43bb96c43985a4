//! The connection's state machine.

use std::collections::VecDeque;

use super::RtmpLimits;
use crate::{AccessUnit, IngestError, StreamMetadata};

/// What [`RtmpSession::poll_event`] tells.
#[derive(Debug)]
pub enum RtmpEvent {
    /// The client asks to publish. Nothing more comes until [`RtmpSession::accept`] or [`RtmpSession::reject`].
    Publish {
        /// Application name of the URL (`live`), without a query.
        app: String,
        /// The stream key, from the name, the path or the query of the URL. A secret: never log it.
        key: String,
    },
    /// `onMetaData`: hints for the catalog. May come again at any time.
    Metadata(StreamMetadata),
    /// One access unit in the encoder's own time.
    Unit(AccessUnit),
    /// The client ended the stream in good order.
    Closed,
}

/// One encoder's RTMP connection: feed what was read, write what comes out, poll the events.
pub struct RtmpSession {
    limits: RtmpLimits,
    events: VecDeque<RtmpEvent>,
}

impl RtmpSession {
    /// A fresh connection.
    pub fn new(limits: RtmpLimits) -> Self {
        Self { limits, events: VecDeque::new() }
    }

    /// Feeds bytes read from the connection; appends bytes to be written to `out`.
    ///
    /// # Errors
    /// Any [`IngestError`] ends the session: write `out` (it may tell the client why), then close.
    pub fn handle_data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        let _ = (input, out, &self.limits);
        Ok(())
    }

    /// The next event, in order. Poll until `None` after every call that may produce one.
    pub fn poll_event(&mut self) -> Option<RtmpEvent> {
        self.events.pop_front()
    }

    /// The stream key is good: tells the client to start, and lets what was held back through.
    ///
    /// # Errors
    /// [`IngestError::NotWaiting`] without a request, or what the held bytes turn out to be.
    pub fn accept(&mut self, out: &mut Vec<u8>) -> Result<(), IngestError> {
        let _ = out;
        Ok(())
    }

    /// Refuses the request: `out` gets an `onStatus` error `NetStream.Publish.BadName` with `reason`; write it, then close. Also
    /// usable later, to end an accepted publish with a reason.
    pub fn reject(&mut self, reason: &str, out: &mut Vec<u8>) {
        let _ = (reason, out);
    }

    /// True once a publish was accepted and until the session ends. The owner of the clock closes a connection that does not
    /// get here in time.
    pub fn is_publishing(&self) -> bool {
        false
    }
}
