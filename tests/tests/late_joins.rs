//! Who joins late, whatever key frames the encoder makes: real x264 streams, `streams play` and the page.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use streams_tests::{
    Chromium, Encoder, Input, Namespace, Options, Signal, Stack, decode_errors, eventually, probe, probe_refresh,
    report,
};

/// A key frame of an open GOP every 30 frames, and one IDR at the very start.
const OPEN_GOP: &str = "open-gop=1:bframes=3:keyint=30:scenecut=0";
/// No key frame but the first; every 30 frames a recovery point.
const INTRA_REFRESH: &str = "intra-refresh=1:keyint=30:scenecut=0";
/// One IDR at the start, and no other place for a decoder to start.
const ONE_KEY_FRAME: &str = "keyint=infinite:scenecut=0:bframes=0";

fn broadcast(options: &Options, x264: &str) -> (Stack, Input, Encoder) {
    let stack = Stack::start(options);
    let input = stack.live("late");
    let encoder = Encoder::push_pattern(&input, x264);
    stack.wait_status(&input, "active");
    (stack, input, encoder)
}

/// Waits until the encoder has sent `seconds` of media: 25 pictures and about 47 frames of sound a second.
fn wait_for_media(stack: &Stack, seconds: u32) {
    let units = f64::from(seconds * (25 + 47));
    eventually("the broadcast has gone on", || stack.metric("streams_engine_ingest_units_total") > units);
}

/// Records four seconds, and returns the summary.
fn record(stack: &Stack, input: &Input, file: &Path) -> Value {
    let file = file.to_str().expect("a UTF-8 path");
    stack.json(&["play", &stack.urls(&input.id).moqt, "-o", file, "--for", "4s", "--strict"])
}

fn frames(probed: &Value) -> u64 {
    let streams = probed["streams"].clone();
    let video = streams.as_array().expect("streams").iter().find(|stream| stream["codec_type"] == "video").cloned();
    video.expect("a video stream")["nb_read_frames"].as_str().expect("text").parse().expect("a number")
}

#[test]
fn who_joins_an_open_gop_late_sees_whole_pictures_from_the_next_group_on() {
    let chromium = Chromium::turn();
    let (stack, input, _encoder) = broadcast(&Options::default(), OPEN_GOP);
    wait_for_media(&stack, 16);
    let file = stack.data.join("out.mp4");
    let summary = record(&stack, &input, &file);
    println!("{summary}");
    assert_eq!(decode_errors(&file), "");
    // A group has 30 frames: who joins gets the rest of one, and no more of what is old.
    let (frames, groups) = (frames(&probe(&file)), summary["groups"].as_u64().expect("a number"));
    assert!((75..150).contains(&frames) && groups >= 3, "{frames} frames in {groups} groups");
    // Its decoder refuses some groups as a start; the page tries the next one then, so the clock alone is no measure.
    let output = chromium.run(&Namespace::here(), &["--url", &stack.urls(&input.id).watch, "--seconds", "5"]);
    let report = report(&output);
    println!("{report}");
    assert!(report["played_s"].as_f64().is_some_and(|played| played > 2.0), "{report}");
    assert_eq!(report["state"], "playing", "{report}");
}

#[test]
fn who_joins_an_intra_refresh_stream_late_gets_a_picture() {
    let (stack, input, _encoder) = broadcast(&Options::default(), INTRA_REFRESH);
    wait_for_media(&stack, 16);
    let file = stack.data.join("out.mp4");
    let summary = record(&stack, &input, &file);
    println!("{summary}");
    let frames = frames(&probe_refresh(&file));
    // Four seconds are 100 pictures. A decoder shows none before it has recovered, which x264 announces for 30 reference
    // pictures later: with B-frames between them up to 60 pictures, and some ten more to the first of them.
    assert!((30..150).contains(&frames), "{frames} frames");
}

#[test]
fn a_broadcast_that_nobody_can_join_any_more_is_told_by_play_and_by_the_page() {
    let chromium = Chromium::turn();
    // The head of the one group leaves the cache soon. The lines follow the section [relay].
    let options = Options { toml: "cache_track_bytes_max = 131072\n".to_owned(), ..Options::default() };
    let (stack, input, _encoder) = broadcast(&options, ONE_KEY_FRAME);
    wait_for_media(&stack, 16);
    let urls = stack.urls(&input.id);
    let file = stack.data.join("out.mp4");
    let played = stack.play(&urls.moqt, &file, "4s");
    let said = String::from_utf8_lossy(&played.stderr);
    assert_eq!(played.status.code(), Some(1), "{said}");
    assert!(said.contains("no key frame yet: viewers cannot join"), "{said}");
    assert!(said.contains("nothing was played: no key frame for "), "{said}");
    let output = chromium.run(&Namespace::here(), &["--url", &urls.watch, "--expect-error", "no_key_frame"]);
    assert!(output.status.success(), "{}", report(&output));
}

#[test]
fn a_viewer_that_was_frozen_tells_how_much_its_recording_misses() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("frozen");
    let _encoder = Encoder::push(&input, streams_tests::Film::Gop2s);
    stack.wait_status(&input, "active");
    let opened = stack.metric("streams_engine_sessions_opened_total");
    let urls = stack.urls(&input.id);
    let file = stack.data.join("out.mp4").to_str().expect("a UTF-8 path").to_owned();
    let mut play = stack.command(&["play", &urls.moqt, "-o", &file, "--for", "30s", "--strict", "--json"]);
    let playing = play.stdout(std::process::Stdio::piped()).spawn().expect("the streams command runs");
    eventually("it plays", || std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 500_000));
    streams_tests::kill(playing.id(), Signal::STOP);
    let frozen = std::time::Instant::now();
    eventually("the engine has given it up", || stack.metric("streams_engine_sessions_open") == 0.0);
    streams_tests::kill(playing.id(), Signal::CONT);
    let frozen = frozen.elapsed();
    eventually("it is back", || stack.metric("streams_engine_sessions_opened_total") > opened + 1.0);
    let played = playing.wait_with_output().expect("it ends");
    assert_eq!(played.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&played.stdout).expect("it prints JSON");
    println!("frozen for {frozen:?}: {summary}");
    let missing = Duration::from_millis(summary["missing_ms"].as_u64().expect("a number"));
    // It goes on at the newest group, which is two seconds long.
    let least = frozen.saturating_sub(Duration::from_secs(4));
    assert!(missing >= least && missing <= frozen + Duration::from_secs(4), "{missing:?} of {frozen:?}");
    assert_eq!((&summary["reconnects"], &summary["holes"]), (&1.into(), &1.into()));
}
