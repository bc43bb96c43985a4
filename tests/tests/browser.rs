//! Real Chromium over real WebTransport: the player page.

use std::path::Path;
use std::process::Output;

use streams_tests::{Chromium, Encoder, Film, Input, Namespace, Options, Signal, Stack, eventually, kill, report};

struct Broadcast {
    input: Input,
    encoder: Encoder,
    stack: Stack,
    // The last to go: the next browser has the machine for itself.
    chromium: Chromium,
}

impl Broadcast {
    fn start(what: Film) -> Self {
        let chromium = Chromium::turn();
        let stack = Stack::start(&Options::default());
        let input = stack.live("browser");
        let encoder = Encoder::push(&input, what);
        stack.wait_status(&input, "active");
        Self { input, encoder, stack, chromium }
    }

    fn watch_url(&self) -> String {
        self.stack.urls(&self.input.id).watch
    }

    fn browse(&self, arguments: &[&str]) -> Output {
        self.chromium.run(&Namespace::here(), arguments)
    }
}

fn screenshot(stack: &Stack) -> String {
    stack.data.join("page.png").to_str().expect("UTF-8").to_owned()
}

#[test]
fn chromium_plays_with_and_without_audio_and_b_frames() {
    for what in [Film::BFrames, Film::VideoOnly] {
        let broadcast = Broadcast::start(what);
        let picture = screenshot(&broadcast.stack);
        let output = broadcast.browse(&["--url", &broadcast.watch_url(), "--seconds", "8", "--screenshot", &picture]);
        let report = report(&output);
        println!("{what:?}: {report}");
        assert!(output.status.success() && report["ok"] == true, "{what:?}: {report}");
        assert_eq!(report["reconnects"], 0, "{report}");
        assert!(Path::new(&picture).metadata().is_ok_and(|meta| meta.len() > 20_000), "the page was drawn");
    }
}

#[test]
fn the_page_says_what_is_wrong_in_plain_words() {
    let broadcast = Broadcast::start(Film::Gop2s);
    let watch = broadcast.watch_url();
    let bad = format!("{}x", &watch[..watch.len() - 1]);
    let expect = |url: &str, what: &str| {
        let output = broadcast.browse(&["--url", url, "--seconds", "3", "--expect-error", what]);
        assert!(output.status.success(), "{what}: {}", report(&output));
    };
    expect(&bad, "auth");
    let silent = broadcast.stack.live("silent");
    expect(&broadcast.stack.urls(&silent.id).watch, "no_stream");
    let Broadcast { stack, encoder, chromium, .. } = broadcast;
    let sent = stack.metric("streams_engine_tx_bytes_total");
    let arguments = ["--url", &watch, "--seconds", "25", "--expect-error", "ended"];
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| chromium.run(&Namespace::here(), &arguments));
        // About three seconds of this film.
        eventually("the page plays", || stack.metric("streams_engine_tx_bytes_total") > sent + 600_000.0);
        encoder.stop();
        let output = ended.join().expect("the browser ends");
        assert!(output.status.success(), "{}", report(&output));
    });
}

#[test]
fn the_page_plays_again_after_the_engine_was_killed() {
    let broadcast = Broadcast::start(Film::Gop2s);
    let watch = broadcast.watch_url();
    let stack = &broadcast.stack;
    let opened = stack.metric("streams_engine_sessions_opened_total");
    std::thread::scope(|scope| {
        let page = scope.spawn(|| broadcast.browse(&["--url", &watch, "--seconds", "20"]));
        eventually("the page plays", || stack.metric("streams_engine_sessions_opened_total") > opened);
        std::thread::sleep(std::time::Duration::from_secs(4));
        let old = stack.engine_pid();
        kill(old, Signal::KILL);
        eventually("another engine runs", || stack.engine_pid() != old);
        let _again = Encoder::push(&broadcast.input, Film::Gop2s);
        let output = page.join().expect("the browser ends");
        let report = report(&output);
        println!("{report}");
        assert!(report["reconnects"].as_u64().is_some_and(|count| count >= 1), "{report}");
        assert_eq!(report["state"], "playing", "{report}");
    });
}
