//! Waiting for something to become true, with a limit instead of a guess.

use std::time::Duration;

/// How long anything may take before a test gives up: far beyond what a loaded machine needs, so that only a defect reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns as soon as `what` holds; panics with `name` when it does not within a minute.
pub fn eventually(name: &str, mut what: impl FnMut() -> bool) {
    eventually_some(name, || what().then_some(()));
}

/// Returns the first value that `what` gives; panics with `name` when there is none within a minute.
pub fn eventually_some<T>(name: &str, what: impl FnMut() -> Option<T>) -> T {
    streams_harness::until(name, PATIENCE, what).unwrap_or_else(|error| panic!("{error}"))
}
