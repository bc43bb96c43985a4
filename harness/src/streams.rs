//! The `streams` command on one data directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{HarnessError, Namespace, output_within, program};

/// No command that ends by itself takes as long, whatever else the machine does.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(180);

/// A live input as `streams live create` returned it.
#[derive(Clone, Debug)]
pub struct Input {
    /// `lv_…`
    pub id: String,
    /// The stream key.
    pub key: String,
    /// `rtmp://HOST:PORT/live`
    pub rtmp: String,
}

impl Input {
    /// The URL that ffmpeg takes.
    pub fn rtmp_with_key(&self) -> String {
        format!("{}/{}", self.rtmp, self.key)
    }
}

/// What `streams playback-url` returned.
#[derive(Clone, Debug)]
pub struct Urls {
    /// Raw QUIC.
    pub moqt: String,
    /// WebTransport.
    pub webtransport: String,
    /// Player page.
    pub watch: String,
    /// The token in all of them.
    pub token: String,
    /// `stream/<org>/<id>`
    pub namespace: Value,
}

/// The command, as a user of this installation runs it.
#[derive(Clone, Debug)]
pub struct Streams {
    program: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Where it runs.
    pub namespace: Namespace,
}

impl Streams {
    /// On a data directory, out of a namespace.
    ///
    /// # Errors
    /// [`HarnessError::NotBuilt`].
    pub fn new(data: &Path, namespace: Namespace) -> Result<Self, HarnessError> {
        Ok(Self { program: program("streams")?, data: data.to_owned(), namespace })
    }

    /// A `streams` command.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_from(&self.namespace, arguments)
    }

    /// The same out of a namespace that may be another one.
    pub fn command_from(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        let mut command = namespace.command(&self.program);
        command.args(arguments).env("STREAMS_DATA", &self.data).stdin(Stdio::null());
        command
    }

    /// Runs a `streams` command to its end.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when it does not start, or does not end in time.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, HarnessError> {
        output_within(&mut self.command(arguments), COMMAND_TIME_MAX).map_err(HarnessError::command(shown(arguments)))
    }

    /// Runs a `streams` command that must succeed, with `--json`.
    ///
    /// # Errors
    /// [`HarnessError::Command`] with its last words.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, HarnessError> {
        let failed = |reason: String| HarnessError::Command { command: shown(arguments), reason };
        let output = self.run(&[arguments, &["--json"]].concat())?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("its output is no JSON: {error}")))
    }

    /// Makes a live input that takes every encoder.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when the command fails.
    pub fn live_input(&self, name: &str) -> Result<Input, HarnessError> {
        let created = self.json(&["live", "create", "--name", name, "--ingest", "any"])?;
        let rtmp = created.pointer("/urls/rtmp").and_then(Value::as_str);
        let rtmp = rtmp.ok_or(HarnessError::Output("urls.rtmp"))?.to_owned();
        Ok(Input { id: text(&created, "id")?, key: text(&created, "stream_key")?, rtmp })
    }

    /// Deletes a live input.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when the command fails.
    pub fn delete(&self, input: &Input) -> Result<(), HarnessError> {
        self.json(&["live", "delete", &input.id]).map(drop)
    }

    /// `idle`, `active`, `reconnecting` or `disabled`.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when the command fails.
    pub fn status(&self, input: &Input) -> Result<String, HarnessError> {
        text(&self.json(&["live", "get", &input.id])?, "status")
    }

    /// URLs with a fresh token of an hour.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when the command fails.
    pub fn urls(&self, id: &str) -> Result<Urls, HarnessError> {
        let urls = self.json(&["playback-url", id])?;
        Ok(Urls {
            moqt: text(&urls, "moqt")?,
            webtransport: text(&urls, "webtransport")?,
            watch: text(&urls, "watch")?,
            token: text(&urls, "token")?,
            namespace: urls.get("namespace").cloned().ok_or(HarnessError::Output("namespace"))?,
        })
    }
}

fn shown(arguments: &[&str]) -> String {
    format!("streams {}", arguments.join(" "))
}

fn text(value: &Value, key: &'static str) -> Result<String, HarnessError> {
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(HarnessError::Output(key))
}
