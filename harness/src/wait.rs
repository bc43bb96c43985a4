//! Waiting for something to become true, with a limit instead of a guess.

use std::time::{Duration, Instant};

use crate::HarnessError;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);

/// Gives the first value that `found` has.
///
/// # Errors
/// [`HarnessError::TooLong`] with `what` when there is none in time.
pub fn until<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> Result<T, HarnessError> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = found() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(HarnessError::TooLong { what: what.to_owned(), patience });
        }
        std::thread::sleep(LOOK);
    }
}
