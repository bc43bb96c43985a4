//! What `publish` is told and what it tells.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Stop, Trust};

/// Where the media comes from: MP4, fragmented or not, with H.264, H.265, AV1 or VP9 and AAC or Opus.
pub enum PublishInput {
    /// A file.
    File(PathBuf),
    /// A fragmented file as it grows, such as standard input.
    Reader(Box<dyn Read + Send>),
}

impl fmt::Debug for PublishInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// How to publish. [`PublishOptions::new`] gives the usual way.
pub struct PublishOptions {
    /// `moqt://HOST:PORT/publish/<input id>?sk=<stream key>`.
    pub url: String,
    /// Which servers to believe.
    pub trust: Trust,
    /// What to publish.
    pub input: PublishInput,
    /// Begin again at the end of a file, for ever.
    pub looped: bool,
    /// Send each picture when it is due, as an encoder would; otherwise as fast as it is read and the link takes it.
    pub realtime: bool,
    /// Publish until this is done; `None` is to the end of the input.
    pub stop: Option<Stop>,
    /// Connect again by itself when the connection is lost.
    pub reconnect: bool,
    /// Send [`PublishEvent::Stats`] once a second.
    pub stats: bool,
}

impl PublishOptions {
    /// Publishes `input` to `url` once, with reconnects.
    pub fn new(url: impl Into<String>, trust: Trust, input: PublishInput) -> Self {
        Self {
            url: url.into(),
            trust,
            input,
            looped: false,
            realtime: false,
            stop: None,
            reconnect: true,
            stats: false,
        }
    }
}

impl fmt::Debug for PublishOptions {
    /// The stream key is a secret and stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishOptions").field("input", &self.input).finish_non_exhaustive()
    }
}

/// What happens while publishing.
#[derive(Debug, Clone, PartialEq)]
pub enum PublishEvent {
    /// A session is up.
    Connected {
        /// From the attempt's start.
        took: Duration,
    },
    /// The server has taken the broadcast: viewers can watch. Once a session.
    Live,
    /// The session is gone and another attempt follows.
    Reconnecting {
        /// 1 for the first attempt after a session.
        attempt: u32,
        /// How long until it.
        after: Duration,
        /// Why the session is gone.
        reason: String,
    },
    /// Once a second, when asked for.
    Stats(PublishSummary),
}

/// What was published so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PublishSummary {
    /// From the first object until now.
    pub published: Duration,
    /// Media time of what was published.
    pub media_duration: Duration,
    /// Media objects sent.
    pub objects: u64,
    /// Their payload, bytes.
    pub payload_bytes: u64,
    /// Groups begun, of all tracks.
    pub groups: u64,
    /// Groups that were left out because the link was too slow.
    pub dropped_groups: u64,
    /// Sessions after the first.
    pub reconnects: u64,
}
