//! Real Chromium goes live from the page, over real WebTransport.

use streams_tests::{
    Chromium, GoLive, Namespace, Options, Signal, Stack, camera_played_well, eventually, kill, report,
};

fn start() -> Stack {
    Stack::start(&Options::default())
}

#[test]
fn chromium_goes_live_from_the_page_and_chromium_and_play_watch_it() {
    let chromium = Chromium::turn();
    let stack = start();
    let input = stack.live_of("browser", "fmp4");
    let page = GoLive::start(&stack, &input);
    stack.wait_status(&input, "active");
    let urls = stack.urls(&input.id);
    let file = stack.data.join("page.mp4");
    let output = stack.play(&urls.moqt, &file, "8s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    camera_played_well(&file, 50);
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
    let (input, rtmp) = (stack.live_of("browser", "any"), stack.live_of("browser", "rtmp"));
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
    let input = stack.live_of("browser", "fmp4");
    let page = GoLive::start(&stack, &input);
    stack.wait_status(&input, "active");
    let old = stack.engine_pid();
    kill(old, Signal::KILL);
    eventually("another engine runs", || stack.engine_pid() != old);
    stack.wait_status(&input, "active");
    let file = stack.data.join("again.mp4");
    let output = stack.play(&stack.urls(&input.id).moqt, &file, "8s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    camera_played_well(&file, 50);
    page.stop();
}
