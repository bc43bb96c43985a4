//! Groups of encoders that send few IDR pictures or none.

mod support;

use streams_ingest::PackagerConfig;
use streams_media::RandomAccess;
use streams_media::fmp4::SampleFlags;
use support::START_UNIX_MS;
use support::studio::Studio;
use support::units::video;

const SYNC: SampleFlags = SampleFlags::SYNC;
const DELTA: SampleFlags = SampleFlags::DELTA;
const LEADING: SampleFlags = SampleFlags::LEADING;

#[test]
fn an_endless_gop_goes_on_in_groups_of_thirty_seconds_that_are_no_start() {
    let mut studio = Studio::new();
    studio.play(0, 61_000, &[0]);
    let ids = [START_UNIX_MS, START_UNIX_MS + 30_000, START_UNIX_MS + 60_000];
    assert_eq!(studio.groups("video/720p"), [(ids[0], 750), (ids[1], 750), (ids[2], 25)]);
    assert_eq!(studio.groups("audio").iter().map(|group| group.0).collect::<Vec<_>>(), ids);
    assert_eq!(studio.openers(), [SYNC, DELTA, DELTA]);
    assert_eq!(studio.packager.counters().groups_in_gop, 2);
    assert_eq!(studio.packager.without_start_ms(), 60_960);
    studio.video(61_000, true);
    assert_eq!(studio.openers(), [SYNC, DELTA, DELTA, SYNC], "a key frame begins a group that viewers can join at");
    assert_eq!(studio.packager.without_start_ms(), 0);
}

#[test]
fn an_endless_gop_goes_on_in_groups_of_bounded_bytes() {
    let mut studio = Studio::with(PackagerConfig { group_len_max: 100_000, ..PackagerConfig::default() });
    for frame in 0..100 {
        let mut unit = video(&studio.video, frame * 40, frame == 0);
        unit.data = vec![0; 9_000].into();
        studio.push(unit);
    }
    let groups = studio.groups("video/720p");
    assert_eq!(groups.len(), 10, "{groups:?}");
    for (group, _) in groups {
        let chunks = studio.objects("video/720p");
        let len: usize = chunks.iter().filter(|chunk| chunk.0 == group).map(|chunk| chunk.2.len()).sum();
        assert!(len <= 100_000 + 120, "{len}");
    }
    assert_eq!(studio.openers().iter().filter(|flags| **flags == SYNC).count(), 1);
}

#[test]
fn a_frame_larger_than_a_group_is_a_group() {
    let mut studio = Studio::with(PackagerConfig { group_len_max: 1000, ..PackagerConfig::default() });
    for frame in 0..4 {
        let mut unit = video(&studio.video, frame * 40, frame == 0);
        unit.data = vec![0; 9_000].into();
        studio.push(unit);
    }
    assert_eq!(studio.groups("video/720p").iter().map(|group| group.1).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

/// Frames `(dts, pts, access)` in hundredths of a second.
fn push_frames(studio: &mut Studio, frames: &[(i64, i64, RandomAccess)]) {
    for (dts, pts, access) in frames {
        let mut unit = video(&studio.video, dts * 10, false);
        (unit.pts_us, unit.access) = (pts * 10_000, *access);
        studio.push(unit);
    }
}

#[test]
fn a_recovery_point_begins_a_group_whose_leading_pictures_are_marked() {
    use RandomAccess::{Closed, None, Open};
    let mut studio = Studio::new();
    push_frames(&mut studio, &[(0, 8, Closed), (4, 20, None), (8, 12, None), (12, 16, None)]);
    // An open GOP: the pictures at 64 and 68 are shown before its first at 72, and decoded after it.
    push_frames(&mut studio, &[(60, 72, Open), (64, 64, None), (68, 68, None), (72, 84, None), (76, 76, None)]);
    // Too soon for another group, so that it is a picture like others.
    push_frames(&mut studio, &[(80, 96, Open), (84, 88, None)]);
    assert_eq!(studio.groups("video/720p"), [(START_UNIX_MS, 4), (START_UNIX_MS + 600, 7)]);
    let flags = [SYNC, DELTA, DELTA, DELTA, SYNC, LEADING, LEADING, DELTA, DELTA, DELTA, DELTA];
    assert_eq!(studio.flags(), flags);
    assert_eq!(studio.packager.without_start_ms(), 40);
}

#[test]
fn viewers_can_join_an_encoder_that_begins_in_the_middle_of_an_open_gop() {
    let mut studio = Studio::new();
    push_frames(&mut studio, &[(0, 0, RandomAccess::None), (4, 4, RandomAccess::Open), (8, 8, RandomAccess::None)]);
    assert_eq!(studio.groups("video/720p"), [(START_UNIX_MS + 40, 2)]);
    assert_eq!(studio.flags(), [SYNC, DELTA]);
}
