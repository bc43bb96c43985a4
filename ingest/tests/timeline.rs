//! What encoders do to timestamps, and what viewers get.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use streams_ingest::{Dropped, Normaliser, NormaliserConfig};
use streams_media::{AccessUnit, CodecConfig, MediaKind};
use support::START_UNIX_MS;
use support::units::{aac, aac_ms, audio, avc, video};

struct Timeline {
    normaliser: Normaliser,
    video: Arc<CodecConfig>,
    audio: Arc<CodecConfig>,
    unix_ms: u64,
}

impl Timeline {
    fn new() -> Self {
        let normaliser = Normaliser::new(NormaliserConfig::default());
        Self { normaliser, video: avc(), audio: aac(), unix_ms: START_UNIX_MS }
    }

    fn push(&mut self, unit: AccessUnit) -> Result<AccessUnit, Dropped> {
        self.normaliser.push(self.unix_ms, unit)
    }

    /// Decoding time in milliseconds that a video frame comes out with.
    fn video(&mut self, dts_ms: i64) -> i64 {
        let unit = video(&self.video, dts_ms, false);
        self.push(unit).expect("passed").dts_us / 1000
    }

    fn audio(&mut self, dts_ms: i64) -> i64 {
        let unit = audio(&self.audio, dts_ms);
        self.push(unit).expect("passed").dts_us / 1000
    }
}

#[test]
fn the_timeline_begins_at_zero_whatever_the_encoder_begins_with() {
    let mut timeline = Timeline::new();
    assert_eq!([timeline.video(86_400_000), timeline.audio(86_400_005), timeline.video(86_400_040)], [0, 5, 40]);
}

#[test]
fn a_sound_stream_is_left_as_it_is() {
    let mut timeline = Timeline::new();
    for frame in 0..500 {
        assert_eq!(timeline.video(frame * 40), frame * 40);
        assert_eq!(timeline.audio(aac_ms(frame * 2)), aac_ms(frame * 2));
        timeline.unix_ms += 40;
    }
    let counters = timeline.normaliser.counters();
    assert_eq!((counters.passed, counters.jumps, counters.nudged, counters.rejoined), (1000, 0, 0, 0));
}

#[test]
fn a_jump_of_both_tracks_goes_on_seamlessly_and_in_sync() {
    for jump_ms in [1_000_000, -3_000_000] {
        let mut timeline = Timeline::new();
        for frame in 0..100 {
            timeline.video(10_000_000 + frame * 40);
            timeline.audio(10_000_010 + frame * 40);
            timeline.unix_ms += 40;
        }
        for frame in 100..200 {
            let (video_ms, audio_ms) =
                (timeline.video(10_000_000 + jump_ms + frame * 40), timeline.audio(10_000_010 + jump_ms + frame * 40));
            assert_eq!(audio_ms - video_ms, 10, "lip sync survives a jump of {jump_ms}");
            assert!((video_ms - frame * 40).abs() <= 40, "frame {frame} at {video_ms}");
            timeline.unix_ms += 40;
        }
        let counters = timeline.normaliser.counters();
        assert_eq!((counters.jumps, counters.rejoined), (1, 1), "jump of {jump_ms}");
    }
}

#[test]
fn a_base_that_only_one_track_resets_goes_on() {
    let mut timeline = Timeline::new();
    for frame in 0..100 {
        timeline.video(1_000_000 + frame * 40);
        timeline.audio(1_000_000 + frame * 40);
        timeline.unix_ms += 40;
    }
    for frame in 0..100 {
        let (video_ms, audio_ms) = (timeline.video(frame * 40), timeline.audio(1_004_000 + frame * 40));
        assert_eq!(audio_ms, 4000 + frame * 40, "the other track is not touched");
        assert!((video_ms - audio_ms).abs() <= 40, "{video_ms} {audio_ms}");
        timeline.unix_ms += 40;
    }
}

#[test]
fn one_bad_time_is_one_bad_time() {
    let mut timeline = Timeline::new();
    for frame in 0..50 {
        timeline.video(frame * 40);
        timeline.unix_ms += 40;
    }
    assert_eq!(timeline.video(4_000_000_000), 2000, "right behind its predecessor");
    timeline.unix_ms += 40;
    assert_eq!(timeline.video(2040), 2040, "its successor is where it belongs");
    let counters = timeline.normaliser.counters();
    assert_eq!((counters.jumps, counters.rejoined, counters.disbelieved), (0, 0, 1));
}

