//! Real Chromium goes live from the page, over real WebTransport.

use std::path::Path;
use std::process::Command;

use streams_tests::{Chromium, GoLive, Namespace, Options, Signal, Stack, eventually, kill, probe, report};

fn start() -> Stack {
    Stack::start(&Options::default())
}

/// Asserts that a recording of some eight seconds decodes whole, with pictures and Opus.
fn is_whole(file: &Path) {
    // Times stay as they are: a camera has no frame rate that they could be rounded to.
    let decode = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    let output = Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(file).args(decode).output();
    let complaints = output.expect("ffmpeg is installed").stderr;
    assert!(complaints.is_empty(), "decoding says: {}", String::from_utf8_lossy(&complaints));
    let found = probe(file);
    let streams = found["streams"].as_array().expect("streams");
    let of = |kind: &str| streams.iter().find(|stream| stream["codec_type"] == kind).expect("a stream of each kind");
    let (video, audio) = (of("video"), of("audio"));
    assert_eq!((video["codec_name"].as_str(), audio["codec_name"].as_str()), (Some("h264"), Some("opus")));
    let frames: u64 = video["nb_read_frames"].as_str().and_then(|count| count.parse().ok()).expect("a count");
    assert!(frames >= 50, "{frames} frames");
}

#[test]
fn chromium_goes_live_from_the_page_and_chromium_and_play_watch_it() {
    let chromium = Chromium::turn();
    let stack = start();
    let input = GoLive::input(&stack, "fmp4");
    let page = GoLive::start(&stack, &input);
    stack.wait_status(&input, "active");
    let urls = stack.urls(&input.id);
    let file = stack.data.join("page.mp4");
    let output = stack.play(&urls.moqt, &file, "8s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_whole(&file);
    let output = chromium.run(&Namespace::here(), &["--url", &urls.watch, "--seconds", "8", "--clock"]);
    let report = report(&output);
    println!("{report}");
    assert!(output.status.success() && report["ok"] == true, "{report}");
    // The page tells the server, so the broadcast ends without waiting for it to come back.
    page.stop();
    stack.wait_status(&input, "idle");
}

#[test]
fn the_page_says_why_it_may_not_go_live() {
    let _chromium = Chromium::turn();
    let stack = start();
    let (input, rtmp) = (GoLive::input(&stack, "any"), GoLive::input(&stack, "rtmp"));
    GoLive::refused(&stack, &input, "sk_wrong", "auth_failed");
    let said = GoLive::refused(&stack, &rtmp, &rtmp.key, "other_kind");
    assert!(said["error"]["message"].as_str().is_some_and(|reason| reason.contains("rtmp")), "{said}");
    stack.json(&["live", "disable", &input.id]);
    GoLive::refused(&stack, &input, &input.key, "auth_failed");
}

#[test]
fn the_page_is_live_again_after_the_engine_was_killed() {
    let _chromium = Chromium::turn();
    let stack = start();
    let input = GoLive::input(&stack, "fmp4");
    let page = GoLive::start(&stack, &input);
    stack.wait_status(&input, "active");
    let old = stack.engine_pid();
    kill(old, Signal::KILL);
    eventually("another engine runs", || stack.engine_pid() != old);
    stack.wait_status(&input, "active");
    let file = stack.data.join("again.mp4");
    let output = stack.play(&stack.urls(&input.id).moqt, &file, "8s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_whole(&file);
    page.stop();
}
