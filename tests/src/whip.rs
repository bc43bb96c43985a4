//! Encoders that push by WHIP.

use std::path::Path;
use std::process::{Command, Stdio};

use streams_harness::{Film, Input, Owned, Signal, repo};

use crate::peers::{ffmpeg_9, python_with_aiortc};
use crate::{Stack, film};

/// A live input with its WHIP endpoint.
pub struct WhipInput {
    /// The input.
    pub input: Input,
    /// `https://HOST:PORT/whip/<id>`
    pub url: String,
}

impl WhipInput {
    /// Makes one that takes WHIP.
    pub fn new(stack: &Stack, name: &str) -> Self {
        Self::of_kind(stack, name, "whip")
    }

    /// Makes one of a kind that takes WHIP, maybe among others.
    pub fn of_kind(stack: &Stack, name: &str, kind: &str) -> Self {
        let input = stack.live_of(name, kind);
        let shown = stack.json(&["live", "get", &input.id]);
        let url = shown.pointer("/urls/whip").and_then(|url| url.as_str()).unwrap_or_default().to_owned();
        Self { input, url }
    }
}

/// A running encoder.
pub struct WhipEncoder(Owned);

impl WhipEncoder {
    /// FFmpeg's muxer with a film, its sound as Opus. `None` where FFmpeg 9 is not installed.
    pub fn ffmpeg(stack: &Stack, whip: &WhipInput, what: Film) -> Option<Self> {
        let ffmpeg = ffmpeg_9()?;
        let mut command = Command::new(ffmpeg);
        // It checks certificates and can be told of one in no other way.
        command.env("SSL_CERT_FILE", stack.data.join("tls/cert.pem"));
        command.args(["-v", "warning", "-re", "-stream_loop", "-1", "-i"]).arg(film(what));
        command.args(["-c:v", "copy", "-c:a", "libopus", "-ar", "48000", "-ac", "2", "-b:a", "64k"]);
        command.args(["-f", "whip", "-authorization", &whip.input.key, &whip.url]);
        Some(Self::spawn(command))
    }

    /// `aiortc` with a film that it encodes itself. `None` where it is not installed.
    pub fn aiortc(whip: &WhipInput, film: &Path) -> Option<Self> {
        let python = python_with_aiortc()?;
        let mut command = Command::new(python);
        command.arg(repo().join("tests/peers/whip_aiortc.py"));
        command.args(["--url", &whip.url, "--key", &whip.input.key, "--film"]).arg(film);
        Some(Self::spawn(command))
    }

    /// Chromium with a made-up camera and microphone; `page` is a page of a secure origin.
    pub fn chromium(whip: &WhipInput, page: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(repo().join("sdk/web/test/whip.mjs"));
        command.args(["--url", &whip.url, "--key", &whip.input.key, "--page", page]);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(Owned::new(command.spawn().expect("the encoder starts")))
    }

    /// The broadcaster's stop button: the session is deleted.
    pub fn stop(mut self) {
        self.0.signal(Signal::INT);
        self.0.wait();
    }

    /// The power cut.
    pub fn kill_hard(mut self) {
        self.0.signal(Signal::KILL);
        self.0.wait();
    }

    /// Whether it has given up.
    pub fn has_ended(&mut self) -> bool {
        self.0.ended().is_some()
    }
}
