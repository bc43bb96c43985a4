//! Logs of control and engine.
//!
//! ```text
//! tracing ──▶ level filter ──▶ one line ──▶ redact: secrets out ──▶ LogFile, put aside when full (or standard error)
//! ```
//!
//! Outsiders cause log lines, so that a log must not grow for ever ([`Seldom`] bounds those that come in floods); and what outsiders send may hold a secret, so that every
//! line passes [`redact`].

mod file;
mod redact;
mod seldom;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use streams_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use file::{LogFile, append, last_line};
pub use redact::{API_KEY_PREFIX, Redacting, STREAM_KEY_PREFIX, redact};
pub use seldom::{INTERVAL, Seldom};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The configured level cannot be read.
    #[error(
        "log.level is `{level}`: {source}; write a level such as info, or a list such as info,streams_engine=debug"
    )]
    Level {
        /// As configured.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The file cannot be opened.
    #[error("cannot open the log {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Starts logging to `file`, or to standard error; panics are logged too. A second start in one process changes nothing.
pub fn start(config: &Log, file: Option<&Path>) -> Result<(), LogError> {
    let filter =
        EnvFilter::try_new(&config.level).map_err(|source| LogError::Level { level: config.level.clone(), source })?;
    let started = match file {
        Some(path) => install(config, filter, false, Mutex::new(LogFile::open(path)?)),
        None => install(config, filter, io::IsTerminal::is_terminal(&io::stderr()), io::stderr),
    };
    if started {
        // Standard error may be gone, and is not where a person looks.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a defect of this program")));
    }
    Ok(())
}

/// False when logging has been started before.
fn install<W>(config: &Log, filter: EnvFilter, ansi: bool, writer: W) -> bool
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        // It would tell standard error that a line could not be written, and panic when that is closed.
        .log_internal_errors(false)
        .with_writer(Redacting(writer));
    match config.format {
        LogFormat::Text => builder.try_init().is_ok(),
        LogFormat::Json => builder.json().try_init().is_ok(),
    }
}
