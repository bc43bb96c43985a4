//! Real pushes by ffmpeg, judged by ffprobe and by ffmpeg's decoders.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use streams_ingest::Answer;
use streams_media::MediaKind;
use support::{Broadcast, START_UNIX_MS, TestFile, film, make, push, push_copy};

/// One broadcast of one connection.
fn broadcast(file: &Path) -> Broadcast {
    let mut broadcast = Broadcast::new();
    broadcast.take(push_copy(file).events);
    broadcast.finish();
    broadcast
}

fn presentation_times(file: &TestFile) -> Vec<i64> {
    file.probe("frame=pts").iter().filter_map(|pts| pts.parse().ok()).collect()
}

fn assert_rising(times: &[i64]) {
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn the_sample_film_comes_out_frame_for_frame() {
    let broadcast = broadcast(&film());
    let video = broadcast.file("video/720p");
    video.decodes();
    assert_eq!(video.probe_one("stream=nb_read_frames"), "132");
    assert_eq!(video.probe_one("stream=avg_frame_rate"), "25/1");
    assert_eq!(video.probe_one("stream=width,height"), "1280,720");
    assert_rising(&presentation_times(&video));

    let audio = broadcast.file("audio");
    audio.decodes();
    assert_eq!(audio.probe_one("stream=nb_read_frames"), "249");
    assert_eq!(audio.probe_one("stream=sample_rate,channels"), "48000,6");
    let times = presentation_times(&audio);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1024), "the count of samples has no hole");
}

#[test]
fn the_sample_film_has_one_group_for_its_one_key_frame() {
    let broadcast = broadcast(&film());
    let objects = broadcast.objects("video/720p");
    assert_eq!(objects.len(), 132);
    for (position, (group, object, _)) in objects.iter().enumerate() {
        assert_eq!((*group, *object), (START_UNIX_MS, position as u64));
    }
    let audio = broadcast.objects("audio");
    assert_eq!(audio.len(), 83, "three frames of 21.3 ms an object");
    assert!(audio.iter().all(|(group, _, _)| *group == START_UNIX_MS), "same media time, same group id");
}

#[test]
fn the_catalog_of_the_sample_film_is_complete_at_once() {
    let broadcast = broadcast(&film());
    let catalogs = broadcast.catalogs();
    assert_eq!(catalogs.len(), 1, "one catalog, since the encoder tells the bitrates");
    let [video, audio] = catalogs[0].tracks.as_slice() else { panic!("{:?}", catalogs[0]) };
    assert_eq!(
        (video.kind, video.name.as_str(), video.codec.as_str()),
        (MediaKind::Video, "video/720p", "avc1.4D401F")
    );
    assert_eq!((video.width, video.height, video.framerate), (Some(1280), Some(720), Some(25.0)));
    assert_eq!((video.timescale, video.alt_group), (Some(90_000), Some(1)));
    assert!(video.bitrate.is_some_and(|bitrate| bitrate > 100_000), "{:?}", video.bitrate);
    assert_eq!((audio.kind, audio.name.as_str(), audio.codec.as_str()), (MediaKind::Audio, "audio", "mp4a.40.2"));
    assert_eq!((audio.sample_rate, audio.channels, audio.timescale), (Some(48_000), Some(6), Some(48_000)));
    for track in [video, audio] {
        let (group, init) = broadcast.inits(&track.name).remove(0);
        assert_eq!(track.init.as_ref(), Some(&init));
        assert_eq!(track.init_track, Some(format!("{}.init", track.name)));
        assert_eq!((track.init_group, group), (Some(START_UNIX_MS), START_UNIX_MS));
    }
}

#[test]
fn key_app_and_media_survive_any_way_to_write_the_url() {
    let film = film();
    let film = film.to_str().expect("a plain path");
    for path in ["live/KEY", "live?sk=KEY", "live/camera?sk=KEY", "live/camera?user=me&pass=KEY"] {
        let push = push(&["-i", film, "-t", "0.2", "-c", "copy"], path, Answer::Accept);
        assert_eq!((push.app.as_str(), push.key.as_str()), ("live", "KEY"), "{path}");
        assert!(push.succeeded && push.events.len() > 5, "{path}: {}", push.said);
    }
}

