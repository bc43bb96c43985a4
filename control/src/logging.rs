//! Where log lines go. Every one of them passes [`Redacting`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use streams_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::Error;
use crate::redact::Redacting;

/// Size at which a log file is put aside as `<name>.1`; the one before that goes. Outsiders cause log lines, so that a
/// log must not grow for ever.
const LOG_LEN_MAX: u64 = 16 << 20;

/// Starts logging to `file`, or to standard error. A second start in one process changes nothing.
pub fn start(config: &Log, file: Option<&Path>) -> Result<(), Error> {
    match file {
        Some(path) => install(config, false, Mutex::new(LogFile::open(path)?)),
        None => install(config, io::IsTerminal::is_terminal(&io::stderr()), io::stderr),
    }
    Ok(())
}

fn install<W>(config: &Log, ansi: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.level))
        .with_ansi(ansi)
        .with_writer(Redacting(writer));
    // Fails only when logging has been started before.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// A log file that is put aside when it is full.
pub struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    /// Opens for appending.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (file, len) = append(path).map_err(Error::file("open", path))?;
        let mut log = Self { path: path.to_owned(), file, len };
        log.turn_over().map_err(Error::file("put aside", path))?;
        Ok(log)
    }

    /// The file, for a child process to write to.
    pub fn into_file(self) -> File {
        self.file
    }

    fn turn_over(&mut self) -> io::Result<()> {
        if self.len < LOG_LEN_MAX {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        std::fs::rename(&self.path, aside)?;
        (self.file, self.len) = append(&self.path)?;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.turn_over()?;
        let written = self.file.write(line)?;
        self.len = self.len.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_full_log_is_put_aside() {
        let scratch = Scratch::new();
        let path = scratch.path().join("control.log");
        File::create(&path).unwrap().set_len(LOG_LEN_MAX).unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"line\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
        assert_eq!(std::fs::metadata(scratch.path().join("control.log.1")).unwrap().len(), LOG_LEN_MAX);
    }

    #[test]
    fn what_is_logged_is_redacted_on_its_way_to_the_file() {
        let scratch = Scratch::new();
        let path = scratch.path().join("control.log");
        let writer = Redacting(Mutex::new(LogFile::open(&path).unwrap()));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        let secret = crate::ids::new_secret(crate::ids::STREAM_KEY_PREFIX).unwrap();
        let token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJsdl8xIn0.c2lnbmF0dXJl";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(secret, url = format!("/watch/lv_1?tok={token}"), "encoder says {secret}");
            tracing::error!(error = %io::Error::other(format!("bad token {token}")), "failed");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("encoder says") && text.contains("failed"), "{text}");
        assert!(!text.contains(&secret) && !text.contains(token), "{text}");
    }
}
