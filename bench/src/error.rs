//! Why a measurement could not be made.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use streams_harness::HarnessError;
use streams_rings::RingsError;
use streams_sdk::ClientError;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The stack could not be set up or driven.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// Options that do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// A key that names no abuse.
    #[error("there is no abuse `{0}`; `streams-bench abuse --help` lists them")]
    UnknownAbuse(String),
    /// Neither a running stack nor `--start`.
    #[error("no stack to measure: name its data directory with --data (or STREAMS_DATA), or start one with --start")]
    NoStack,
    /// A file could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program could not be started, or failed.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// Program and first arguments.
        command: String,
        /// Its last words, or why it did not start.
        reason: String,
    },
    /// Shared memory could not be read.
    #[error("the engine's shared memory cannot be read: {0}; is `streams up` running on that data directory?")]
    Rings(#[from] RingsError),
    /// The system did not do something in time.
    #[error("not within {} s: {what}", patience.as_secs())]
    TooLong {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        patience: Duration,
    },
    /// The film cannot be used.
    #[error("{} cannot be used as a film: {reason}", path.display())]
    Film {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: &'static str,
    },
    /// A stream URL that is not one.
    #[error("{0} is no RTMP URL with host and application")]
    RtmpUrl(String),
    /// A relay's URL that is not one.
    #[error("{0} is no relay's URL; expected moqt://HOST:PORT[/PATH]")]
    RelayUrl(String),
    /// An SRT publisher could not go on.
    #[error("the SRT publisher: {0}")]
    Srt(String),
    /// The RTMP connection broke.
    #[error("the RTMP connection broke: {0}")]
    RtmpSocket(#[source] io::Error),
    /// The server's RTMP makes no sense.
    #[error("the server's RTMP cannot be read: {0}")]
    Rtmp(#[from] rtmp_runtime::RtmpError),
    /// The server refused or cut the publisher.
    #[error("the server refused the publisher: {code} {description}")]
    RtmpRefused {
        /// `NetStream.…`
        code: String,
        /// In words.
        description: String,
    },
    /// QUIC in memory.
    #[error("QUIC: {0}")]
    Quic(#[from] quiche::Error),
    /// The embedded engine.
    #[error("engine: {0}")]
    Engine(#[from] streams_engine::EngineError),
    /// A certificate could not be made.
    #[error("no certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A viewer failed.
    #[error("viewer: {0}")]
    Viewer(#[from] ClientError),
    /// A viewer got something that cannot be right.
    #[error("viewer: {0}")]
    Protocol(&'static str),
    /// No viewer is on another shard than the publisher.
    #[error("none of {tries} viewers came to another shard than the publisher's (shard {home} of {shards})")]
    NoOtherShard {
        /// Viewers that were connected.
        tries: usize,
        /// The publisher's shard.
        home: usize,
        /// All shards.
        shards: usize,
    },
    /// The bounds of a distribution are none.
    #[error("no histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A part of this program ended abnormally.
    #[error("the {0} ended abnormally")]
    Died(&'static str),
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err` on file operations.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
