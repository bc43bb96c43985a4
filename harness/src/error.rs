//! Why something could not be set up or driven.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use streams_contract::DocumentError;
use streams_rings::RingsError;

/// Why something could not be set up or driven.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A program that is started from here was not built.
    #[error(
        "{} is not there; build it first: cargo build {profile}-p streams-cli -p streams-control -p streams-engine",
        path.display()
    )]
    NotBuilt {
        /// Where it was expected.
        path: PathBuf,
        /// `--release ` or nothing: how this program was built.
        profile: &'static str,
    },
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
    /// A program's JSON lacks something.
    #[error("the output of `streams` has no `{0}`: it is of another version than this program")]
    Output(&'static str),
    /// The shared memory cannot be read.
    #[error("the engine's shared memory: {0}")]
    Rings(#[from] RingsError),
    /// An entry of a table cannot be read.
    #[error("the engine's shared memory: {0}")]
    Document(#[from] DocumentError),
    /// The data directory of an engine cannot be used.
    #[error(transparent)]
    Engine(#[from] streams_engine::EngineError),
    /// The system did not do something in time.
    #[error("not within {} s: {what}", patience.as_secs())]
    TooLong {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
    },
}

impl HarnessError {
    /// For `map_err` on file operations.
    pub fn file(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err` where a program is started.
    pub fn command(command: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let command = command.into();
        move |error| Self::Command { command, reason: error.to_string() }
    }
}
