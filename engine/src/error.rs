//! What can stop the engine, each with the value, the place and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of start-up and of a shard's life. Errors of one connection stay with that connection.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file or folder of the data directory.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key file has the wrong length.
    #[error("{} holds {len} bytes, not an engine key file; move it away and start again (open connections will be lost)", path.display())]
    BadKeyFile {
        /// Which file.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Key material could not be made or used.
    #[error("cryptographic keys failed: {0}")]
    Keys(&'static str),
    /// Another process holds a port.
    #[error(
        "{protocol} port {address} is in use ({detail}); stop that process or set another port with `[ports] {key}`"
    )]
    PortInUse {
        /// "UDP" or "TCP".
        protocol: &'static str,
        /// Address and port.
        address: String,
        /// Who holds it, as far as is known.
        detail: String,
        /// The key in streams.toml.
        key: &'static str,
    },
    /// A socket operation at start.
    #[error("cannot {action} on {address}: {source}")]
    Socket {
        /// What was tried, as a verb.
        action: &'static str,
        /// Address and port.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// TLS material.
    #[error("TLS: cannot use {}: {detail}", path.display())]
    Tls {
        /// Certificate or key file.
        path: PathBuf,
        /// What the library said.
        detail: String,
    },
    /// QUIC configuration.
    #[error("QUIC configuration: {0}")]
    Quic(#[from] quiche::Error),
    /// Shared memory.
    #[error("shared memory: {0}")]
    Rings(#[from] streams_rings::RingsError),
    /// AF_XDP was asked for and cannot be had.
    #[error("--io xdp: {0}")]
    Xdp(#[from] crate::backend::XdpSetupError),
    /// io_uring was asked for and cannot be had.
    #[error("`[engine] udp_io = \"io_uring\"`: {0}")]
    Ring(#[from] crate::backend::RingRefused),
    /// Rights that were needed for the start could not be given up.
    #[error("{0}")]
    Privileges(#[from] streams_privileges::PrivilegesError),
    /// A shard has nothing to run on.
    #[error("shard {shard} cannot have an executor: {problem}")]
    Executor {
        /// Shard index.
        shard: usize,
        /// Why not, and what to do.
        problem: crate::host::ExecutorProblem,
    },
    /// The thread of a shard.
    #[error("shard {shard}: {detail}")]
    Host {
        /// Shard index.
        shard: usize,
        /// What went wrong.
        detail: String,
    },
    /// A setting that this build cannot serve.
    #[error("{0}")]
    Setting(String),
}

impl EngineError {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}
