//! What can be wrong with a configuration, told so that the reader can mend it.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line (counted from 1) of a file.
    File {
        /// The file as it was named by the caller.
        file: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// A command-line flag, or the default.
    Flags,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line } => write!(f, "{}:{line}", file.display()),
            Origin::Env { variable } => write!(f, "environment variable {variable}"),
            Origin::Flags => write!(f, "command line"),
        }
    }
}

/// Every way in which a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no TOML.
    #[error("{origin}: not valid TOML: {reason}")]
    Syntax {
        /// The line of the mistake.
        origin: Origin,
        /// What the parser says.
        reason: String,
    },
    /// A section that does not exist.
    #[error("{origin}: unknown section `[{section}]`; the nearest known one is `[{nearest}]`")]
    UnknownSection {
        /// The line of the section's first mention.
        origin: Origin,
        /// The name in the file.
        section: String,
        /// The known name that is closest to it.
        nearest: &'static str,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`; the nearest known key is `{nearest}`")]
    UnknownKey {
        /// The line of the key.
        origin: Origin,
        /// `section.key` as written.
        key: String,
        /// The known `section.key` that is closest to it.
        nearest: String,
    },
    /// A value of the wrong type, or outside its range.
    #[error("{origin}: `{key}` = {value} is refused: it must be {expected}")]
    BadValue {
        /// Where the value stands.
        origin: Origin,
        /// `section.key`.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// Two keys that cannot both be as they are.
    #[error("{origin}: `{key}` is refused: {reason}")]
    Conflict {
        /// Where the key stands.
        origin: Origin,
        /// `section.key`.
        key: &'static str,
        /// Which other key it clashes with, and what to change.
        reason: String,
    },
}
