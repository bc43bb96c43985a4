//! When objects are due: by the clock, whatever became of those before (an open loop).

use std::time::{Duration, Instant};

const NANOS: u64 = 1_000_000_000;

/// Objects at even distances from a moment on.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    began: Instant,
    fps: u32,
    next: u64,
}

impl Pace {
    /// The first object is due at `began`; `fps` follow each second.
    pub fn new(began: Instant, fps: u32) -> Self {
        Self { began, fps: fps.max(1), next: 0 }
    }

    /// When the next object is due. Rounded down to nanoseconds, so that no error adds up.
    pub fn due(&self) -> Instant {
        let (seconds, rest) = (self.next / u64::from(self.fps), self.next % u64::from(self.fps));
        self.began + Duration::from_secs(seconds) + Duration::from_nanos(rest * NANOS / u64::from(self.fps))
    }

    /// Takes the next object when it is due: how late it is.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        let late = now.checked_duration_since(self.due())?;
        self.next += 1;
        Some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_due_at_even_distances_and_no_error_adds_up() {
        let began = Instant::now();
        let mut pace = Pace::new(began, 30);
        assert_eq!(pace.due(), began);
        for _ in 0..30 * 3_600 {
            assert!(pace.take(pace.due()).is_some());
        }
        assert_eq!(pace.due(), began + Duration::from_secs(3_600));
    }

    #[test]
    fn an_object_is_not_early_and_those_missed_follow_at_once() {
        let began = Instant::now();
        let mut pace = Pace::new(began + Duration::from_millis(100), 10);
        assert_eq!(pace.take(began), None);
        let now = began + Duration::from_millis(350);
        let late: Vec<Duration> = std::iter::from_fn(|| pace.take(now)).collect();
        assert_eq!(late, [250, 150, 50].map(Duration::from_millis));
        assert_eq!(pace.due(), began + Duration::from_millis(400));
    }
}
