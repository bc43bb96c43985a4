//! Lines that an outsider, or a machine out of resources, could repeat thousands of times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line of a kind in so long: enough to see that it goes on, too little to hide all others.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Lets the first line of a kind through at once, then one an [`INTERVAL`].
///
/// ```
/// use std::time::Instant;
/// use streams_logs::Seldom;
///
/// static ACCEPT: Seldom = Seldom::new();
/// if let Some(left_out) = ACCEPT.pass(Instant::now()) {
///     tracing::warn!(left_out, "a connection could not be accepted");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// No line has passed yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { last: None, left_out: 0 }))
    }

    /// Whether a line may be written now: `Some` with the number of lines that were left out since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_one_an_interval_with_the_number_left_out() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        assert_eq!(seldom.pass(start), Some(0));
        for ms in 0..5_000 {
            assert_eq!(seldom.pass(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(seldom.pass(start + INTERVAL), Some(5_000));
        assert_eq!(seldom.pass(start + INTERVAL), None);
        assert_eq!(seldom.pass(start + 2 * INTERVAL), Some(1));
    }
}
