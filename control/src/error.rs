//! Everything that can go wrong in control and in the `streams` command.

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
    /// The folder of shared memory could not be made root's.
    #[error("{0}")]
    Privileges(#[from] streams_privileges::PrivilegesError),
    /// A document of shared memory failed.
    #[error(transparent)]
    Document(#[from] streams_contract::DocumentError),
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
    /// A program of this installation could not be started.
    #[error("cannot start {}: {source}; it is expected next to `streams`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
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
    /// Control ended before it was ready.
    #[error("control did not start ({status}); its reason stands above, more in {}", log.display())]
    ControlFailed {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
    },
    /// Control ended too often while serving.
    #[error(
        "control stopped {deaths} times within a minute, the last time with {status}; the engine (pid {engine}) keeps serving. \
         Its log says why: {}. Then run `streams up` again, which attaches to the engine",
        log.display()
    )]
    ControlGone {
        /// How it ended the last time.
        status: String,
        /// How often.
        deaths: usize,
        /// The engine's process id.
        engine: u32,
        /// Its log.
        log: PathBuf,
    },
    /// The engine ended too often while serving.
    #[error(
        "the engine stopped {deaths} times within a minute, the last time with {status}; its log says why: {}. Then run `streams \
         up` again",
        log.display()
    )]
    EngineGivenUp {
        /// How it ended the last time.
        status: String,
        /// How often.
        deaths: usize,
        /// Its log.
        log: PathBuf,
    },
    /// The engine does not become ready.
    #[error("the engine did not become ready: {reason}; more in {}", log.display())]
    EngineFailed {
        /// What was seen.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// An engine that was asked to end goes on.
    #[error("the engine (pid {pid}) was asked to end and still runs after {seconds} s; end it with: kill -9 {pid}")]
    EngineEnding {
        /// Its process.
        pid: u32,
        /// How long it was waited for.
        seconds: u64,
    },
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
    /// There are no credentials to call the API with.
    #[error("no credentials in {}: run `streams up` on this data directory first, or give --api URL and --api-key KEY", path.display())]
    NoCredentials {
        /// The file looked for.
        path: PathBuf,
    },
    /// The server's certificate is not believed, and nothing was said about which one to believe.
    #[error(
        "cannot play: {0}. Is it an installation with a development certificate? On its machine name its data directory (--data \
         DIR); elsewhere trust this one certificate: --cert-sha256 HEX, which `streams playback-url` prints there"
    )]
    Untrusted(streams_sdk::PlayError),
    /// Watching failed.
    #[error("cannot play: {0}")]
    Play(#[from] streams_sdk::PlayError),
    /// A second signal cut off what the first had asked to end.
    #[error("stopped before the recording was finished; its last seconds are missing")]
    Interrupted,
    /// The API refused.
    #[error("{detail}")]
    Api {
        /// HTTP status.
        status: u16,
        /// Problem type.
        kind: String,
        /// For a person.
        detail: String,
    },
    /// The API cannot be reached.
    #[error("cannot reach {url}: {reason}; is `streams up` running?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// No engine runs on the data directory.
    #[error("no engine runs on {}: {reason}; start one with `streams up`, or name another directory with --data DIR", data.display())]
    NoEngine {
        /// The data directory.
        data: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The API answered something this build cannot read.
    #[error("{url} answered something unexpected: {reason}; is it a Streams server of the same version?")]
    Answer {
        /// Where.
        url: String,
        /// What.
        reason: String,
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

    /// The exit code of the command: 1 failed, 2 bad usage, 3 not found, 4 refused (auth), 5 unreachable.
    pub fn exit_code(&self) -> ExitCode {
        use streams_sdk::PlayErrorKind;
        let code = match self {
            Error::Play(error) => match error.kind {
                PlayErrorKind::Usage => 2,
                PlayErrorKind::NotFound => 3,
                PlayErrorKind::Auth => 4,
                PlayErrorKind::Unreachable | PlayErrorKind::Untrusted => 5,
                PlayErrorKind::Failed => 1,
            },
            Error::Usage(_) | Error::Config(_) | Error::NoDataDir => 2,
            Error::Api { status: 404, .. } => 3,
            Error::Api { status: 401 | 403, .. } => 4,
            Error::Api { status: 400 | 422, .. } => 2,
            Error::Untrusted(_) | Error::Unreachable { .. } | Error::NoCredentials { .. } | Error::NoEngine { .. } => 5,
            _ => 1,
        };
        ExitCode::from(code)
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
