//! What `streams play` says when there is nothing to play, or nobody to believe.

use std::process::Output;

use streams_tests::{Encoder, Film, Options, Stack, eventually, played_well};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_input_without_a_broadcaster_is_not_found_and_said_to_be_so() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("idle");
    let url = stack.urls(&input.id).moqt;
    let play = || stack.cli(&["play", &url, "--for", "1s"]);
    let idle = play();
    assert_eq!(idle.status.code(), Some(3), "{}", said(&idle));
    assert!(said(&idle).contains("nobody is broadcasting"), "{}", said(&idle));
    assert!(!said(&idle).contains("no such track"), "{}", said(&idle));

    let encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    assert!(play().status.success());
    drop(encoder);
    assert!(stack.cli(&["live", "disable", &input.id]).status.success());
    stack.wait_status(&input, "disabled");
    // The shard that a viewer comes to may hear of the end a moment later than the other one.
    eventually("its broadcast is over, and that is said", || {
        let over = play();
        over.status.code() == Some(3) && said(&over).contains("nobody is broadcasting")
    });
}

#[test]
fn a_viewer_elsewhere_is_told_how_to_trust_a_development_certificate_and_can() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("elsewhere");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let urls = stack.json(&["playback-url", &input.id]);
    let (url, hash) = (urls["moqt"].as_str().expect("a URL"), urls["certificate_sha256"][0].as_str().expect("a hash"));
    let elsewhere = stack.data.join("another-machine");
    std::fs::create_dir_all(&elsewhere).expect("made");
    let file = stack.data.join("out.mp4");
    let play = |more: &[&str]| {
        let mut command = stack.command(&["play", url, "--for", "3s", "-o", file.to_str().expect("UTF-8")]);
        command.args(more).env("STREAMS_DATA", &elsewhere).output().expect("it runs")
    };
    let refused = play(&[]);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    for word in ["certificate is not trusted", "--data DIR", "--cert-sha256 HEX"] {
        assert!(said(&refused).contains(word), "{word}: {}", said(&refused));
    }
    let wrong = play(&["--cert-sha256", &"00".repeat(32)]);
    assert_eq!(wrong.status.code(), Some(5), "{}", said(&wrong));
    assert_eq!(play(&["--cert-sha256", "00"]).status.code(), Some(2));
    let played = play(&["--cert-sha256", hash]);
    assert!(played.status.success(), "{}", said(&played));
    played_well(&file, 3.0, true, Some(2));
}
