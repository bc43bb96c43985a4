//! Decoding times for video that only has presentation times.

/// Frames that may be decoded ahead of their turn. Encoders for live use reorder by one to three.
const DEPTH: usize = 4;

/// A larger step is a jump of the encoder's clock and no reordering.
const STEP_US_MAX: i64 = 2_000_000;
/// Frames in order after which a stream is no longer taken for a reordered one: B-frames come sooner.
const IN_ORDER_MAX: u32 = 48;
/// Frame duration while two frames have not shown one.
const STEP_US_DEFAULT: i64 = 40_000;

/// Watches video whose decoding times equal its presentation times. Once one of them steps back into a place that was left free
/// for it the stream is known to be reordered (a time that merely jitters falls between two neighbours), and the n-th frame in decoding order gets the (n - DEPTH)-th presentation time in presentation order:
/// such a time always rises, is never later than the frame's own presentation time, and makes no frame wait.
#[derive(Debug, Default)]
pub struct Reorder {
    /// The newest presentation times, ascending, at most DEPTH + 1.
    window_us: Vec<i64>,
    last_us: Option<i64>,
    active: bool,
    /// Frames since one stepped back.
    in_order: u32,
}

impl Reorder {
    /// Takes the next frame in decoding order; its decoding time, once the stream is known to be reordered.
    pub fn push(&mut self, pts_us: i64) -> Option<i64> {
        let step_us = self.last_us.map_or(0, |last_us| pts_us.saturating_sub(last_us));
        self.last_us = Some(pts_us);
        if step_us.saturating_abs() > STEP_US_MAX {
            self.window_us.clear();
        } else if step_us < 0 && self.was_left_free(pts_us) {
            (self.active, self.in_order) = (true, 0);
        }
        self.in_order = self.in_order.saturating_add(1);
        self.active = self.active && self.in_order <= IN_ORDER_MAX;
        let at = self.window_us.partition_point(|earlier| *earlier <= pts_us);
        self.window_us.insert(at, pts_us);
        let dts_us = if self.window_us.len() > DEPTH { self.window_us.remove(0) } else { self.extrapolate(pts_us) };
        self.active.then_some(dts_us)
    }

    /// The frames around `pts_us` are further apart than others are.
    fn was_left_free(&self, pts_us: i64) -> bool {
        let (mut around_us, mut others_us) = (None, None::<i64>);
        for pair in self.window_us.windows(2) {
            let [earlier, later] = pair else { continue };
            let distance_us = later.saturating_sub(*earlier);
            if *earlier < pts_us && pts_us < *later {
                around_us = Some(distance_us);
            } else if distance_us > 0 {
                others_us = Some(others_us.map_or(distance_us, |least_us| least_us.min(distance_us)));
            }
        }
        around_us.is_some_and(|around_us| others_us.is_none_or(|us| around_us.saturating_mul(2) > us.saturating_mul(3)))
    }

    /// The time that would have left the window, were it full.
    fn extrapolate(&self, pts_us: i64) -> i64 {
        let missing = (DEPTH + 1).saturating_sub(self.window_us.len());
        let steps = self.window_us.windows(2).filter_map(|pair| match pair {
            [earlier, later] => Some(later.saturating_sub(*earlier)).filter(|step_us| *step_us > 0),
            _ => None,
        });
        let step_us = steps.min().unwrap_or(STEP_US_DEFAULT);
        let earliest_us = self.window_us.first().copied().unwrap_or(pts_us);
        earliest_us.saturating_sub(step_us.saturating_mul(i64::try_from(missing).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding order of I and P frames with three B-frames, of which the middle one is referenced.
    const PYRAMID: [i64; 13] = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];

    #[test]
    fn reordered_presentation_times_give_rising_decoding_times() {
        let mut reorder = Reorder::default();
        let times = PYRAMID.map(|frame| (frame * 40_000, reorder.push(frame * 40_000)));
        let rebuilt: Vec<(i64, i64)> =
            times.into_iter().filter_map(|(pts_us, dts_us)| Some((pts_us, dts_us?))).collect();
        assert_eq!(rebuilt.len(), 11, "known at the first step back");
        assert!(rebuilt.iter().all(|(pts_us, dts_us)| dts_us <= pts_us), "{rebuilt:?}");
        assert!(rebuilt.windows(2).all(|pair| pair[0].1 < pair[1].1), "{rebuilt:?}");
    }

    #[test]
    fn times_in_order_and_jumps_are_left_alone() {
        let mut reorder = Reorder::default();
        assert!((0..100).all(|frame| reorder.push(frame * 40_000).is_none()));
        assert!(reorder.push(-3_600_000_000).is_none());
    }

    #[test]
    fn jitter_is_no_reordering() {
        let mut reorder = Reorder::default();
        for frame in 0..200 {
            let back_us = if frame % 15 == 14 { 50_000 } else { 0 };
            assert!(reorder.push(frame * 40_000 - back_us).is_none(), "frame {frame}");
        }
    }

    #[test]
    fn reordering_that_ends_is_forgotten() {
        let mut reorder = Reorder::default();
        for frame in PYRAMID {
            reorder.push(frame * 40_000);
        }
        let rebuilt = (13..100).filter(|frame| reorder.push(frame * 40_000).is_some()).count();
        assert!((1..=48).contains(&rebuilt), "{rebuilt}");
    }
}
