//! Why rights could not be given up.

use std::io;
use std::path::{Path, PathBuf};

/// A process that keeps rights it should not have must not go on, so each of these ends it.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// The configured user does not exist.
    #[error("`[engine] user` = \"{user}\": there is no such user; make it (useradd --system {user}) or name another")]
    UnknownUser {
        /// As configured.
        user: String,
    },
    /// A folder above the data directory is closed to the user.
    #[error(
        "user {user} cannot enter {}, which leads to the data directory; open it (chmod o+x) or move the data directory (--data)",
        path.display()
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The closed folder.
        path: PathBuf,
    },
    /// A file cannot be read without rights.
    #[error("user {user} cannot read {}: {source}; let its group read it (chgrp, chmod g+r)", path.display())]
    Unreadable {
        /// The user.
        user: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder or file could not be handed to the user.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused to take a right away.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The filter of system calls.
    #[error("cannot install the filter of system calls: {0}; `[engine] seccomp = \"off\"` runs without it")]
    Seccomp(String),
}

impl PrivilegesError {
    pub(crate) fn file(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn system(action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { action, source: source.into() }
    }
}