#[test]
fn lying_times_of_sound_move_nothing() {
    // -1 is what is left of a time that underflows, here 1067 ms into the broadcast.
    for lies in [vec![-1], vec![5067], vec![-1, -1], vec![5067, 9000], vec![-1, 20_000, -1]] {
        let mut timeline = Timeline::new();
        let mut lies = lies.into_iter();
        for frame in 0..500 {
            let (video_ms, audio_ms) = (frame * 40, aac_ms(frame * 2));
            assert_eq!(timeline.video(video_ms), video_ms);
            if frame >= 25
                && let Some(lie_ms) = lies.next()
            {
                let out_ms = timeline.audio(lie_ms);
                assert!((out_ms - audio_ms).abs() <= 120, "{lie_ms} became {out_ms}, {audio_ms} was right");
            } else {
                assert_eq!(timeline.audio(audio_ms), audio_ms, "frame {frame}");
            }
            timeline.unix_ms += 40;
        }
        let counters = timeline.normaliser.counters();
        assert_eq!((counters.jumps, counters.rejoined), (0, 0));
    }
}

#[test]
fn three_times_that_agree_are_a_new_time_line() {
    let mut timeline = Timeline::new();
    for frame in 0..50 {
        timeline.video(frame * 40);
        timeline.unix_ms += 40;
    }
    for frame in 0..50 {
        assert_eq!(timeline.video(9_000_000 + frame * 40), 2000 + frame * 40);
        timeline.unix_ms += 40;
    }
    let counters = timeline.normaliser.counters();
    assert_eq!((counters.jumps, counters.disbelieved), (1, 2));
}

#[test]
fn frames_that_an_encoder_left_out_stay_left_out() {
    let mut timeline = Timeline::new();
    for frame in 0..50 {
        timeline.video(frame * 40);
        timeline.audio(frame * 40);
        timeline.unix_ms += 40;
    }
    // Two seconds of video are gone; sound went on, and the server's clock with it.
    let came: Vec<i64> = (100..105).map(|frame| timeline.video(frame * 40)).collect();
    assert_eq!(came, [2000, 2040, 4080, 4120, 4160]);
    assert_eq!(timeline.audio(2000), 2000, "the other track is not touched");
}

/// Presentation times that come out, for frames `(dts, pts)` in milliseconds.
fn shown(frames: impl IntoIterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut timeline = Timeline::new();
    let mut out = Vec::new();
    for (dts_ms, pts_ms) in frames {
        let mut unit = video(&timeline.video, dts_ms, false);
        unit.pts_us = pts_ms * 1000;
        let unit = timeline.push(unit).expect("passed");
        out.push((unit.dts_us, unit.pts_us));
        timeline.unix_ms += 40;
    }
    out
}

#[test]
fn equal_and_slightly_backward_times_without_b_frames_rise_and_are_shown_as_decoded() {
    for back_ms in [40, 45, 50, 55, 70] {
        let time_ms = |frame: i64| frame * 40 - if frame % 15 == 14 { back_ms } else { 0 };
        let out = shown((0..191).map(|frame| (time_ms(frame), time_ms(frame))));
        assert!(out.iter().all(|(dts_us, pts_us)| dts_us == pts_us), "{back_ms}: {out:?}");
        assert!(out.windows(2).all(|pair| pair[0].1 < pair[1].1), "{back_ms}: {out:?}");
        let moved = out.iter().zip(0..).filter(|((_, pts_us), frame)| *pts_us != frame * 40_000).count();
        assert!(moved <= 13, "only the {moved} frames with a bad time are moved");
    }
}

#[test]
fn equal_times_with_b_frames_stay_unique() {
    // Decoding order I P B B, every 15th frame with the time of the one before.
    let frames = (0..190i64).map(|frame| {
        let late = if frame % 15 == 14 { 40 } else { 0 };
        let place = [0, 3, 1, 2][usize::try_from(frame % 4).expect("small")] + frame / 4 * 4;
        (frame * 40 - late, place * 40 + 80 - late)
    });
    let out = shown(frames);
    let mut pts: Vec<i64> = out.iter().map(|(_, pts_us)| *pts_us).collect();
    pts.sort_unstable();
    assert!(pts.windows(2).all(|pair| pair[0] < pair[1]), "{pts:?}");
    assert!(out.windows(2).all(|pair| pair[0].0 < pair[1].0), "{out:?}");
}

#[test]
fn small_steps_back_are_nudged_forward() {
    let mut timeline = Timeline::new();
    assert_eq!(
        [timeline.audio(0), timeline.audio(100), timeline.audio(90), timeline.audio(100), timeline.audio(120)],
        [0, 100, 101, 102, 120]
    );
    assert_eq!(timeline.normaliser.counters().nudged, 2);
}

#[test]
fn a_gap_that_the_clock_confirms_stays_a_gap() {
    let mut timeline = Timeline::new();
    timeline.video(0);
    timeline.video(40);
    timeline.unix_ms += 30_000;
    assert_eq!(timeline.video(30_040), 30_040);
    assert_eq!(timeline.normaliser.counters().gaps, 1);
}