#[test]
fn a_rejected_encoder_is_told_why() {
    let film = film();
    let film = film.to_str().expect("a plain path");
    let push = push(&["-i", film, "-c", "copy"], "live/WRONG", Answer::Refuse("stream key is not known"));
    assert!(!push.succeeded);
    assert!(push.said.contains("stream key is not known"), "{}", push.said);
    assert!(push.events.is_empty());
}

#[test]
fn other_codecs_are_refused_by_name() {
    let film = film();
    let film = film.to_str().expect("a plain path");
    let mp3 =
        push(&["-i", film, "-c:v", "copy", "-c:a", "mp3", "-ac", "2", "-ar", "44100"], "live/KEY", Answer::Accept);
    let error = mp3.error.expect("refused").to_string();
    assert_eq!(error, "audio codec MP3 is not supported; send AAC or Opus");
    let h263 = push(&["-i", film, "-an", "-c:v", "flv1", "-s", "352x288"], "live/KEY", Answer::Accept);
    let error = h263.error.expect("refused").to_string();
    assert_eq!(error, "video codec Sorenson H.263 is not supported; send H.264, H.265, AV1 or VP9");
}

#[test]
fn frames_that_are_decoded_out_of_order_are_shown_in_order() {
    let source = make(
        "mp4",
        &[
            "-i",
            film().to_str().expect("a plain path"),
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-bf",
            "3",
            "-g",
            "50",
            "-b_strategy",
            "0",
            "-c:a",
            "copy",
        ],
    );
    assert_eq!(source.probe_one("stream=has_b_frames").split('\n').next(), Some("2"));
    let broadcast = broadcast(&source.path);
    let video = broadcast.file("video/720p");
    video.decodes();
    assert_eq!(video.probe_one("stream=nb_read_frames"), "132");
    assert_eq!(video.probe_one("stream=avg_frame_rate"), "25/1");
    let times = presentation_times(&video);
    assert_rising(&times);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3600), "{times:?}");
    assert!(video.probe("frame=pict_type").iter().any(|kind| kind == "B"));
    let groups: BTreeSet<u64> = broadcast.objects("video/720p").iter().map(|object| object.0).collect();
    assert_eq!(groups.len(), 3, "a key frame every two seconds");
    let audio_groups: BTreeSet<u64> = broadcast.objects("audio").iter().map(|object| object.0).collect();
    assert_eq!(groups, audio_groups);
    let audio = broadcast.file("audio");
    audio.decodes();
    assert_eq!(audio.probe_one("stream=nb_read_frames"), "249");
}

#[test]
fn video_alone_gets_its_catalog_without_audio() {
    let source = make("mp4", &["-i", film().to_str().expect("a plain path"), "-an", "-c", "copy"]);
    let broadcast = broadcast(&source.path);
    let catalogs = broadcast.catalogs();
    assert_eq!(catalogs.iter().map(|catalog| catalog.tracks.len()).collect::<Vec<_>>(), [1]);
    assert_eq!(catalogs[0].tracks[0].name, "video/720p");
    let video = broadcast.file("video/720p");
    video.decodes();
    assert_eq!(video.probe_one("stream=nb_read_frames"), "132");
}

#[test]
fn audio_alone_makes_groups_of_two_seconds() {
    let source = make("mp4", &["-i", film().to_str().expect("a plain path"), "-vn", "-c", "copy"]);
    let broadcast = broadcast(&source.path);
    let catalogs = broadcast.catalogs();
    assert_eq!(catalogs[0].tracks.len(), 1);
    assert_eq!(catalogs[0].tracks[0].name, "audio");
    let objects = broadcast.objects("audio");
    let groups: BTreeSet<u64> = objects.iter().map(|object| object.0).collect();
    assert_eq!(groups.len(), 3, "5.3 s of sound");
    let audio = broadcast.file("audio");
    audio.decodes();
    assert_eq!(audio.probe_one("stream=nb_read_frames"), "249");
}

