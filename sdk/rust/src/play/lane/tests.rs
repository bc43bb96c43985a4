//! One track, with pictures made by hand: 25 a second.

use streams_media::fmp4::{self, Sample, SampleFlags};
use streams_media::{AvcConfig, CodecConfig};

use super::*;

const FRAME_MS: u64 = 40;
const TICKS_PER_MS: u64 = fmp4::VIDEO_TIMESCALE as u64 / 1000;
const KEY: SampleFlags = SampleFlags::SYNC;
const DELTA: SampleFlags = SampleFlags::DELTA;
const LEADING_PICTURE: SampleFlags = SampleFlags::LEADING;
/// H.264 Main, 1280x720.
const RECORD: &[u8] = &[
    0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0x80,
];

fn init() -> InitSegment {
    let avc = AvcConfig::parse(Bytes::from_static(RECORD)).unwrap();
    InitSegment::parse(&fmp4::write_video_init(&CodecConfig::Avc(avc)).unwrap()).unwrap()
}

/// An object with one picture that decodes at `ms`.
fn picture(ms: u64, flags: SampleFlags) -> Bytes {
    let duration = u32::try_from(FRAME_MS * TICKS_PER_MS).unwrap();
    let sample = Sample { duration, flags, composition: 0, data: Bytes::from_static(b"x") };
    fmp4::write_chunk(fmp4::VIDEO_TRACK_ID, 1, ms * TICKS_PER_MS, &[sample]).unwrap()
}

/// A lane that is given pictures, and the time that passes with them.
struct Story {
    lane: Lane,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        let mut lane = Lane::new(MediaKind::Video);
        lane.set_init(init());
        Self { lane, now: Instant::now() }
    }

    /// Objects of a group from object `first` on, the first at media time `ms`; what is played of them.
    fn give(&mut self, group: u64, first: u64, ms: u64, pictures: &[SampleFlags]) -> Vec<(u64, u64)> {
        for (index, &flags) in (0u64..).zip(pictures) {
            let payload = picture(ms + index * FRAME_MS, flags);
            self.lane.push(self.now, Location { group, object: first + index }, payload);
        }
        let played = std::iter::from_fn(|| self.lane.pop(self.now, 0));
        let played: Vec<_> = played.map(|unit| (unit.location.group, unit.location.object)).collect();
        self.now += Duration::from_millis(FRAME_MS) * u32::try_from(pictures.len()).unwrap();
        played
    }
}

#[test]
fn who_starts_at_an_open_gop_leaves_its_leading_pictures_out_and_who_was_there_shows_them() {
    let open_gop = [KEY, LEADING_PICTURE, LEADING_PICTURE, DELTA];
    let mut story = Story::new();
    assert_eq!(story.give(10, 0, 0, &open_gop), [(10, 0), (10, 3)]);
    assert_eq!(story.give(20, 0, 160, &open_gop), [(20, 0), (20, 1), (20, 2), (20, 3)]);
    // After a loss the decoder starts anew.
    story.lane.lose();
    assert_eq!(story.give(40, 0, 480, &open_gop), [(40, 0), (40, 3)]);
    assert_eq!((story.lane.dropped, story.lane.holes), (0, 1));
    assert_eq!(story.lane.missing, Duration::from_millis(160));
}

#[test]
fn a_group_that_begins_with_no_key_frame_is_no_start_but_goes_on_for_who_was_there() {
    let mut story = Story::new();
    assert_eq!(story.give(10, 0, 0, &[DELTA, DELTA]), []);
    assert!(story.lane.starving_since().is_some());
    assert_eq!(story.give(20, 0, 80, &[KEY, DELTA]), [(20, 0), (20, 1)]);
    assert_eq!(story.lane.starving_since(), None);
    assert_eq!(story.give(30, 0, 160, &[DELTA, DELTA]), [(30, 0), (30, 1)]);
    // With a picture lost there is nothing to go on from.
    story.lane.lose();
    assert_eq!(story.give(40, 0, 240, &[DELTA, DELTA]), []);
    assert!(story.lane.starving_since().is_some());
    assert_eq!(story.give(50, 0, 320, &[KEY]), [(50, 0)]);
    assert_eq!((story.lane.dropped, story.lane.missing), (2, Duration::from_millis(80)));
}

#[test]
fn a_group_whose_head_is_gone_is_no_start_and_nothing_of_it_is_held() {
    let mut story = Story::new();
    assert_eq!(story.give(10, 400, 16_000, &[DELTA; 50]), []);
    assert_eq!(story.lane.waiting_bytes, 0);
    assert!(story.lane.starving_since().is_some());
    assert_eq!(story.give(20, 0, 18_000, &[KEY, DELTA]), [(20, 0), (20, 1)]);
    assert_eq!((story.lane.dropped, story.lane.holes), (0, 0));
}

#[test]
fn a_group_that_was_never_seen_is_noticed_by_its_time() {
    let mut story = Story::new();
    story.give(10, 0, 0, &[KEY, DELTA]);
    assert_eq!(story.give(30, 0, 2_080, &[DELTA]), []);
    assert_eq!(story.give(40, 0, 4_080, &[KEY, LEADING_PICTURE]), [(40, 0)]);
    assert_eq!((story.lane.holes, story.lane.missing), (1, Duration::from_secs(4)));
}

#[test]
fn nine_frozen_seconds_and_a_reconnect_miss_what_media_time_says() {
    let mut story = Story::new();
    story.give(10, 0, 0, &[KEY, DELTA]);
    story.now += Duration::from_secs(9);
    story.lane.lose();
    assert_eq!(story.give(8_000, 0, 8_780, &[KEY, DELTA]), [(8_000, 0), (8_000, 1)]);
    assert_eq!((story.lane.holes, story.lane.missing), (1, Duration::from_millis(8_700)));
}

#[test]
fn a_reconnect_that_goes_on_with_the_next_picture_misses_nothing() {
    let mut story = Story::new();
    story.give(10, 0, 0, &[KEY, DELTA]);
    story.lane.lose();
    assert_eq!(story.give(10, 0, 0, &[KEY, DELTA, DELTA]), [(10, 2)]);
    assert_eq!(story.give(20, 0, 120, &[DELTA]), [(20, 0)]);
    assert_eq!((story.lane.dropped, story.lane.holes), (2, 0));
}

#[test]
fn where_media_time_begins_anew_the_clock_says_what_is_missing() {
    for begin_ms in [0, 1_000_000_000] {
        let mut story = Story::new();
        story.give(10, 0, 500_000, &[KEY, DELTA]);
        story.now += Duration::from_secs(3);
        story.lane.lose();
        story.give(20, 0, begin_ms, &[KEY]);
        assert_eq!((story.lane.holes, story.lane.missing), (1, Duration::from_millis(3_080)), "{begin_ms}");
    }
}

#[test]
fn a_slow_picture_rate_is_no_hole() {
    let mut story = Story::new();
    story.give(10, 0, 0, &[KEY]);
    assert_eq!(story.give(10, 1, 2_000, &[DELTA]), [(10, 1)]);
    assert_eq!(story.give(20, 0, 2_300, &[KEY]), [(20, 0)]);
    assert_eq!(story.lane.holes, 0);
}

#[test]
fn sound_starts_anywhere() {
    let mut lane = Lane::new(MediaKind::Audio);
    lane.set_init(init());
    let now = Instant::now();
    lane.push(now, Location { group: 10, object: 0 }, picture(0, LEADING_PICTURE));
    assert!(lane.pop(now, 0).is_some());
}
