//! One track's place on the timeline.

use std::collections::VecDeque;

/// The least step between two decoding times of a track: one tick of FLV's clock.
const STEP_US_MIN: i64 = 1000;
/// A step larger than this is a gap and no frame duration.
const STEP_US_MAX: i64 = 1_000_000;
/// The step before two units have shown one: 25 frames a second.
const STEP_US_DEFAULT: i64 = 40_000;

/// A unit agrees with the one before when its time follows within this.
const AGREES_US_MAX: i64 = 1_000_000;
/// Presentation times that a new one must not equal: more than any encoder reorders.
const RECENT_PTS: usize = 16;

/// Times in a row that the track's offset does not explain.
#[derive(Debug, Clone, Copy)]
pub struct Suspect {
    pub count: u32,
    /// The offset that carries them on from where the first of them was put.
    pub offset_us: i64,
    /// The track's own offset would carry the first of them not too far ahead.
    pub leaps: bool,
    newest_us: i64,
}

/// What a track keeps of its past.
#[derive(Debug, Default)]
pub struct TrackClock {
    offset_us: Option<i64>,
    previous_offset_us: Option<i64>,
    /// The last decoding time given out, and the server's time then.
    last: Option<(i64, u64)>,
    step_us: Option<i64>,
    suspect: Option<Suspect>,
    recent_pts_us: VecDeque<i64>,
}

/// What [`TrackClock::advance`] made of a time.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    pub out_us: i64,
    /// Distance to the time before; 0 for the first.
    pub step_us: i64,
    /// The time did not follow its predecessor and was moved up.
    pub nudged: bool,
}

impl TrackClock {
    pub fn offset_us(&self) -> Option<i64> {
        self.offset_us
    }

    pub fn previous_offset_us(&self) -> Option<i64> {
        self.previous_offset_us
    }

    pub fn last(&self) -> Option<(i64, u64)> {
        self.last
    }

    /// Duration of a frame, by the last sound step.
    pub fn step_us(&self) -> i64 {
        self.step_us.unwrap_or(STEP_US_DEFAULT)
    }

    /// The offset that explains the track's times from now on.
    pub fn set_offset(&mut self, offset_us: i64) {
        if self.offset_us != Some(offset_us) {
            self.previous_offset_us = self.offset_us;
            self.offset_us = Some(offset_us);
        }
    }

    /// A time that the offset does not explain. `offset_us` would put it where it goes now.
    pub fn suspect(&mut self, dts_us: i64, offset_us: i64, leaps: bool) -> Suspect {
        let agreed =
            self.suspect.filter(|before| (0..=AGREES_US_MAX).contains(&dts_us.saturating_sub(before.newest_us)));
        let suspect = match agreed {
            Some(before) => Suspect { count: before.count.saturating_add(1), newest_us: dts_us, ..before },
            None => Suspect { count: 1, offset_us, leaps, newest_us: dts_us },
        };
        self.suspect = Some(suspect);
        suspect
    }

    /// A time that is believed: whatever was suspected before was a lie.
    pub fn trust(&mut self) {
        self.suspect = None;
    }

    /// `pts_us`, or the next millisecond that none of the newest presentation times has.
    pub fn unique_pts(&mut self, mut pts_us: i64) -> i64 {
        while self.recent_pts_us.contains(&pts_us) {
            pts_us = pts_us.saturating_add(STEP_US_MIN);
        }
        if self.recent_pts_us.len() >= RECENT_PTS {
            self.recent_pts_us.pop_front();
        }
        self.recent_pts_us.push_back(pts_us);
        pts_us
    }

    /// Moves to `wanted_us`, or just past the last time when that lies behind it.
    pub fn advance(&mut self, wanted_us: i64, now_unix_ms: u64) -> Advance {
        let Some((last_us, _)) = self.last else {
            self.last = Some((wanted_us, now_unix_ms));
            return Advance { out_us: wanted_us, step_us: 0, nudged: false };
        };
        let nudged = wanted_us < last_us.saturating_add(STEP_US_MIN);
        let out_us = if nudged { last_us.saturating_add(STEP_US_MIN) } else { wanted_us };
        let step_us = out_us.saturating_sub(last_us);
        if !nudged && step_us <= STEP_US_MAX {
            self.step_us = Some(step_us);
        }
        self.last = Some((out_us, now_unix_ms));
        Advance { out_us, step_us, nudged }
    }

    /// The source's clock starts anew; the place on the timeline stays.
    pub fn forget_offsets(&mut self) {
        self.offset_us = None;
        self.previous_offset_us = None;
        self.suspect = None;
    }
}
