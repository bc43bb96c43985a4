//! Chromium that goes live from the page.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use streams_harness::{Input, Owned, Signal, repo};

use crate::{Stack, report};

/// A browser that is live, with a made-up camera and microphone.
pub struct GoLive(Owned);

impl GoLive {
    /// Opens the page, chooses the camera, which films a clock, and goes live.
    pub fn start(stack: &Stack, input: &Input) -> Self {
        let mut command = command(stack, input, &input.key);
        command.arg("--clock").stdin(Stdio::null()).stdout(Stdio::null());
        Self(Owned::new(command.spawn().expect("node is installed")))
    }

    /// Tries to go live with a key, and gives what the page says then; it has to say `error`.
    pub fn refused(stack: &Stack, input: &Input, key: &str, error: &str) -> Value {
        let output: Output =
            command(stack, input, key).args(["--expect-error", error]).output().expect("node is installed");
        let said = report(&output);
        assert!(output.status.success() && said["ok"] == true, "{error} is expected: {said}");
        said
    }

    /// The broadcaster's stop button.
    pub fn stop(mut self) {
        self.0.signal(Signal::INT);
        let ended = self.0.wait();
        assert!(ended.success(), "the page was live to the end");
    }
}

/// `sdk/web/test/go-live.mjs`, whose head says what it takes.
fn command(stack: &Stack, input: &Input, key: &str) -> Command {
    let page = format!("http://127.0.0.1:{}/go-live/{}", stack.ports.http_dev, input.id);
    let mut command = Command::new("node");
    command.arg(repo().join("sdk/web/test/go-live.mjs")).args(["--page", &page, "--key", key]);
    command
}