#[test]
fn a_gap_that_the_clock_denies_is_closed() {
    let mut timeline = Timeline::new();
    timeline.video(0);
    timeline.video(40);
    timeline.unix_ms += 40;
    assert_eq!([30_040, 30_080, 30_120, 30_160].map(|dts_ms| timeline.video(dts_ms)), [80, 120, 160, 200]);
    assert_eq!(timeline.normaliser.counters().jumps, 1);
}

#[test]
fn a_reconnect_goes_on_where_the_clock_is() {
    let mut timeline = Timeline::new();
    for frame in 0..25 {
        timeline.video(frame * 40);
        timeline.audio(frame * 40 + 5);
        timeline.unix_ms += 40;
    }
    timeline.normaliser.reconnect();
    timeline.unix_ms += 20_000;
    let (video_ms, audio_ms) = (timeline.video(500), timeline.audio(505));
    assert_eq!((video_ms, audio_ms), (21_005, 21_010));
    assert_eq!(timeline.normaliser.counters().jumps, 0, "a reconnect is no jump");
}

#[test]
fn a_reconnect_faster_than_the_clock_never_goes_back() {
    let mut timeline = Timeline::new();
    // A file pushed faster than it plays: ten seconds of media in no time.
    for frame in 0..250 {
        timeline.video(frame * 40);
    }
    timeline.normaliser.reconnect();
    timeline.unix_ms += 100;
    let video_ms = timeline.video(0);
    assert!((10_000..10_200).contains(&video_ms), "{video_ms}");
}

#[test]
fn decoding_times_are_rebuilt_when_an_encoder_repeats_presentation_times() {
    let mut timeline = Timeline::new();
    let mut last = -1;
    for gop in 0..20 {
        for place in [0, 3, 1, 2, 6, 4, 5, 9, 7, 8] {
            let pts_ms = (gop * 10 + place) * 40;
            let unit = video(&timeline.video, pts_ms, place == 0);
            let unit = timeline.push(unit).expect("passed");
            assert_eq!(unit.pts_us, pts_ms * 1000, "presentation stays as it was");
            assert!(unit.dts_us > last, "{} follows {last}", unit.dts_us);
            last = unit.dts_us;
            if gop > 1 {
                assert!(unit.dts_us <= unit.pts_us, "{} {}", unit.dts_us, unit.pts_us);
            }
        }
        timeline.unix_ms += 400;
    }
    let counters = timeline.normaliser.counters();
    assert!(counters.dts_rebuilt > 150 && counters.jumps == 0, "{counters:?}");
}

#[test]
fn composition_offsets_survive_and_absurd_ones_do_not() {
    let mut timeline = Timeline::new();
    let mut unit = video(&timeline.video, 0, true);
    unit.pts_us = 80_000;
    assert_eq!(timeline.push(unit).expect("passed").pts_us, 80_000);
    let mut unit = video(&timeline.video, 40, false);
    unit.pts_us = 3_600_000_000;
    assert_eq!(timeline.push(unit).expect("passed").pts_us, 40_000);
    assert_eq!(timeline.normaliser.counters().composition_reset, 1);
}

#[test]
fn empty_units_and_units_before_the_start_are_dropped_and_counted() {
    let mut timeline = Timeline::new();
    timeline.video(1000);
    let early = audio(&timeline.audio, 900);
    assert_eq!(timeline.push(early).expect_err("dropped"), Dropped::BeforeStart);
    let mut empty = audio(&timeline.audio, 1100);
    empty.data = bytes::Bytes::new();
    assert_eq!(timeline.push(empty).expect_err("dropped"), Dropped::Empty);
    assert_eq!(timeline.normaliser.counters().dropped, 2);
}

proptest! {
    #[test]
    fn decoding_times_always_rise(
        steps in prop::collection::vec((any::<bool>(), any::<i64>(), any::<i32>(), 0u64..100_000, 0u8..20), 1..200),
    ) {
        let mut timeline = Timeline::new();
        let mut last = [-1i64; 2];
        let mut source_us = 0i64;
        for (is_video, wild, composition, clock_ms, habit) in steps {
            source_us = match habit {
                0 => wild,
                1 => source_us.saturating_sub(1_000_000),
                _ => source_us.saturating_add(40_000),
            };
            timeline.unix_ms += if habit == 2 { clock_ms } else { 40 };
            if habit == 3 {
                timeline.normaliser.reconnect();
            }
            let config = if is_video { Arc::clone(&timeline.video) } else { Arc::clone(&timeline.audio) };
            let mut unit = audio(&config, 0);
            (unit.dts_us, unit.pts_us) = (source_us, source_us.saturating_add(i64::from(composition)));
            if let Ok(unit) = timeline.push(unit) {
                let last = &mut last[usize::from(unit.kind() == MediaKind::Audio)];
                prop_assert!(unit.dts_us > *last && unit.pts_us >= 0);
                *last = unit.dts_us;
            }
        }
    }
}
