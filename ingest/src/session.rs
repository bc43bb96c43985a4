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
use std::time::{Duration, Instant};

use streams_media::AccessUnit;

use crate::rtmp::Notice;
use crate::{IngestError, StreamMetadata};

/// How an encoder speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// WebRTC, negotiated by WHIP.
    Whip,
    /// SRT over UDP, with MPEG-TS in it.
    Srt,
}

impl Protocol {
    /// As status, events and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Whip => "whip",
            Self::Srt => "srt",
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
    /// The same with what kind of reason it is, for protocols that have codes.
    RefuseAs(Refusal, &'a str),
}

/// Why a request to publish is refused, as far as protocols tell such things apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request cannot be read.
    BadRequest,
    /// The stream key is missing, unknown, or no longer good.
    Key,
    /// There is no room for another encoder.
    Full,
    /// The input is disabled.
    Disabled,
    /// The request names another input than the key's.
    NotFound,
    /// It does not ask to publish.
    BadMode,
    /// The input takes another protocol.
    OtherKind,
    /// Whatever else: the server cannot now.
    Other,
}

/// How an encoder's datagrams come through, since its connection began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets that came, repetitions included.
    pub received: u64,
    /// Packets that were missing at first.
    pub lost: u64,
    /// Packets that the encoder sent again.
    pub retransmitted: u64,
    /// Missing packets that were given up at their time.
    pub dropped: u64,
    /// Media packets of the stream inside that were left out because a part of them was missing.
    pub damaged: u64,
    /// Newest measured time of a round trip.
    pub round_trip: Option<Duration>,
    /// Time that packets wait for lost ones, as agreed with the encoder.
    pub latency: Option<Duration>,
    /// The encoder encrypts.
    pub encrypted: bool,
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

    /// Gives the secret that the input has for encoders that encrypt, in front of acceptance: one that used another, or needs one
    /// and there is none, is refused hereby.
    ///
    /// # Errors
    /// [`IngestError::Passphrase`]: it is refused; [`IngestError::NotWaiting`] without a request.
    fn unlock(&mut self, _passphrase: Option<&str>) -> Result<(), IngestError> {
        Ok(())
    }

    /// How its datagrams come through; `None` where its transport keeps that to itself.
    fn link(&self) -> Option<LinkStats> {
        None
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