#[test]
fn another_picture_size_after_a_reconnect_gets_its_own_init_segment_and_catalog() {
    let size = |size: &str| {
        let film = film();
        let film = film.to_str().expect("a plain path");
        make("mp4", &["-i", film, "-t", "2", "-s", size, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy"])
    };
    let mut broadcast = Broadcast::new();
    broadcast.take(push_copy(&size("640x360").path).events);
    broadcast.reconnect();
    broadcast.unix_ms += 10_000;
    broadcast.take(push_copy(&size("320x180").path).events);
    broadcast.finish();

    let inits = broadcast.inits("video/360p");
    assert_eq!(inits.len(), 2, "one an encoder configuration");
    assert!(inits[0].0 < inits[1].0);
    assert_eq!(broadcast.inits("audio").len(), 1, "the sound's header did not change");
    let catalogs = broadcast.catalogs();
    let sizes: Vec<_> =
        catalogs.iter().map(|catalog| (catalog.tracks[0].name.as_str(), catalog.tracks[0].height)).collect();
    assert_eq!(sizes.first(), Some(&("video/360p", Some(360))));
    assert_eq!(sizes.last(), Some(&("video/360p", Some(180))), "the name stays, the size is in the catalog");
    let labels: Vec<bool> = [360, 180]
        .map(|height| format!(r#""name":"video/360p","label":"{height}p""#))
        .into_iter()
        .zip([broadcast.msf_catalogs().first(), broadcast.msf_catalogs().last()])
        .map(|(wanted, json)| json.is_some_and(|json| json.contains(&wanted)))
        .collect();
    assert_eq!(labels, [true, true], "what people read is the size now");

    // Each part plays with the init segment that its groups ask for.
    for (number, (from, init)) in inits.iter().enumerate() {
        let until = inits.get(number + 1).map_or(u64::MAX, |next| next.0);
        let mut bytes = init.to_vec();
        for (group, _, payload) in broadcast.objects("video/360p") {
            if (*from..until).contains(&group) {
                bytes.extend_from_slice(&payload);
            }
        }
        let part = TestFile::new("mp4", &bytes);
        part.decodes();
        assert_eq!(part.probe_one("stream=nb_read_frames"), "50");
    }
    // The ten seconds between the connections stay a gap on the timeline.
    let audio = broadcast.file("audio");
    audio.decodes();
    let times = presentation_times(&audio);
    assert_rising(&times);
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    assert!((9 * 48_000..11 * 48_000).contains(&gap), "{gap}");
}

#[test]
fn both_tracks_start_at_the_same_moment() {
    let broadcast = broadcast(&film());
    let first = |name: &str| broadcast.file(name).probe("packet=pts_time").remove(0).parse::<f64>().expect("a time");
    assert!((first("video/720p") - first("audio")).abs() < 0.025);
}

#[test]
fn a_film_in_a_loop_plays_on() {
    let film = film();
    let film = film.to_str().expect("a plain path");
    let push = push(&["-stream_loop", "2", "-i", film, "-map", "0", "-c", "copy"], "live/KEY", Answer::Accept);
    assert!(push.succeeded && push.error.is_none(), "{} {:?}", push.said, push.error);
    let mut broadcast = Broadcast::new();
    broadcast.take(push.events);
    broadcast.finish();
    assert_eq!(broadcast.normaliser.counters().jumps, 0);
    let groups: BTreeSet<u64> = broadcast.objects("video/720p").iter().map(|object| object.0).collect();
    assert_eq!(groups.len(), 3, "one key frame a round");
    let video = broadcast.file("video/720p");
    video.decodes();
    let (packaged, normalised) = (broadcast.packager.counters(), broadcast.normaliser.counters());
    assert_eq!(video.probe_one("stream=nb_read_frames"), "396", "{packaged:?} {normalised:?}");
    assert_rising(&presentation_times(&video));
    let audio = broadcast.file("audio");
    audio.decodes();
    let counters = broadcast.packager.counters();
    assert!(counters.audio_frames + counters.audio_ahead == 747 && counters.audio_ahead <= 3, "{counters:?}");
}
