//! Groups, objects, init segments and catalogs by the rules that players rely on.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use streams_ingest::{Output, PackagerConfig, StreamMetadata};
use streams_media::RandomAccess;
use streams_media::catalog::Catalog;
use streams_media::fmp4::{self, SampleFlags};
use support::studio::{Studio, flags, samples, tfdt};
use support::units::{aac_ms, aac_stereo, avc, avc_changed, video};
use support::{START_UNIX_MS, catalogs};

#[test]
fn a_group_is_a_closed_gop_on_both_tracks() {
    let mut studio = Studio::new();
    studio.play(0, 6000, &[0, 2000, 4000]);
    let ids = [START_UNIX_MS, START_UNIX_MS + 2000, START_UNIX_MS + 4000];
    assert_eq!(studio.groups("video/720p"), ids.map(|id| (id, 50)));
    assert_eq!(studio.groups("audio").iter().map(|group| group.0).collect::<Vec<_>>(), ids);
    let ends: Vec<_> = studio
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::GroupEnd { track, group } => Some((&**track, *group)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("audio", ids[0]), ("video/720p", ids[0]), ("audio", ids[1]), ("video/720p", ids[1])]);
}

#[test]
fn an_audio_object_never_spans_an_idr() {
    let mut studio = Studio::new();
    studio.play(0, 6000, &[0, 1000, 2000, 3000]);
    let mut last_end = 0;
    for (group, _, chunk) in studio.objects("audio") {
        let samples = samples(&chunk).len() as u64;
        assert!((1..=3).contains(&samples), "at most 64 ms");
        let start_ms = tfdt(&chunk) / 48;
        assert!(start_ms + 1 >= group - START_UNIX_MS || group == START_UNIX_MS);
        assert_eq!(tfdt(&chunk), last_end, "no hole");
        last_end = tfdt(&chunk) + samples * 1024;
    }
}

#[test]
fn no_frame_waits_for_its_successor() {
    let mut studio = Studio::new();
    for frame in 0..10 {
        studio.video(frame * 40, frame == 0);
        assert_eq!(studio.objects("video/720p").len(), frame as usize + 1);
    }
    for (position, (_, _, chunk)) in studio.objects("video/720p").iter().enumerate() {
        assert_eq!((tfdt(chunk), samples(chunk)[0].duration), (position as u64 * 3600, 3600));
    }
}

#[test]
fn composition_offsets_are_signed() {
    let mut studio = Studio::new();
    studio.video(0, true);
    let mut late = video(&studio.video, 40, false);
    late.pts_us = 160_000;
    studio.push(late);
    let mut early = video(&studio.video, 80, false);
    early.pts_us = 40_000;
    studio.push(early);
    let offsets: Vec<_> =
        studio.objects("video/720p").iter().map(|(_, _, chunk)| samples(chunk)[0].composition).collect();
    assert_eq!(offsets, [0, 10_800, -3600]);
}

#[test]
fn video_waits_for_its_first_idr_and_audio_with_it() {
    let mut studio = Studio::new();
    studio.play(0, 3000, &[1000]);
    assert_eq!(studio.packager.counters().waiting_for_start, 25);
    assert_eq!(studio.groups("video/720p"), [(START_UNIX_MS + 1000, 50)]);
    let audio = studio.objects("audio");
    assert!(audio.iter().all(|(group, _, _)| *group == START_UNIX_MS + 1000));
    let first_ms = tfdt(&audio[0].2) / 48;
    assert!((1000..1022).contains(&first_ms), "{first_ms}");
    assert!(studio.packager.counters().before_first_start > 0);
}

#[test]
fn audio_does_not_wait_for_ever_for_an_idr() {
    let mut studio = Studio::new();
    studio.play(0, 12_000, &[]);
    assert!(studio.objects("video/720p").is_empty());
    let first_ms = tfdt(&studio.objects("audio")[0].2) / 48;
    assert!((8_900..10_100).contains(&first_ms), "{first_ms}");
}

#[test]
fn audio_goes_on_in_its_own_groups_when_video_falls_silent() {
    let mut studio = Studio::new();
    studio.play(0, 1000, &[0]);
    for frame in 48..300 {
        studio.audio(aac_ms(frame));
    }
    let groups = studio.groups("audio");
    assert!(groups.len() >= 3, "{groups:?}");
    studio.play(aac_ms(301), 8000, &[]);
    let last = studio.packager.last_group().expect("groups");
    studio.video(8000, true);
    assert!(studio.objects("video/720p").last().expect("frames").0 > last);
}

