//! What `play` is told and what it tells.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWrite;

/// Which servers to believe.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Certificates that lead to the system's roots and name the host.
    System,
    /// Exactly the certificates in this PEM: the server's own certificate must be one of them, byte for byte. Names and dates
    /// do not count; the server still has to prove that it holds the key.
    PinnedCertPem(Vec<u8>),
    /// The certificate whose DER has this SHA-256, whatever name and dates are in it; the server still has to prove that it
    /// holds the key.
    CertSha256([u8; 32]),
    /// Certificates that lead to the roots in this PEM and name the host.
    CaPem(Vec<u8>),
}

/// Opens the parts of a recording, counted from 1. A file has one decoder set-up a track: when a broadcast changes its own (its
/// encoder came back with another picture size), the recording goes on in the next part. An error ends the playing.
pub type OpenPart = Box<dyn FnMut(u32) -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> + Send>;

/// Ends the playing in good order, as the end of `for_duration` does, when it is done.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How to watch. [`PlayOptions::new`] gives the usual way.
pub struct PlayOptions {
    /// `moqt://HOST:PORT/playback/<id>?tok=<jwt>`.
    pub url: String,
    /// Which servers to believe.
    pub trust: Trust,
    /// Name of the video rendition, as in the catalog (`video/720p`) or its last part (`720p`); `None` is the highest.
    pub rendition: Option<String>,
    /// How long to watch, counted on the clock from the first object; `None` is to the end.
    pub for_duration: Option<Duration>,
    /// Watch until this is done; `None` is to the end.
    pub stop: Option<Stop>,
    /// Where the fragmented MP4 goes; `None` watches and writes nothing.
    pub output: Option<OpenPart>,
    /// Connect again by itself when the connection is lost.
    pub reconnect: bool,
    /// Send [`PlayEvent::Stats`] once a second.
    pub stats: bool,
}

impl PlayOptions {
    /// Watches `url` to its end with reconnects, writes nothing, sends no statistics.
    pub fn new(url: impl Into<String>, trust: Trust) -> Self {
        Self {
            url: url.into(),
            trust,
            rendition: None,
            for_duration: None,
            stop: None,
            output: None,
            reconnect: true,
            stats: false,
        }
    }
}

impl fmt::Debug for PlayOptions {
    /// Without the URL's query, which is the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayOptions")
            .field("url", &self.url.split('?').next().unwrap_or_default())
            .field("trust", &self.trust)
            .field("rendition", &self.rendition)
            .field("for_duration", &self.for_duration)
            .field("stop", &self.stop.is_some())
            .field("output", &self.output.is_some())
            .field("reconnect", &self.reconnect)
            .field("stats", &self.stats)
            .finish()
    }
}

/// What happens while watching.
#[derive(Debug, Clone, PartialEq)]
pub enum PlayEvent {
    /// A session is up.
    Connected {
        /// Connecting and the handshake together.
        took: Duration,
    },
    /// The catalog was read and tracks were chosen.
    Tracks {
        /// Name of the video track, if there is one.
        video: Option<String>,
        /// Name of the audio track, if there is one.
        audio: Option<String>,
    },
    /// The first media object arrived; `for_duration` counts from here.
    Started {
        /// Since `play` was called.
        join_time: Duration,
    },
    /// Pictures come, and none of them is a key frame that a decoder could start with. Told once until one comes.
    NoKeyFrame {
        /// How long it has been like this.
        waited: Duration,
    },
    /// The session is gone and another attempt follows.
    Reconnecting {
        /// 1 for the first attempt after a session.
        attempt: u32,
        /// How long until it.
        after: Duration,
        /// Why the session is gone.
        reason: String,
    },
    /// The broadcast's decoder settings changed, and the recording goes on in this part.
    NextPart(u32),
    /// Once a second, when asked for.
    Stats(PlaySummary),
}

/// What was watched so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlaySummary {
    /// Name of the video track, if there is one.
    pub video: Option<String>,
    /// Name of the audio track, if there is one.
    pub audio: Option<String>,
    /// From the call of `play` to the first media object.
    pub join_time: Option<Duration>,
    /// From the first media object until now.
    pub watched: Duration,
    /// Media time in what was written, by the video track if there is one.
    pub media_duration: Duration,
    /// Media objects received.
    pub objects: u64,
    /// Their payload, bytes.
    pub payload_bytes: u64,
    /// Bytes written, of all parts.
    pub written_bytes: u64,
    /// Files that the recording takes; 0 when nothing is written.
    pub parts: u32,
    /// Groups of the video track (or of audio when there is no video) that were begun.
    pub groups: u64,
    /// Objects that came too late or twice and were left out.
    pub dropped_objects: u64,
    /// Groups that were left before their end because a newer one was there.
    pub skipped_groups: u64,
    /// Times that media went on after a hole: after groups that were left, after a reconnect, after a pause of the broadcaster.
    /// Of the video track (or of audio when there is no video).
    pub holes: u64,
    /// Media time in these holes.
    pub missing: Duration,
    /// Times that no picture (sound, without video) arrived for longer than half a second.
    pub stalls: u64,
    /// Sessions after the first.
    pub reconnects: u64,
}
