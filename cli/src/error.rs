//! Everything that can go wrong in the `streams` command.

use std::path::PathBuf;
use std::process::ExitCode;

use streams_sdk::ClientErrorKind;

/// The one error type of this crate. Messages say what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, the data directory, a file, a port.
    #[error(transparent)]
    Control(#[from] streams_control::Error),
    /// A command of the operator.
    #[error(transparent)]
    Operator(#[from] streams_operator::Error),
    /// There is no log.
    #[error(transparent)]
    Log(#[from] streams_logs::LogError),
    /// A command line that asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A program of this installation could not be started.
    #[error("cannot start {}: {source}; it is expected next to `streams`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
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
    /// The folder of shared memory could not be made root's.
    #[error("{0}")]
    Privileges(#[from] streams_privileges::PrivilegesError),
    /// The server's certificate is not believed, and nothing was said about which one to believe.
    #[error(
        "cannot play: {0}. Is it an installation with a development certificate? On its machine name its data directory (--data \
         DIR); elsewhere trust this one certificate: --cert-sha256 HEX, which `streams playback-url` prints there"
    )]
    Untrusted(streams_sdk::ClientError),
    /// Watching failed.
    #[error("cannot play: {0}")]
    Play(#[from] streams_sdk::ClientError),
    /// Publishing failed.
    #[error("cannot publish: {0}")]
    Publish(streams_sdk::ClientError),
    /// A second signal cut off what the first had asked to end.
    #[error("stopped before the end was finished; its last seconds are missing")]
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
    /// The API answered something this build cannot read.
    #[error("{url} answered something unexpected: {reason}; is it a Streams server of the same version?")]
    Answer {
        /// Where.
        url: String,
        /// What.
        reason: String,
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
}

impl Error {
    /// A closure for `map_err` on file operations.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let file = streams_control::Error::file(action, path);
        move |source| file(source).into()
    }

    /// Whether what was asked for is impossible, rather than that it went wrong.
    pub fn is_usage(&self) -> bool {
        use streams_operator::Error as OperatorError;
        match self {
            Self::Usage(_) | Self::Operator(OperatorError::Usage(_)) => true,
            Self::Control(error) | Self::Operator(OperatorError::Control(error)) => error.is_usage(),
            _ => false,
        }
    }

    /// Whether nobody is there to be asked.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Control(streams_control::Error::NoCredentials { .. })
                | Self::Operator(streams_operator::Error::NoEngine { .. })
        )
    }

    /// The exit code of the command: 1 failed, 2 bad usage, 3 not found, 4 refused (auth), 5 unreachable.
    pub fn exit_code(&self) -> ExitCode {
        let code = match self {
            Self::Play(error) | Self::Publish(error) => match error.kind {
                ClientErrorKind::Usage => 2,
                ClientErrorKind::NotFound => 3,
                ClientErrorKind::Auth => 4,
                ClientErrorKind::Unreachable | ClientErrorKind::Untrusted => 5,
                ClientErrorKind::Failed => 1,
            },
            Self::Api { status: 404, .. } => 3,
            Self::Api { status: 401 | 403, .. } => 4,
            Self::Api { status: 400 | 422, .. } => 2,
            Self::Untrusted(_) => 5,
            error if error.is_unreachable() => 5,
            error if error.is_usage() => 2,
            _ => 1,
        };
        ExitCode::from(code)
    }
}
