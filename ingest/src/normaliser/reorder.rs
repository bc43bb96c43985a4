//! Decoding times for video that only has presentation times.

/// Frames that may be decoded ahead of their turn. Encoders for live use reorder by one to three.
const DEPTH: usize = 4;

/// Gives the n-th frame in decoding order the (n - DEPTH)-th presentation time in presentation order: such a time always
/// increases, is never later than the frame's own presentation time, and needs no frame to wait.
#[derive(Debug)]
pub struct Reorder {
    /// The newest presentation times, ascending, at most DEPTH + 1.
    window_us: Vec<i64>,
    step_us: i64,
}

impl Reorder {
    /// `step_us` is the frame duration, used until the window is full.
    pub fn new(step_us: i64) -> Self {
        Self { window_us: Vec::with_capacity(DEPTH + 1), step_us }
    }

    pub fn push(&mut self, pts_us: i64) -> i64 {
        let at = self.window_us.partition_point(|earlier| *earlier <= pts_us);
        self.window_us.insert(at, pts_us);
        if self.window_us.len() > DEPTH {
            return self.window_us.remove(0);
        }
        let missing = (DEPTH + 1).saturating_sub(self.window_us.len());
        let earliest_us = self.window_us.first().copied().unwrap_or(pts_us);
        earliest_us.saturating_sub(self.step_us.saturating_mul(i64::try_from(missing).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reordered_presentation_times_give_rising_decoding_times() {
        // Decoding order of I B-pyramid P: 0 4 2 1 3 8 6 5 7 12 …
        let mut reorder = Reorder::new(40_000);
        let frames = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let mut last = i64::MIN;
        for pts_us in frames.map(|frame| frame * 40_000) {
            let dts_us = reorder.push(pts_us);
            assert!(dts_us > last, "{dts_us} follows {last}");
            assert!(dts_us <= pts_us);
            last = dts_us;
        }
    }
}
