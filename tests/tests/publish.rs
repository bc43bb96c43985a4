//! `streams publish`: a file or a pipe is a broadcast like any encoder's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use streams_tests::{
    Film, Input, Namespace, Options, Owned, Signal, Stack, decode_errors, eventually, film, kill, played_well, probe,
};

fn url(stack: &Stack, input: &Input) -> String {
    format!("moqt://{}:{}/publish/{}?sk={}", stack.host, stack.ports.quic, input.id, input.key)
}

fn publish(stack: &Stack, input: &Input, file: &Path, more: &[&str]) -> Owned {
    let url = url(stack, input);
    let mut command = stack.command(&["publish", &url, file.to_str().expect("UTF-8")]);
    Owned::new(command.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
}

/// The film in fragments, a fragment a key frame, written by ffmpeg.
fn fragmented(stack: &Stack, what: Film) -> PathBuf {
    let file = stack.data.join("fragmented.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(film(what)).args(["-c", "copy", "-movflags"]);
    let made = ffmpeg.arg("frag_keyframe+empty_moov+default_base_moof").arg(&file).status();
    assert!(made.expect("ffmpeg is installed").success());
    file
}

/// When the first picture and the first sound are shown, in seconds.
fn starts(file: &Path) -> [f64; 2] {
    let found = probe(file);
    let streams = found["streams"].as_array().expect("streams").clone();
    ["video", "audio"].map(|kind| {
        let stream = streams.iter().find(|stream| stream["codec_type"] == kind).expect("the stream is there");
        stream["start_time"].as_str().and_then(|time| time.parse().ok()).expect("a time")
    })
}

#[test]
fn a_file_is_published_in_a_loop_and_watched_whole() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    for (what, channels) in [(Film::Gop2s, 2), (Film::BFrames, 6)] {
        let mut publisher = publish(&stack, &input, &film(what), &["--loop", "--realtime"]);
        stack.wait_status(&input, "active");
        let shown = stack.json(&["live", "get", &input.id]);
        assert_eq!(shown["protocol"], "moqt");
        let file = stack.data.join(format!("{what:?}.mp4"));
        let output = stack.play(&stack.urls(&input.id).moqt, &file, "8s");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        played_well(&file, 8.0, true, Some(channels));
        let [picture, sound] = starts(&file);
        assert!((picture - sound).abs() < 0.15, "the picture starts at {picture}, the sound at {sound}");
        publisher.signal(Signal::INT);
        assert!(publisher.wait().success(), "Ctrl-C ends it in good order");
        stack.wait_status(&input, "idle");
    }
}

#[test]
fn picture_and_sound_lie_to_each_other_as_the_files_edit_list_says() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let source = film(Film::BFrames);
    let file = stack.data.join("whole.mp4");
    std::thread::scope(|scope| {
        let player = scope.spawn(|| {
            eventually("somebody publishes", || stack.status(&input) == "active");
            stack.play(&stack.urls(&input.id).moqt, &file, "30s")
        });
        let mut publisher = publish(&stack, &input, &source, &["--realtime"]);
        assert!(publisher.wait().success());
        let output = player.join().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(decode_errors(&file), "");
    // Both begin at the broadcast's first group, so that what lies between them is what lies between them in the film.
    let ([picture, sound], [film_picture, film_sound]) = (starts(&file), starts(&source));
    let offset = (picture - sound) - (film_picture - film_sound);
    assert!(offset.abs() <= 0.022, "sound is off by {offset} s: one AAC frame at most");
}

#[test]
fn a_pipe_is_published_as_it_grows() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let mut ffmpeg = Namespace::here().command("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(film(Film::Gop2s)).args(["-c", "copy"]);
    ffmpeg.args(["-f", "mp4", "-movflags", "frag_every_frame+empty_moov+default_base_moof", "-"]);
    let mut ffmpeg = Owned::new(ffmpeg.stdout(Stdio::piped()).spawn().expect("ffmpeg is installed"));
    let pipe = ffmpeg.child().stdout.take().expect("a pipe");
    let url = url(&stack, &input);
    let mut publisher = Owned::new(stack.command(&["publish", &url, "-"]).stdin(pipe).spawn().expect("it starts"));
    stack.wait_status(&input, "active");
    let file = stack.data.join("out.mp4");
    let output = stack.play(&stack.urls(&input.id).moqt, &file, "5s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    played_well(&file, 5.0, true, Some(2));
    ffmpeg.signal(Signal::INT);
    assert!(publisher.wait().success(), "the pipe's end is the broadcast's");
    stack.wait_status(&input, "idle");
}

#[test]
fn publisher_and_viewers_go_on_after_the_engine_was_killed() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let _publisher = publish(&stack, &input, &fragmented(&stack, Film::Gop2s), &["--loop", "--realtime"]);
    stack.wait_status(&input, "active");
    let (url, file) = (stack.urls(&input.id).moqt, stack.data.join("out.mp4"));
    std::thread::scope(|scope| {
        let viewer = scope.spawn(|| stack.play(&url, &file, "14s"));
        let written = || file.metadata().map_or(0, |meta| meta.len());
        eventually("the viewer plays", || written() > 200_000);
        kill(stack.engine_pid(), Signal::KILL);
        let before = written();
        eventually("media flows again", || written() > before + 400_000);
        let output = viewer.join().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(decode_errors(&file), "");
    stack.wait_status(&input, "active");
}

#[test]
fn what_cannot_be_published_is_said_with_its_own_exit_code() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let good = film(Film::Gop2s);
    let good = good.to_str().expect("UTF-8");
    let base = format!("moqt://{}:{}", stack.host, stack.ports.quic);
    let key = format!("{base}/publish/{}?sk={}", input.id, input.key);
    let short = stack.data.join("short.mp4");
    std::fs::write(&short, &std::fs::read(good).expect("the film")[..100_000]).expect("written");
    for (url, file, code, words) in [
        (format!("{base}/publish/{}?sk=sk_wrong", input.id), good, 4, "auth_failed"),
        (format!("{base}/playback/{}", input.id), good, 2, "expected moqt://HOST:PORT/publish/"),
        (key.clone(), "/etc/hostname", 2, "it is no MP4"),
        (key.clone(), "/no/such/file", 2, "No such file"),
        (key.clone(), short.to_str().expect("UTF-8"), 2, "cannot be published"),
        ("moqt://127.0.0.1:1/publish/lv_x?sk=y".to_owned(), good, 5, "no answer"),
    ] {
        let output = stack.cli(&["publish", &url, file]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{file}: {said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(&input.key), "the key stays a secret: {said}");
    }
    let whole = std::fs::File::open(good).expect("the film");
    let output = stack.command(&["publish", &key, "-"]).stdin(whole).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not in fragments"), "{said}");
}
