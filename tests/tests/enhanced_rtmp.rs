//! Enhanced RTMP from an encoder that speaks it: codecs beyond H.264 and AAC pass through as they are.

use std::path::Path;
use std::process::{Command, Stdio};

use streams_tests::{Input, Options, Owned, Signal, Stack, ffmpeg_9};

/// A test pattern with a tone, encoded on the way.
fn push(ffmpeg: &Path, input: &Input, video: &[&str], audio: &str) -> Owned {
    let mut command = Command::new(ffmpeg);
    command.args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v"]).args(video);
    command.args(["-pix_fmt", "yuv420p", "-b:v", "300k", "-c:a", audio, "-b:a", "64k"]);
    command.args(["-rtmp_enhanced_codecs", "hvc1,av01,vp09,Opus", "-f", "flv", &input.rtmp_with_key()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Owned::new(command.spawn().expect("it starts"))
}

/// What FFmpeg 9 finds in a recording, and what it complains about when it decodes all of it.
fn decoded(ffmpeg: &Path, file: &Path) -> (String, String) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(ffmpeg);
        command.arg("-hide_banner").args(arguments).arg("-i").arg(file).args(["-f", "null", "-"]);
        String::from_utf8_lossy(&command.output().expect("it runs").stderr).into_owned()
    };
    (run(&[]), run(&["-v", "warning"]))
}

#[test]
fn h265_av1_vp9_and_opus_are_watched_as_they_came() {
    let Some(ffmpeg) = ffmpeg_9() else { return };
    let stack = Stack::start(&Options::default());
    let hevc = ["libx265", "-preset", "ultrafast", "-x265-params", "keyint=25:bframes=2:log-level=none"];
    let av1 = ["libsvtav1", "-preset", "12", "-g", "25"];
    let vp9 = ["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25"];
    for (video, audio, codecs, found) in [
        (&hevc[..], "aac", ["hvc1.1.6.", "mp4a.40.2"], ["Video: hevc (Main) (hvc1", "Audio: aac (LC)"]),
        (&av1, "libopus", ["av01.0.", "opus"], ["Video: av1", "Audio: opus"]),
        (&vp9, "aac", ["vp09.00.", "mp4a.40.2"], ["Video: vp9", "Audio: aac (LC)"]),
    ] {
        let input = stack.live(codecs[0]);
        let mut encoder = push(&ffmpeg, &input, video, audio);
        stack.wait_status(&input, "active");
        let shown = stack.json(&["live", "get", &input.id]);
        for (track, codec) in codecs.into_iter().enumerate() {
            let told = shown["tracks"][track]["codec"].as_str().unwrap_or_default();
            assert!(told.starts_with(codec), "{told} instead of {codec}: {shown}");
        }
        let file = stack.data.join("out.mp4");
        let output = stack.play(&stack.urls(&input.id).moqt, &file, "4s");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (streams, complaints) = decoded(&ffmpeg, &file);
        assert!(found.into_iter().all(|stream| streams.contains(stream)), "{streams}");
        assert_eq!(complaints, "", "{codecs:?}");
        encoder.signal(Signal::INT);
        encoder.wait();
        stack.wait_status(&input, "idle");
    }
}