#[test]
fn audio_alone_starts_after_half_a_second_or_at_once_when_announced() {
    let mut studio = Studio::new();
    for frame in 0..200 {
        studio.audio(aac_ms(frame));
    }
    let (_, _, first) = &studio.objects("audio")[0];
    assert_eq!(tfdt(first), 0, "nothing of the wait is lost");
    assert_eq!(studio.groups("audio").len(), 3, "4.3 s");

    let mut studio = Studio::new();
    studio.packager.metadata(&StreamMetadata { has_video: Some(false), has_audio: Some(true), ..Default::default() });
    studio.audio(0);
    assert_eq!(catalogs(&studio.outputs).len(), 1, "the first frame is enough");
}

#[test]
fn video_that_joins_sound_makes_a_new_catalog() {
    let mut studio = Studio::new();
    for frame in 0..100 {
        studio.audio(aac_ms(frame));
    }
    studio.play(2200, 4000, &[2200]);
    let names: Vec<Vec<String>> = catalogs(&studio.outputs)
        .iter()
        .map(|catalog| catalog.tracks.iter().map(|track| track.name.clone()).collect())
        .collect();
    assert_eq!(names.first().expect("catalogs"), &["audio"]);
    assert!(names.contains(&vec!["video/720p".to_owned(), "audio".to_owned()]), "{names:?}");
}

/// Track names of every catalog, in order.
fn listed(outputs: &[Output]) -> Vec<Vec<String>> {
    let names = |catalog: &Catalog| catalog.tracks.iter().map(|track| track.name.clone()).collect();
    catalogs(outputs).iter().map(names).collect()
}

#[test]
fn a_track_that_no_longer_comes_leaves_the_catalog_until_it_comes_again() {
    let mut studio = Studio::new();
    studio.play(0, 4000, &[0, 2000]);
    // The microphone is gone for ten seconds.
    for dts_ms in (4000..14_000).step_by(40) {
        studio.video(dts_ms, dts_ms % 2000 == 0);
    }
    assert_eq!(listed(&studio.outputs).last().expect("catalogs"), &["video/720p"]);
    studio.play(14_000, 16_000, &[14_000]);
    assert_eq!(listed(&studio.outputs).last().expect("catalogs"), &["video/720p", "audio"]);
    // Now the camera.
    for frame in (16_000 * 48 / 1024)..(23_000 * 48 / 1024) {
        studio.audio(aac_ms(frame));
    }
    assert_eq!(listed(&studio.outputs).last().expect("catalogs"), &["audio"]);
}

#[test]
fn a_pause_of_both_tracks_leaves_the_catalog_alone() {
    let mut studio = Studio::new();
    studio.play(0, 4000, &[0, 2000]);
    let before = listed(&studio.outputs).len();
    studio.play(34_000, 36_000, &[34_000]);
    assert_eq!(listed(&studio.outputs).len(), before);
}

#[test]
fn an_encoder_that_comes_back_without_sound_says_so_and_the_catalog_too() {
    let mut studio = Studio::new();
    studio.play(0, 4000, &[0, 2000]);
    studio.packager.reconnect();
    studio.packager.metadata(&StreamMetadata { has_video: Some(true), has_audio: Some(false), ..Default::default() });
    studio.video(5000, true);
    assert_eq!(listed(&studio.outputs).last().expect("catalogs"), &["video/720p"]);
}

#[test]
fn the_catalog_does_not_wait_long_for_audio() {
    let mut studio = Studio::new();
    for frame in 0..13 {
        studio.video(frame * 40, frame == 0);
        assert!(catalogs(&studio.outputs).is_empty(), "frame {frame}");
    }
    studio.video(520, false);
    assert_eq!(catalogs(&studio.outputs).len(), 1);

    let mut studio = Studio::new();
    studio.video(0, true);
    studio.audio(0);
    assert_eq!(catalogs(&studio.outputs).len(), 1, "both are there");
}

#[test]
fn a_bitrate_that_nobody_tells_is_measured_once() {
    let mut studio = Studio::new();
    studio.play(0, 10_000, &[0, 2000, 4000, 6000, 8000]);
    let catalogs = catalogs(&studio.outputs);
    assert!(catalogs.len() <= 3, "{}", catalogs.len());
    let last = catalogs.last().expect("catalogs");
    // Seven bytes a frame, 25 frames a second; four bytes a frame, 46.9 frames a second.
    let near =
        |bitrate: Option<u64>, wanted: u64| bitrate.is_some_and(|bitrate| bitrate.abs_diff(wanted) < wanted / 10);
    assert!(near(last.tracks[0].bitrate, 1400), "{:?}", last.tracks[0].bitrate);
    assert!(near(last.tracks[1].bitrate, 1500), "{:?}", last.tracks[1].bitrate);
}

