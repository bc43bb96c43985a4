//! Everything that can go wrong in control.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The one error type of this crate. Messages say what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] streams_config::ConfigError),
    /// There is no log.
    #[error(transparent)]
    Log(#[from] streams_logs::LogError),
    /// There is no place for a data directory.
    #[error("no data directory: neither HOME nor XDG_DATA_HOME is set; name one with --data DIR")]
    NoDataDir,
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// A verb: `create`, `read`, `write`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No space, or none left for this user.
    #[error("the disk is full: {what}; free some space on it, then try again")]
    DiskFull {
        /// What could not be done, and where.
        what: String,
    },
    /// The data directory is another user's.
    #[error(
        "the data directory {} belongs to {owner}, and what is written there as another user would lock them out; run this as \
         that user (sudo -u {owner} ...), or choose another with --data DIR",
        path.display()
    )]
    DataDirOfAnother {
        /// The directory.
        path: PathBuf,
        /// The owner's name, or `#` and the number.
        owner: String,
    },
    /// A lock of the data directory that this user may not open.
    #[error(
        "the lock {} belongs to {owner}: something was started on this data directory as another user; stop it, then remove the \
         file: sudo rm {}",
        path.display(),
        path.display()
    )]
    LockOfAnother {
        /// The lock.
        path: PathBuf,
        /// The owner's name, or `#` and the number.
        owner: String,
    },
    /// The data directory cannot be written.
    #[error("the data directory {} is not writable ({source}); choose another with --data DIR, or change its owner", path.display())]
    DataDirNotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another process holds the data directory.
    #[error("{holder} already runs on the data directory {} (pid {pid}); stop it first, or choose another with --data DIR", path.display())]
    DataDirTaken {
        /// What holds it: "`streams up`".
        holder: &'static str,
        /// Its process id, as it wrote it into the lock file.
        pid: String,
        /// The directory.
        path: PathBuf,
    },
    /// A port cannot be bound.
    #[error(
        "cannot listen on {protocol} {address}: {source}; stop what uses it, or set {key} in streams.toml to another port"
    )]
    Port {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// The configuration key that changes it.
        key: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
    /// The database cannot be brought to this build's tables.
    #[error("the database cannot be brought up to date: {0}")]
    Migrate(sqlx::migrate::MigrateError),
    /// The database has tables that this build does not know.
    #[error(
        "the database is not of this build: {0}; run the newer build that made it, or choose another directory with --data DIR"
    )]
    NewerDatabase(sqlx::migrate::MigrateError),
    /// Shared memory failed.
    #[error(transparent)]
    Rings(#[from] streams_rings::RingsError),
    /// A document of shared memory failed.
    #[error(transparent)]
    Document(#[from] streams_contract::DocumentError),
    /// The rules of a resource refuse what was asked for.
    #[error(transparent)]
    Refused(#[from] crate::resources::Refusal),
    /// Control is about to end.
    #[error("control is stopping and changes nothing any more; try again in a moment")]
    Closing,
    /// A table of shared memory has no room.
    #[error("the table `{table}` is full ({entries} entries); delete what is no longer used")]
    TableFull {
        /// Its name.
        table: &'static str,
        /// Its size.
        entries: usize,
    },
    /// The cryptographic library refused.
    #[error("cannot {action}: the cryptographic library refused")]
    Crypto {
        /// What was tried.
        action: &'static str,
    },
    /// Something sealed cannot be opened with this data directory's key file.
    #[error("a sealed value of the database does not open with the key file {}; put back the file that belongs to this database", path.display())]
    Sealed {
        /// The key file.
        path: PathBuf,
    },
    /// A public key that was handed in cannot be used.
    #[error("the public key is refused: {reason}")]
    PublicKey {
        /// Why, and what is accepted.
        reason: &'static str,
    },
    /// A token could not be signed.
    #[error("cannot sign a token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A certificate or key cannot be used for TLS.
    #[error("the certificate {} cannot be used: {reason}", path.display())]
    Tls {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There are no credentials to call the API with.
    #[error("no credentials in {}: run `streams up` on this data directory first, or give --api URL and --api-key KEY", path.display())]
    NoCredentials {
        /// The file looked for.
        path: PathBuf,
    },
    /// A server stopped by itself.
    #[error("the server on {address} stopped: {source}")]
    Server {
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task of this process panicked.
    #[error("{task} failed by a defect of this program: {source}; report it with the log")]
    Task {
        /// What it did.
        task: &'static str,
        /// Its panic.
        source: tokio::task::JoinError,
    },
    /// A signal could not be sent or a process not watched.
    #[error("cannot {action} process {pid}: {source}")]
    Process {
        /// A verb: `signal`, `watch`.
        action: &'static str,
        /// The process.
        pid: u32,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The launcher ended before control had started.
    #[error("the launcher (pid {pid}) is gone; run `streams up` again")]
    LauncherGone {
        /// Its process id.
        pid: i32,
    },
}

impl Error {
    /// A closure for `map_err` on file operations.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| match is_disk_full(&source) {
            true => Error::DiskFull { what: format!("cannot {action} {}", path.display()) },
            false => Error::File { action, path, source },
        }
    }

    /// Whether what was asked for is impossible, rather than that it went wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::NoDataDir)
    }

    /// The exit code of a program: 1 failed, 2 bad usage.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_usage() { 2 } else { 1 })
    }
}

/// Whether the system had no space, or the user's quota is used up.
pub fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // https://www.sqlite.org/rescode.html: SQLITE_FULL, and SQLITE_IOERR_SHMSIZE for the index of the write-ahead log,
        // which is grown and fails for want of space.
        let full = |code: &str| ["13", "4874"].contains(&code);
        if error.as_database_error().and_then(|error| error.code()).is_some_and(|code| full(&code)) {
            return Error::DiskFull { what: "the database in the data directory cannot be written".to_owned() };
        }
        Error::Database(error)
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError::{
            Execute, ExecuteMigration, VersionMismatch, VersionMissing, VersionNotPresent, VersionTooNew,
        };
        match error {
            Execute(error) | ExecuteMigration(error, _) => error.into(),
            VersionMissing(_) | VersionMismatch(_) | VersionNotPresent(_) | VersionTooNew(..) => {
                Error::NewerDatabase(error)
            }
            error => Error::Migrate(error),
        }
    }
}
