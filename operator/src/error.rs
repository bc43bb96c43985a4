//! Everything that can go wrong for an operator.

use std::path::PathBuf;

/// The one error type of this crate. Messages say what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, the configuration or the data directory.
    #[error(transparent)]
    Control(#[from] streams_control::Error),
    /// The notes of `streams configure` cannot be used.
    #[error("the notes of `streams configure` in {} cannot be used: {reason}; name another file with --state FILE", path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A stage needs a right that this user has not.
    #[error("stage `{stage}` needs {right}; run: {command}")]
    Rights {
        /// The stage.
        stage: &'static str,
        /// The right.
        right: &'static str,
        /// The command with the right.
        command: String,
    },
    /// The machine is not as it should be.
    #[error("{what}")]
    NotPrepared {
        /// How much is open, and the command that changes it.
        what: String,
    },
    /// A command line that asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// No engine runs on the data directory.
    #[error("no engine runs on {}: {reason}; start one with `streams up`, or name another directory with --data DIR", data.display())]
    NoEngine {
        /// The data directory.
        data: PathBuf,
        /// What was found.
        reason: String,
    },
}

impl Error {
    /// A closure for `map_err` on file operations.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let file = streams_control::Error::file(action, path);
        move |source| file(source).into()
    }
}
