//! What every ingest protocol is to the engine: a machine that takes bytes and the time, and gives access units.
//!
//! ```text
//!   bytes or datagrams, now --> Session --> poll_event:    Publish, Metadata, Unit, Notice, Closed
//!                                 ^  |
//!      answer(Accept | Refuse) ---'  '----> poll_transmit: what goes back to the encoder
//! ```
//!
//! Admission, kicking, hand-over to another shard and the end of a broadcast are the same for all of them and live in the engine.

use std::fmt;
use std::time::Instant;

use streams_media::AccessUnit;

use crate::rtmp::Notice;
use crate::{IngestError, StreamMetadata};

/// How an encoder speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
}

impl Protocol {
    /// As status, events and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
        }
    }
}

/// An encoder asks to publish.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// What the URL names in front of the key (RTMP: the application, `live`), without a query.
    pub app: String,
    /// The stream key; may be empty. A secret: never log it.
    pub key: String,
}

impl fmt::Debug for PublishRequest {
    /// The stream key is a secret and stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest").field("app", &self.app).finish_non_exhaustive()
    }
}

/// What [`Session::poll_event`] tells.
#[derive(Debug)]
pub enum SessionEvent {
    /// The encoder asks to publish. Nothing more comes until [`Session::answer`].
    Publish(PublishRequest),
    /// Hints for the catalog. May come again at any time.
    Metadata(StreamMetadata),
    /// One access unit in the encoder's own time.
    Unit(AccessUnit),
    /// Something that the broadcaster should know; media goes on.
    Notice(Notice),
    /// The encoder ended the stream in good order.
    Closed,
}

/// The answer to a [`PublishRequest`], and what may end an accepted one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The stream key is good: the encoder is told to start.
    Accept,
    /// It is not, or its publish ends: the reason, in the protocol's own form where it has one.
    Refuse(&'a str),
}

/// One encoder's connection, whatever it speaks.
///
/// **Drain contract.** After each call that returns, poll [`Session::poll_event`] until `None` and send what
/// [`Session::poll_transmit`] gives; then call [`Session::handle_input`] with the rest, or with nothing while
/// [`Session::is_behind`]. A call does a bounded amount of work, whatever its bytes are.
pub trait Session: Send {
    /// How it speaks.
    fn protocol(&self) -> Protocol;

    /// Works on what was received: the next bytes of a stream, or one datagram. Gives how many bytes it is done with; while it is
    /// behind, older input is worked on first, and none of `input`.
    ///
    /// # Errors
    /// Any [`IngestError`] ends the session: send what it has to say (it may tell the encoder why), then close.
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<usize, IngestError>;

    /// Input that was taken earlier waits to be worked on.
    fn is_behind(&self) -> bool;

    /// When [`Session::handle_timeout`] is due at the latest. A protocol over TCP leaves lost bytes and silence to its transport.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// It is later than [`Session::next_timeout`]. Drain it as after input.
    ///
    /// # Errors
    /// As [`Session::handle_input`].
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), IngestError> {
        Ok(())
    }

    /// The next event, in order.
    fn poll_event(&mut self) -> Option<SessionEvent>;

    /// Appends to `out` what goes to the encoder: all that a stream has to say, or one datagram. `false`: nothing.
    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool;

    /// Answers the request to publish, or ends an accepted one with words.
    ///
    /// # Errors
    /// [`IngestError::NotWaiting`]: acceptance without a request.
    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError>;
}
