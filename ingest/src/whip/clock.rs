//! One time line for two RTP clocks that know nothing of each other.
//!
//! An RTP time begins anywhere. So a track begins where its first frame arrived, and goes on by its own clock. Once both tracks
//! have a sender report (RFC 3550 §6.4.1), which puts their clocks beside one wall clock of the sender, the video is moved until
//! both agree: slowly, so that no picture jumps. The sound stays as it is, for it is counted in samples. A sender that never
//! reports keeps the first guess.

use std::time::{Duration, Instant};

use streams_media::MediaKind;

const US_PER_S: i128 = 1_000_000;
/// The video is moved by no more than this part of the time that passed.
const SLEW_PART: i64 = 16;
/// A difference beyond this is no start of two tracks; it is set right at once.
const SLEW_US_MAX: i64 = 2_000_000;

/// Where a clock was at a moment of the sender's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The low 32 bits of the RTP time.
    pub ticks: u32,
    /// The sender's wall clock, from any epoch, in microseconds.
    pub wall_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    first_ticks: u64,
    /// Time of the first tick.
    offset_us: i64,
    last_us: i64,
    /// The track's time less the sender's wall clock.
    beside_wall_us: Option<i64>,
}

/// The clock of one session.
#[derive(Debug)]
pub struct MediaClock {
    began: Instant,
    video: Option<Track>,
    audio: Option<Track>,
}

impl MediaClock {
    /// Time zero is `now`.
    pub fn new(now: Instant) -> Self {
        Self { began: now, video: None, audio: None }
    }

    /// The time of a frame whose first packet arrived at `arrived`, in microseconds of the session. `ticks` counts on where the
    /// 32 bits of RTP wrap.
    pub fn time_us(&mut self, kind: MediaKind, ticks: u64, rate: u32, arrived: Instant, report: Option<Report>) -> i64 {
        let arrived_us = micros(arrived.saturating_duration_since(self.began));
        let audio_beside_us = self.audio.and_then(|audio| audio.beside_wall_us);
        let track = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let track = track.get_or_insert(Track {
            first_ticks: ticks,
            offset_us: arrived_us,
            last_us: arrived_us,
            beside_wall_us: None,
        });
        let since = i128::from(ticks).saturating_sub(i128::from(track.first_ticks));
        let mut time_us = scaled(since, rate).saturating_add(track.offset_us);
        if let Some(report) = report {
            let since = (ticks as u32).wrapping_sub(report.ticks).cast_signed();
            let wall_us = report.wall_us.saturating_add(scaled(since.into(), rate));
            track.beside_wall_us = Some(time_us.saturating_sub(wall_us));
        }
        if let (MediaKind::Video, Some(own_us), Some(audio_us)) = (kind, track.beside_wall_us, audio_beside_us) {
            let wrong_us = audio_us.saturating_sub(own_us);
            let step_us = time_us.saturating_sub(track.last_us).clamp(0, SLEW_US_MAX) / SLEW_PART;
            let move_us = match wrong_us.saturating_abs() > SLEW_US_MAX {
                true => wrong_us,
                false => wrong_us.clamp(step_us.saturating_neg(), step_us),
            };
            track.offset_us = track.offset_us.saturating_add(move_us);
            time_us = time_us.saturating_add(move_us);
            track.beside_wall_us = Some(own_us.saturating_add(move_us));
        }
        track.last_us = time_us;
        time_us
    }
}

fn scaled(ticks: i128, rate: u32) -> i64 {
    i64::try_from(ticks.saturating_mul(US_PER_S) / i128::from(rate.max(1))).unwrap_or(0)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO_RATE: u32 = 90_000;
    const AUDIO_RATE: u32 = 48_000;

    /// Audio of 20 ms and video of 40 ms for `seconds`; the video arrives 150 ms late at the start. Gives the last time of each.
    fn run(seconds: u64, reports: bool) -> (i64, i64) {
        let start = Instant::now();
        let mut clock = MediaClock::new(start);
        let (mut video_us, mut audio_us) = (0, 0);
        for step in 0..seconds * 50 {
            let at = start + Duration::from_millis(step * 20);
            let report = |ticks, wall_us| (reports && step >= 50).then_some(Report { ticks, wall_us });
            let wall_us = 7_000_000 + step as i64 * 20_000;
            let ticks = 4_294_000_000 + step * 960;
            audio_us = clock.time_us(MediaKind::Audio, ticks, AUDIO_RATE, at, report(ticks as u32, wall_us));
            if step % 2 == 0 {
                let ticks = 900 + step * 1_800;
                let late = at + Duration::from_millis(150);
                video_us = clock.time_us(MediaKind::Video, ticks, VIDEO_RATE, late, report(ticks as u32, wall_us));
            }
        }
        (video_us, audio_us)
    }

    #[test]
    fn without_reports_a_track_begins_where_it_arrived_and_keeps_its_own_pace() {
        let (video_us, audio_us) = run(10, false);
        assert_eq!(audio_us, 9_980_000);
        assert_eq!(video_us, 9_960_000 + 150_000);
    }

    #[test]
    fn reports_bring_both_together_without_a_jump() {
        let (video_us, audio_us) = run(10, true);
        assert_eq!((video_us, audio_us), (9_960_000, 9_980_000));
    }

    #[test]
    fn the_wrap_of_an_rtp_time_in_a_report_is_no_jump() {
        let start = Instant::now();
        let mut clock = MediaClock::new(start);
        let report = Report { ticks: u32::MAX - 47, wall_us: 0 };
        clock.time_us(MediaKind::Audio, u64::from(u32::MAX) - 47, AUDIO_RATE, start, Some(report));
        let later = clock.time_us(MediaKind::Audio, u64::from(u32::MAX) + 47_953, AUDIO_RATE, start, Some(report));
        assert_eq!(later, 1_000_000);
        assert_eq!(clock.audio.and_then(|audio| audio.beside_wall_us), Some(0));
    }
}
