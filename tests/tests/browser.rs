//! Real Chromium over real WebTransport: the player page.

use std::path::Path;

use streams_tests::{Encoder, Film, Input, Namespace, Options, Stack, eventually, kill, report};

fn chromium(arguments: &[&str]) -> std::process::Output {
    streams_tests::chromium(&Namespace::here(), arguments)
}

fn broadcast(what: Film) -> (Stack, Input, Encoder) {
    let stack = Stack::start(&Options::default());
    let input = stack.live("browser");
    let encoder = Encoder::push(&input, what);
    stack.wait_status(&input, "active");
    (stack, input, encoder)
}

fn screenshot(stack: &Stack) -> String {
    stack.data.join("page.png").to_str().expect("UTF-8").to_owned()
}

#[test]
fn chromium_plays_with_and_without_audio_and_b_frames() {
    for what in [Film::BFrames, Film::VideoOnly] {
        let (stack, input, _encoder) = broadcast(what);
        let picture = screenshot(&stack);
        let output = chromium(&["--url", &stack.urls(&input.id).watch, "--seconds", "8", "--screenshot", &picture]);
        let report = report(&output);
        println!("{what:?}: {report}");
        assert!(output.status.success() && report["ok"] == true, "{what:?}: {report}");
        assert!(report["played_s"].as_f64().is_some_and(|played| played > 7.0), "{report}");
        assert!(Path::new(&picture).metadata().is_ok_and(|meta| meta.len() > 20_000), "the page was drawn");
    }
}

#[test]
fn the_page_says_what_is_wrong_in_plain_words() {
    let (stack, input, encoder) = broadcast(Film::Gop2s);
    let watch = stack.urls(&input.id).watch;
    let bad = format!("{}x", &watch[..watch.len() - 1]);
    let expect = |url: &str, what: &str| {
        let output = chromium(&["--url", url, "--seconds", "3", "--expect-error", what]);
        assert!(output.status.success(), "{what}: {}", report(&output));
    };
    expect(&bad, "auth");
    let silent = stack.live("silent");
    expect(&stack.urls(&silent.id).watch, "no_stream");
    let sent = stack.metric("streams_engine_tx_bytes_total");
    let ended = std::thread::spawn(move || chromium(&["--url", &watch, "--seconds", "25", "--expect-error", "ended"]));
    // About three seconds of this film.
    eventually("the page plays", || stack.metric("streams_engine_tx_bytes_total") > sent + 600_000.0);
    encoder.stop();
    let output = ended.join().expect("the browser ends");
    assert!(output.status.success(), "{}", report(&output));
}

#[test]
fn the_page_plays_again_after_the_engine_was_killed() {
    let (stack, input, _encoder) = broadcast(Film::Gop2s);
    let watch = stack.urls(&input.id).watch;
    let opened = stack.metric("streams_engine_sessions_opened_total");
    let page = std::thread::spawn(move || chromium(&["--url", &watch, "--seconds", "20"]));
    eventually("the page plays", || stack.metric("streams_engine_sessions_opened_total") > opened);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let old = stack.engine_pid();
    kill(old, libc::SIGKILL);
    eventually("another engine runs", || stack.engine_pid() != old);
    let _again = Encoder::push(&input, Film::Gop2s);
    let output = page.join().expect("the browser ends");
    let report = report(&output);
    println!("{report}");
    assert!(report["reconnects"].as_u64().is_some_and(|count| count >= 1), "{report}");
    assert_eq!(report["state"], "playing", "{report}");
}
