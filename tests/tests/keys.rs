//! Who may push: wrong, disabled and rotated stream keys, and two encoders with one key.

use std::time::Duration;
use streams_tests::{Encoder, Film, Input, Options, Stack, eventually};

/// ffmpeg gave up because the server refused it.
fn refused(mut encoder: Encoder) {
    eventually("ffmpeg gives up", || encoder.ended().is_some());
    let status = encoder.ended().expect("it ended");
    assert!(!status.success(), "ffmpeg thinks that it published");
}

fn keeps_running(encoder: &mut Encoder) {
    std::thread::sleep(Duration::from_secs(2));
    assert!(encoder.ended().is_none(), "the encoder was cut");
}

#[test]
fn a_wrong_or_disabled_key_is_refused_and_an_enabled_one_works_again() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("keys");
    refused(Encoder::push_to(&format!("{}/sk_wrong", input.rtmp), Film::Gop2s));
    stack.json(&["live", "disable", &input.id]);
    assert_eq!(stack.status(&input), "disabled");
    refused(Encoder::push(&input, Film::Gop2s));
    stack.json(&["live", "enable", &input.id]);
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    // Disabling in mid-broadcast ends it.
    stack.json(&["live", "disable", &input.id]);
    refused(_encoder);
}

#[test]
fn rotating_the_key_cuts_the_broadcaster_on_the_old_one() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("rotate");
    let encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let rotated = stack.json(&["live", "rotate-key", &input.id]);
    let key = rotated["stream_key"].as_str().expect("the new key").to_owned();
    assert_ne!(key, input.key);
    refused(encoder);
    refused(Encoder::push(&input, Film::Gop2s));
    let input = Input { key, ..input };
    let mut encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    keeps_running(&mut encoder);
}

#[test]
fn the_newest_of_two_encoders_wins_wherever_it_arrives() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("newest");
    let mut current = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    // The kernel spreads connections over both shards: of eight takeovers some come in away from home.
    for _ in 0..8 {
        let next = Encoder::push(&input, Film::Gop2s);
        refused(std::mem::replace(&mut current, next));
    }
    keeps_running(&mut current);
    stack.wait_status(&input, "active");
    assert!(stack.metric("streams_engine_hand_overs_total") > 0.0, "no encoder arrived on the other shard");
}

#[test]
fn an_unsupported_codec_is_named_in_the_inputs_status() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("codec");
    let child = std::process::Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x180:rate=25",
            "-c:v",
            "flv1",
            "-t",
            "20",
            "-f",
            "flv",
        ])
        .arg(input.rtmp_with_key())
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("ffmpeg is installed");
    let mut encoder = streams_tests::Owned::new(child);
    eventually("ffmpeg gives up", || encoder.ended().is_some());
    eventually("the status names the codec", || {
        let error = stack.json(&["live", "get", &input.id])["last_error"].to_string();
        error.contains("Sorenson") || error.contains("H.263")
    });
}
