//! Where the packager's objects are in time, by the media and by the server's clock.

mod support;

use streams_media::{MediaKind, Position};
use support::START_UNIX_MS;
use support::studio::{Studio, tfdt};

#[test]
fn every_object_is_found_by_its_number_and_by_its_time() {
    let mut studio = Studio::new();
    studio.play(0, 6000, &[0, 2000, 4000]);
    for (track, kind, ticks_per_ms) in [("video/720p", MediaKind::Video, 90), ("audio", MediaKind::Audio, 48)] {
        let timeline = studio.packager.timeline(kind).expect("a track");
        let objects = studio.objects(track);
        assert!(objects.len() > 60, "{}", objects.len());
        for (group, object, chunk) in objects {
            let position = Position { group, object };
            let moment = timeline.at(position).expect("remembered");
            // FLV's milliseconds do not carry the samples of an AAC frame.
            let written_ms = i64::try_from(tfdt(&chunk) / ticks_per_ms).expect("a time");
            assert!((moment.media_us / 1000 - written_ms).abs() <= 1, "{moment:?} {written_ms}");
            assert_eq!(timeline.at_media(moment.media_us), Some(moment));
            assert_eq!(timeline.at_wall(moment.unix_ms).map(|found| found.position), Some(position));
        }
        assert_eq!(timeline.counters().objects_refused, 0);
    }
}

#[test]
fn media_time_goes_on_over_a_reconnect_and_the_wall_clock_shows_the_pause() {
    let mut studio = Studio::new();
    studio.play(0, 2000, &[0]);
    studio.packager.reconnect();
    studio.drain();
    let mut back = support::units::video(&studio.video, 2000, true);
    back.pts_us += 40_000;
    studio.packager.push(START_UNIX_MS + 30_000, back);
    studio.drain();
    let timeline = studio.packager.timeline(MediaKind::Video).expect("a track");
    let newest = timeline.newest().expect("objects");
    assert_eq!((newest.media_us, newest.unix_ms), (2_000_000, START_UNIX_MS + 30_000));
    let during = timeline.at_wall(START_UNIX_MS + 20_000).expect("the last before the pause");
    assert_eq!(during.media_us, 1_960_000);
}