#[test]
fn changed_parameter_sets_make_an_init_group_and_a_catalog() {
    let mut studio = Studio::new();
    studio.packager.metadata(&StreamMetadata {
        video_bitrate: Some(1),
        audio_bitrate: Some(1),
        ..StreamMetadata::default()
    });
    studio.play(0, 2000, &[0]);
    studio.video = avc();
    studio.play(2000, 4000, &[2000]);
    assert_eq!(catalogs(&studio.outputs).len(), 1, "equal bytes are no change");
    studio.video = avc_changed();
    studio.video(4000, false);
    studio.video(4040, false);
    studio.play(4080, 6000, &[4080]);
    assert_eq!(studio.packager.counters().waiting_for_start, 2, "a frame needs an IDR of its own configuration");
    let inits: Vec<u64> = studio
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Init { track, group, .. } if &**track == "video/720p.init" => Some(*group),
            _ => None,
        })
        .collect();
    assert_eq!(inits, [START_UNIX_MS, START_UNIX_MS + 4080]);
    let catalogs = catalogs(&studio.outputs);
    assert_eq!(catalogs.len(), 2);
    assert_eq!(catalogs[1].tracks[0].init_group, Some(START_UNIX_MS + 4080));
    assert_ne!(catalogs[0].tracks[0].init, catalogs[1].tracks[0].init);
}

#[test]
fn changed_sound_begins_a_group_of_its_own() {
    let mut studio = Studio::new();
    studio.play(0, 1000, &[0]);
    studio.audio = aac_stereo();
    for dts_ms in [1003, 1026, 1049, 1072] {
        studio.audio(dts_ms);
    }
    let groups = studio.groups("audio");
    assert_eq!(groups.len(), 2);
    assert!(groups[1].0 > groups[0].0);
    assert_eq!(catalogs(&studio.outputs).last().expect("catalogs").tracks[1].timescale, Some(44_100));
    let (_, _, chunk) = studio.objects("audio").pop().expect("objects");
    let start_ms = tfdt(&chunk) * 1000 / 44_100;
    assert!((1000..1100).contains(&start_ms), "{start_ms}");
}

#[test]
fn sound_follows_the_encoders_clock_only_past_fifty_milliseconds() {
    let mut studio = Studio::new();
    studio.packager.metadata(&StreamMetadata { has_video: Some(false), ..Default::default() });
    let mut dts_ms = 0;
    for frame in 0..50 {
        studio.audio(aac_ms(frame) + 20 * (frame % 2));
        dts_ms = aac_ms(frame + 1);
    }
    assert_eq!(studio.packager.counters().audio_anchored, 0, "jitter is none of its business");
    for frame in 0..10 {
        studio.audio(dts_ms + 200 + aac_ms(frame));
    }
    let counters = studio.packager.counters();
    assert_eq!((counters.audio_anchored, counters.audio_ahead), (1, 0));
    // The encoder's clock falls behind the samples by 100 ms: some frames too many.
    for frame in 10..40 {
        studio.audio(dts_ms + 100 + aac_ms(frame));
    }
    let counters = studio.packager.counters();
    assert_eq!(counters.audio_anchored, 1);
    assert!((3..8).contains(&counters.audio_ahead), "{}", counters.audio_ahead);
}

#[test]
fn ids_and_times_go_on_over_a_reconnect_and_a_restart() {
    let mut studio = Studio::new();
    studio.play(0, 2000, &[0]);
    studio.packager.reconnect();
    studio.drain();
    studio.video(5000, false);
    studio.play(5040, 7000, &[5040]);
    assert_eq!(
        studio.groups("video/720p").iter().map(|group| group.0).collect::<Vec<_>>(),
        [START_UNIX_MS, START_UNIX_MS + 5040]
    );
    let times: Vec<u64> = studio.objects("video/720p").iter().map(|object| tfdt(&object.2)).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    let tracks = studio.outputs.iter().filter(|output| matches!(output, Output::Track { .. })).count();
    assert_eq!(tracks, 6, "each track is opened once");

    // A server whose clock was set back still goes on upwards.
    let first_group_min = studio.packager.last_group().expect("groups") + 86_400_000;
    let mut studio = Studio::with(PackagerConfig { first_group_min, ..PackagerConfig::default() });
    studio.play(0, 1000, &[0]);
    assert_eq!(studio.groups("video/720p")[0].0, first_group_min);
}

