//! What the command prints: one JSON object, or text for a person.

use std::io::{self, Write};

use serde_json::{Value, json};
use streams_sdk::ClientErrorKind;

use crate::Error;

/// Where results and errors go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: one object a command.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads this.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, or as `text` makes it.
    pub fn show(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), Error> {
        let text = if self.json { format!("{value:#}\n") } else { text() };
        print(&text)
    }

    /// A line about progress, beside the result.
    pub fn note(&self, line: &str) {
        // Nobody to tell when standard error is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// An error: with `--json` an object on standard error too, so that standard output holds results alone.
    pub fn error(&self, error: &Error) {
        let kind = match error {
            Error::Api { kind, .. } => kind.as_str(),
            Error::Play(error) => match error.kind {
                ClientErrorKind::Usage => "usage",
                ClientErrorKind::NotFound => "not_found",
                ClientErrorKind::Auth => "auth_failed",
                ClientErrorKind::Unreachable => "unreachable",
                ClientErrorKind::Untrusted => "untrusted",
                ClientErrorKind::Failed => "failed",
            },
            error if error.is_unreachable() => "unreachable",
            error if error.is_usage() => "usage",
            _ => "failed",
        };
        let line = match self.json {
            true => json!({ "error": { "type": kind, "detail": error.to_string() } }).to_string(),
            false => format!("streams: {error}"),
        };
        self.note(&line);
    }
}

/// Prints to standard output. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::file("write to", "standard output")(error))
        }
        _ => Ok(()),
    }
}
