//! RTMP in TLS, and inputs that are made for one kind of encoder.

use std::process::{Command, Stdio};

use streams_tests::{Film, Options, Owned, Signal, Stack, eventually, film, played_well};

fn ffmpeg(url: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(film(Film::Gop2s));
    ffmpeg.args(["-c", "copy", "-f", "flv", url]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    ffmpeg
}

#[test]
fn an_encoder_pushes_rtmps_and_comes_back_on_any_shard() {
    let stack = Stack::start(&Options::default());
    let input = stack.live_of("rtmp", "rtmp");
    let url = format!("rtmps://{}:{}/live/{}", stack.host, stack.ports.rtmps, input.key);
    let shown = stack.json(&["live", "get", &input.id]);
    assert_eq!(shown["urls"]["rtmps"], format!("rtmps://{}:{}/live", stack.host, stack.ports.rtmps));
    // The kernel deals connections to shards by their port: a home shard takes over what others accepted.
    for round in 0..4 {
        let mut encoder = Owned::new(ffmpeg(&url).spawn().expect("ffmpeg is installed"));
        stack.wait_status(&input, "active");
        let file = stack.data.join(format!("{round}.mp4"));
        let output = stack.play(&stack.urls(&input.id).moqt, &file, "4s");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        played_well(&file, 4.0, true, Some(2));
        encoder.signal(Signal::INT);
        encoder.wait();
        stack.wait_status(&input, "idle");
    }
}

#[test]
fn what_is_no_tls_is_told_where_to_go_and_a_wrong_key_why() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("any");
    let plain = format!("rtmp://{}:{}/live/{}", stack.host, stack.ports.rtmps, input.key);
    let output = ffmpeg(&plain).output().expect("ffmpeg is installed");
    assert!(!output.status.success());
    let log = || std::fs::read_to_string(stack.data.join("log/engine.log")).expect("a log");
    eventually("the log says so", || log().contains("push to an rtmps:// URL"));
    let wrong = format!("rtmps://{}:{}/live/sk_wrong", stack.host, stack.ports.rtmps);
    let output = ffmpeg(&wrong).output().expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the stream key is not valid"), "{said}");
}

#[test]
fn an_encoder_of_another_kind_is_told_which_kind_the_input_takes() {
    let stack = Stack::start(&Options::default());
    let (rtmp, fmp4) = (stack.live_of("rtmp", "rtmp"), stack.live_of("fmp4", "fmp4"));
    let url = format!("moqt://{}:{}/publish/{}?sk={}", stack.host, stack.ports.quic, rtmp.id, rtmp.key);
    let output = stack.cli(&["publish", &url, film(Film::Gop2s).to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("this live input takes rtmp and not moqt"), "{said}");
    let shown = stack.json(&["live", "get", &rtmp.id]);
    assert_eq!(
        (&shown["status"], &shown["last_error"]),
        (&"idle".into(), &"this live input takes rtmp and not moqt".into())
    );

    let output = ffmpeg(&format!("rtmp://{}:{}/live/{}", stack.host, stack.ports.rtmp, fmp4.key))
        .output()
        .expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("this live input takes fmp4 and not rtmp"), "{said}");
}