#[test]
fn every_track_is_announced_before_its_first_object() {
    let mut studio = Studio::new();
    studio.play(0, 3000, &[0]);
    let mut known = Vec::new();
    for output in &studio.outputs {
        match output {
            Output::Track { name, priority, pinned } => {
                assert_eq!(*pinned, name.ends_with(".init") || name.ends_with("catalog"), "{name}");
                assert_eq!(*priority == 0, *pinned, "{name}");
                known.push(Arc::clone(name));
            }
            Output::Init { track, .. } | Output::Object { track, .. } | Output::GroupEnd { track, .. } => {
                assert!(known.contains(track), "{track}");
            }
            Output::Catalog { .. } => {
                assert!([".catalog", "catalog"].iter().all(|name| known.iter().any(|known| **known == **name)));
            }
            Output::Refused { reason } => panic!("{reason}"),
        }
    }
    let order: Vec<&str> = known.iter().map(|name| &**name).collect();
    assert_eq!(order, ["video/720p.init", "video/720p", "audio.init", "audio", ".catalog", "catalog"]);
}

/// What random encoders do: `(kind, step in ms, key, habit)`.
fn habits() -> impl Strategy<Value = Vec<(bool, i64, bool, u8)>> {
    prop::collection::vec((any::<bool>(), 1i64..200, prop::bool::weighted(0.1), 0u8..60), 1..400)
}

proptest! {
    #[test]
    fn whatever_comes_tracks_keep_their_shape(habits in habits()) {
        let mut studio = Studio::new();
        let mut dts_ms = [0i64; 2];
        for (is_video, step_ms, key, habit) in habits {
            let dts_ms = &mut dts_ms[usize::from(is_video)];
            *dts_ms += if habit == 0 { step_ms * 100 } else { step_ms };
            match habit {
                1 => studio.packager.reconnect(),
                2 => studio.video = avc_changed(),
                3 => studio.video = avc(),
                4 => studio.audio = aac_stereo(),
                _ => {}
            }
            let dts_ms = *dts_ms;
            match (is_video, habit) {
                (true, 5..9) => {
                    let mut unit = video(&studio.video, dts_ms, false);
                    unit.access = RandomAccess::Open;
                    studio.push(unit);
                }
                (true, _) => studio.video(dts_ms, key),
                (false, _) => studio.audio(dts_ms),
            }
        }
        studio.packager.finish();
        studio.drain();
        for track in ["video/720p", "audio"] {
            let init_name = format!("{track}.init");
            let inits = studio.outputs.iter().filter(|output| match output {
                Output::Init { track, .. } => **track == *init_name,
                _ => false,
            });
            // Sound of another rate counts in another timescale.
            let one_timescale = track != "audio" || inits.count() <= 1;
            let mut last: Option<(u64, u64, u64)> = None;
            let mut in_gop = 0;
            for (group, object, chunk) in studio.objects(track) {
                let (time, sync) = (tfdt(&chunk), flags(&chunk) == SampleFlags::SYNC);
                match last {
                    Some((last_group, last_object, last_time)) => {
                        prop_assert!(!one_timescale || time > last_time, "times rise");
                        if group == last_group {
                            prop_assert_eq!(object, last_object + 1, "no gap in the object ids");
                        } else {
                            prop_assert!(group > last_group && object == 0, "groups rise and start with object 0");
                            in_gop += u64::from(!sync);
                        }
                    }
                    None => prop_assert!(object == 0 && sync),
                }
                last = Some((group, object, time));
            }
            let wanted = if track == "audio" { 0 } else { studio.packager.counters().groups_in_gop };
            prop_assert_eq!(in_gop, wanted, "groups start at a sync sample unless a GOP was too long");
        }
        for output in &studio.outputs {
            prop_assert!(!matches!(output, Output::Refused { .. }), "{output:?}");
        }
    }
}

/// The box types of a file, top level.
fn kinds(segment: &[u8]) -> Vec<[u8; 4]> {
    fmp4::boxes(segment).map(|found| found.expect("whole boxes").kind).collect()
}

#[test]
fn init_segments_and_objects_hold_what_cmaf_says_and_no_more() {
    let mut studio = Studio::new();
    studio.play(0, 1000, &[0]);
    for output in &studio.outputs {
        match output {
            Output::Init { payload, .. } => assert_eq!(kinds(payload), [*b"ftyp", *b"moov"]),
            Output::Object { payload, .. } => assert_eq!(kinds(payload), [*b"moof", *b"mdat"]),
            _ => {}
        }
    }
}
