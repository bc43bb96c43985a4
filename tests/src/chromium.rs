//! A real Chromium that watches the player page.

use std::process::Output;

use serde_json::Value;

use crate::{Namespace, repo};

/// Runs `sdk/web/test/browser.mjs`, whose head says what it takes, and waits for its end.
pub fn chromium(namespace: &Namespace, arguments: &[&str]) -> Output {
    let script = repo().join("sdk/web/test/browser.mjs");
    namespace.command("node").arg(script).args(arguments).output().expect("node is installed")
}

/// What the script reports.
pub fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| {
        panic!("no report: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    serde_json::from_str(line).expect("the report is JSON")
}
