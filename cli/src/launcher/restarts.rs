//! When a process that died is started again, and when no more.
//!
//! ```text
//! lived 10 s: at once      died earlier: 250 ms, 500 ms, 1 s, 2 s ...      the fifth death within a minute: given up
//! ```

use std::time::{Duration, Instant};

/// A process that lived so long did not die of how it was started: the next one starts at once.
const LIVED: Duration = Duration::from_secs(10);
/// The first wait before one that died early is started again; it doubles each time.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// So many deaths within [`WINDOW`] are no accident: starting again would hide what is wrong.
pub const DEATHS_MAX: usize = 5;
/// See [`DEATHS_MAX`].
const WINDOW: Duration = Duration::from_secs(60);

/// The lives of one process of an installation.
#[derive(Debug)]
pub struct Restarts {
    started_at: Instant,
    backoff: Duration,
    /// Deaths within the last [`WINDOW`], oldest first.
    deaths: Vec<Instant>,
}

impl Restarts {
    /// It starts, or is found running, at `now`.
    pub fn new(now: Instant) -> Self {
        Self { started_at: now, backoff: BACKOFF_MIN, deaths: Vec::new() }
    }

    /// It died. How long to wait before it is started again; `None` when it is given up.
    pub fn death(&mut self, now: Instant) -> Option<Duration> {
        self.deaths.retain(|death| now.saturating_duration_since(*death) < WINDOW);
        self.deaths.push(now);
        if self.deaths.len() >= DEATHS_MAX {
            return None;
        }
        if now.saturating_duration_since(self.started_at) >= LIVED {
            self.backoff = BACKOFF_MIN;
            return Some(Duration::ZERO);
        }
        let wait = self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        Some(wait)
    }

    /// It was started again.
    pub fn started(&mut self, now: Instant) {
        self.started_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_deaths_wait_longer_each_time_and_the_fifth_within_a_minute_is_the_last() {
        let mut now = Instant::now();
        let mut restarts = Restarts::new(now);
        for wait_ms in [250, 500, 1000, 2000] {
            now += Duration::from_secs(1);
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(restarts.death(now), Some(wait));
            now += wait;
            restarts.started(now);
        }
        now += Duration::from_secs(1);
        assert_eq!(restarts.death(now), None);
    }

    #[test]
    fn deaths_far_apart_are_each_mended_at_once() {
        let mut now = Instant::now();
        let mut restarts = Restarts::new(now);
        for _ in 0..100 {
            now += Duration::from_secs(15);
            assert_eq!(restarts.death(now), Some(Duration::ZERO));
            restarts.started(now);
        }
    }
}
