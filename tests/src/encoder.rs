//! ffmpeg, and others, as an encoder.

use std::process::{Command, ExitStatus, Stdio};

use streams_harness::{Film, Input, Namespace, Owned, Signal};

use crate::film;

/// An ffmpeg that pushes a film by RTMP in real time, over and over.
pub struct Encoder(Owned);

impl Encoder {
    /// Starts pushing.
    pub fn push(input: &Input, what: Film) -> Self {
        Self::push_to(&input.rtmp_with_key(), what)
    }

    /// Starts pushing a test pattern of 640x360 with sound that libx264 encodes on the way, with these parameters of its.
    pub fn push_pattern(input: &Input, x264_params: &str) -> Self {
        let mut command = Namespace::here().command("ffmpeg");
        command.args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-b:v", "1M"]);
        command.args(["-x264-params", x264_params, "-c:a", "aac", "-f", "flv", &input.rtmp_with_key()]);
        Self::spawn(command)
    }

    /// Starts pushing to any URL.
    pub fn push_to(url: &str, what: Film) -> Self {
        Self::push_from(&Namespace::here(), url, what)
    }

    /// Starts pushing to any URL out of a namespace.
    pub fn push_from(namespace: &Namespace, url: &str, what: Film) -> Self {
        let mut command = namespace.command("ffmpeg");
        command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(film(what));
        command.args(["-c", "copy", "-f", "flv", url]);
        Self::spawn(command)
    }

    /// Starts pushing a film to an SRT URL out of a namespace; `more` are options of ffmpeg's for the output.
    pub fn push_srt(namespace: &Namespace, url: &str, what: Film, more: &[&str]) -> Self {
        let mut command = namespace.command("ffmpeg");
        command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(film(what));
        command.args(["-c", "copy"]).args(more).args(["-f", "mpegts", url]);
        Self::spawn(command)
    }

    /// Starts any command that pushes.
    pub fn run(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(Owned::new(command.spawn().expect("ffmpeg is installed")))
    }

    /// The power cut: no goodbye on the connection.
    pub fn kill_hard(mut self) {
        self.0.signal(Signal::KILL);
        self.0.wait();
    }

    /// The broadcaster's stop button: ffmpeg ends the stream in good order.
    pub fn stop(mut self) {
        self.0.signal(Signal::INT);
        self.0.wait();
    }

    /// Whether ffmpeg has given up, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.ended()
    }

    /// What ffmpeg printed until its end.
    pub fn last_words(mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.0.child().stderr.take() {
            use std::io::Read;
            stderr.read_to_string(&mut text).expect("ffmpeg prints text");
        }
        text
    }
}
