//! SRT in, signed playback out, with the callers of libsrt: ffmpeg and srt-live-transmit.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use streams_tests::{Encoder, Film, Input, Namespace, Options, Owned, Stack, Testbed, eventually, film, played_well};

/// A live input with what an SRT encoder needs.
struct SrtInput {
    input: Input,
    passphrase: String,
    /// `srt://HOST:PORT`
    url: String,
}

impl SrtInput {
    fn make(stack: &Stack, ingest: &str) -> Self {
        let created = stack.json(&["live", "create", "--name", "srt", "--ingest", ingest]);
        let text = |key: &str| created.pointer(key).and_then(Value::as_str).map(str::to_owned);
        let url = text("/urls/srt").unwrap_or_default();
        Self {
            input: Input {
                id: text("/id").expect("an id"),
                key: text("/stream_key").expect("a key"),
                rtmp: text("/urls/rtmp").unwrap_or_default(),
            },
            passphrase: text("/srt_passphrase").expect("a passphrase"),
            url: url.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    fn with_key(&self) -> String {
        format!("{}?streamid={}", self.url, self.input.key)
    }

    fn encrypted(&self, key_len: u32) -> String {
        format!("{}&passphrase={}&pbkeylen={key_len}", self.with_key(), self.passphrase)
    }
}

fn push(url: &str, what: Film) -> Encoder {
    Encoder::push_srt(&Namespace::here(), url, what, &[])
}

fn plays(stack: &Stack, input: &Input, time_s: f64, video: bool, audio: Option<u64>) {
    stack.wait_status(input, "active");
    let file = stack.data.join("out.mp4");
    let played = stack.play(&stack.urls(&input.id).moqt, &file, &format!("{time_s}s"));
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    played_well(&file, time_s, video, audio);
}

fn link(stack: &Stack, input: &Input) -> Value {
    stack.json(&["live", "get", &input.id])["link"].clone()
}

/// How an encoder that must not get in was told so.
fn refused(mut encoder: Encoder) -> String {
    let mut status = None;
    eventually("the encoder gives up", || {
        status = encoder.ended();
        status.is_some()
    });
    assert!(!status.expect("ended").success());
    encoder.last_words()
}

#[test]
fn ffmpeg_plays_as_it_was_sent_plainly_and_encrypted() {
    let stack = Stack::start(&Options::default());
    for key_len in [None, Some(16), Some(32)] {
        let srt = SrtInput::make(&stack, "srt");
        let url = key_len.map_or_else(|| srt.with_key(), |len| srt.encrypted(len));
        let _encoder = push(&url, Film::BFrames);
        plays(&stack, &srt.input, 5.0, true, Some(6));
        eventually("the link is told", || link(&stack, &srt.input)["packets"].as_u64() > Some(100));
        let link = link(&stack, &srt.input);
        assert_eq!(link["encrypted"], key_len.is_some(), "{link}");
        assert_eq!((link["lost"].as_u64(), link["latency_us"].as_u64()), (Some(0), Some(120_000)), "{link}");
        assert_eq!(stack.json(&["live", "get", &srt.input.id])["protocol"], "srt");
    }
}

#[test]
fn video_without_audio_and_audio_without_video_play() {
    let stack = Stack::start(&Options::default());
    for (what, video, audio) in [(Film::VideoOnly, true, None), (Film::AudioOnly, false, Some(2))] {
        let srt = SrtInput::make(&stack, "any");
        let _encoder = push(&srt.with_key(), what);
        plays(&stack, &srt.input, 5.0, video, audio);
    }
}

#[test]
fn frames_of_29_97_a_second_and_latm_play() {
    let stack = Stack::start(&Options::default());
    let srt = SrtInput::make(&stack, "srt");
    let pattern = "testsrc2=size=640x360:rate=30000/1001";
    let url = srt.with_key();
    let arguments = [
        "-v",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        pattern,
        "-f",
        "lavfi",
        "-i",
        "sine=sample_rate=48000",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "60",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-mpegts_flags",
        "latm",
        "-f",
        "mpegts",
        &url,
    ];
    let _encoder = Encoder::run(Namespace::here().command("ffmpeg"), &arguments);
    stack.wait_status(&srt.input, "active");
    let file = stack.data.join("out.mp4");
    let played = stack.play(&stack.urls(&srt.input.id).moqt, &file, "5s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    assert_eq!(streams_tests::decode_errors(&file), "");
    let found = streams_tests::probe(&file);
    let rates: Vec<_> =
        found["streams"].as_array().expect("streams").iter().map(|stream| stream["r_frame_rate"].clone()).collect();
    assert!(rates.iter().any(|rate| rate == "30000/1001"), "{rates:?}");
    assert_eq!(rates.len(), 2, "with sound");
}

#[test]
fn srt_live_transmit_sends_a_transport_stream_with_a_structured_stream_id() {
    let stack = Stack::start(&Options::default());
    let srt = SrtInput::make(&stack, "srt");
    let stream_id = format!("#!::r={},m=publish,s={}", srt.input.id, srt.input.key);
    let escaped = stream_id.replace('#', "%23").replace('=', "%3D").replace(',', "%2C");
    let to = format!("{}?streamid={escaped}&passphrase={}", srt.url, srt.passphrase);
    // By a pipe, which loses nothing on the way to the caller.
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(film(Film::Gop2s));
    ffmpeg.args(["-c", "copy", "-f", "mpegts", "-"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut ffmpeg = Owned::new(ffmpeg.spawn().expect("ffmpeg is installed"));
    let stream = ffmpeg.child().stdout.take().expect("piped");
    let mut transmit = Command::new("srt-live-transmit");
    transmit.args(["-q", "file://con", &to]).stdin(stream).stdout(Stdio::null());
    let _transmit = Owned::new(transmit.spawn().expect("srt-live-transmit is installed (package srt-tools)"));
    plays(&stack, &srt.input, 5.0, true, Some(2));
    assert_eq!(link(&stack, &srt.input)["encrypted"], true);
}

#[test]
fn who_may_not_publish_is_refused_and_the_operator_reads_why() {
    let stack = Stack::start(&Options::default());
    let srt = SrtInput::make(&stack, "srt");
    let last_error = |input: &Input| stack.json(&["live", "get", &input.id])["last_error"].clone();
    let words = refused(push(&format!("{}?streamid=sk_wrong", srt.url), Film::Gop2s));
    assert!(words.contains("Input/output error") || words.contains("rejected"), "{words}");
    refused(push(&format!("{}&passphrase=another_passphrase", srt.with_key()), Film::Gop2s));
    eventually("the wrong passphrase is told", || last_error(&srt.input).to_string().contains("passphrase is wrong"));
    refused(push(&format!("{}&pbkeylen=24&passphrase={}", srt.with_key(), srt.passphrase), Film::Gop2s));
    stack.json(&["live", "disable", &srt.input.id]);
    refused(push(&srt.with_key(), Film::Gop2s));
    eventually("that it is disabled is told", || last_error(&srt.input).to_string().contains("disabled"));
    let rtmp = stack.live_of("rtmp only", "rtmp");
    refused(push(&format!("{}?streamid={}", srt.url, rtmp.key), Film::Gop2s));
    eventually("the kind is told", || last_error(&rtmp).to_string().contains("takes rtmp and not srt"));
    let mut encoder =
        Encoder::push_to(&format!("rtmp://127.0.0.1:{}/live/{}", stack.ports.rtmp, srt.input.key), Film::Gop2s);
    eventually("RTMP to an input for SRT is refused", || encoder.ended().is_some());
}

#[test]
fn an_encoder_comes_back_by_the_other_protocol_while_viewers_stay() {
    let stack = Stack::start(&Options::default());
    let srt = SrtInput::make(&stack, "any");
    let protocol = || stack.json(&["live", "get", &srt.input.id])["protocol"].clone();
    let first = Encoder::push(&srt.input, Film::Gop2s);
    stack.wait_status(&srt.input, "active");
    let url = stack.urls(&srt.input.id).moqt;
    let file = stack.data.join("out.mp4");
    std::thread::scope(|scope| {
        let viewer = scope.spawn(|| stack.play(&url, &file, "20s"));
        std::thread::sleep(Duration::from_secs(3));
        first.kill_hard();
        stack.wait_status(&srt.input, "reconnecting");
        let second = push(&srt.with_key(), Film::Gop2s);
        eventually("SRT is on air", || protocol() == "srt" && stack.status(&srt.input) == "active");
        // No goodbye: its silence is noticed, and a newer connection of the same key need not wait for that.
        second.kill_hard();
        let _third = push(&srt.encrypted(16), Film::Gop2s);
        eventually("the newer connection is on air", || link(&stack, &srt.input)["encrypted"] == true);
        let played = viewer.join().expect("the viewer ends");
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    });
    assert_eq!(streams_tests::decode_errors(&file), "");
}

#[test]
fn a_flood_of_handshakes_costs_nobody_their_broadcast_and_no_memory() {
    let stack = Stack::start(&Options::default());
    let srt = SrtInput::make(&stack, "srt");
    let _encoder = push(&srt.with_key(), Film::Gop2s);
    stack.wait_status(&srt.input, "active");
    let pid = stack.engine_pid();
    let resident_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS").to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let before_kib = resident_kib();
    std::thread::scope(|scope| {
        let viewer = scope.spawn(|| plays(&stack, &srt.input, 5.0, true, Some(2)));
        let mut induction = [0u8; 64];
        induction[0] = 0x80;
        induction[19] = 4;
        induction[23] = 2;
        induction[39] = 1;
        // A conclusion whose cookie nobody gave.
        let mut conclusion = induction;
        conclusion[19] = 5;
        conclusion[36..40].copy_from_slice(&[0xff; 4]);
        for round in 0..200u32 {
            let caller = UdpSocket::bind("127.0.0.1:0").expect("a port");
            for number in 0..100u32 {
                let id = (round * 100 + number + 1).to_be_bytes();
                for packet in [&mut induction, &mut conclusion] {
                    packet[40..44].copy_from_slice(&id);
                    let _ = caller.send_to(packet, ("127.0.0.1", stack.ports.srt));
                    let _ = caller.send_to(&[0x80; 9], ("127.0.0.1", stack.ports.srt));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        viewer.join().expect("the viewer saw nothing of it");
    });
    let grown_kib = resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 64 * 1024, "{grown_kib} KiB more");
    assert_eq!(link(&stack, &srt.input)["dropped"], 0);
    assert!(stack.metric("streams_engine_ingest_srt_rate_limited_total") > 1_000.0, "{}", stack.http_get("/metrics"));
}

#[test]
fn five_percent_of_loss_at_60_ms_cost_no_picture() {
    let line = ["--loss", "5%", "--delay", "30ms"];
    let Some(testbed) = Testbed::up("five_percent_of_loss_at_60_ms_cost_no_picture", 1, &line) else { return };
    let options =
        Options { namespace: testbed.pop.clone(), host: Testbed::POP_IPV4, io: "udp".to_owned(), ..Options::default() };
    let stack = Stack::start(&options);
    let srt = SrtInput::make(&stack, "srt");
    // ffmpeg counts in microseconds.
    let url = format!("{}&latency=240000", srt.encrypted(16));
    let _encoder = Encoder::push_srt(&testbed.net, &url, Film::Gop2s, &[]);
    // The viewer is beside the engine: only the encoder's line is bad.
    plays(&stack, &srt.input, 10.0, true, Some(2));
    let link = link(&stack, &srt.input);
    let number = |key: &str| link[key].as_u64().unwrap_or_else(|| panic!("{key} of {link}"));
    assert!(number("lost") > 20 && number("retransmitted") >= number("lost"), "{link}");
    assert_eq!((number("dropped"), number("latency_us")), (0, 240_000), "{link}");
    assert!((55_000..90_000).contains(&number("rtt_us")), "{link}");
}
