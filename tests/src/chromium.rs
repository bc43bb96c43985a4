//! A real Chromium that watches the player page.

use std::process::Output;

use serde_json::Value;
use streams_harness::{Namespace, Turn, film, repo};

/// The turn of one test to run browsers. All others, in this process or another, wait for it: a browser without a graphics card
/// takes a core, and two of them beside a stack tell more about the machine than about the player.
pub struct Chromium {
    _turn: Turn,
}

impl Chromium {
    /// Waits for the turn, which lasts until this is dropped. Take it before the stack is started, so that nothing waits meanwhile.
    pub fn turn() -> Self {
        let turn = film::kept().and_then(|folder| Turn::wait(&folder.join("chromium.lock")));
        Self { _turn: turn.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Runs `sdk/web/test/browser.mjs`, whose head says what it takes, and waits for its end.
    pub fn run(&self, namespace: &Namespace, arguments: &[&str]) -> Output {
        let script = repo().join("sdk/web/test/browser.mjs");
        namespace.command("node").arg(script).args(arguments).output().expect("node is installed")
    }
}

/// What the script reports.
pub fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| {
        panic!("no report: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    serde_json::from_str(line).expect("the report is JSON")
}
