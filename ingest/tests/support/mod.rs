//! What the tests share: a real ffmpeg that pushes, the path from its bytes to outputs, and ffprobe's opinion of them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use streams_ingest::{
    Answer, IngestError, Normaliser, NormaliserConfig, Output, Packager, PackagerConfig, PublishRequest, RtmpLimits,
    RtmpSession, Session, SessionEvent,
};
use streams_media::catalog::Catalog;

pub mod studio;
pub mod units;

/// The server's clock when a test's broadcast begins: above every group id that a test expects by hand.
pub const START_UNIX_MS: u64 = 1_800_000_000_000;

/// The sample film: 132 frames at 25 a second with one key frame, and 249 AAC frames with six channels.
pub fn film() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/bigbuckbunny-720p25-h264-aac.mp4")
}

/// What one connection of ffmpeg was.
#[derive(Debug, Default)]
pub struct Push {
    pub app: String,
    pub key: String,
    pub events: Vec<SessionEvent>,
    pub error: Option<IngestError>,
    /// Everything ffmpeg sent.
    pub received: Vec<u8>,
    /// What ffmpeg printed.
    pub said: String,
    pub succeeded: bool,
}

/// Runs `ffmpeg <arguments> -f flv rtmp://127.0.0.1:PORT/<path>` against a session.
pub fn push(arguments: &[&str], path: &str, answer: Answer<'static>) -> Push {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    // Paced, for ffmpeg ends its connection without reading what it was told: what it has not sent by then is lost.
    let ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-readrate", "8"])
        .args(arguments)
        .args(["-f", "flv", &format!("rtmp://127.0.0.1:{port}/{path}")])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    let server = thread::spawn(move || serve(listener.accept().expect("ffmpeg connects").0, answer));
    let output = ffmpeg.wait_with_output().expect("ffmpeg ends");
    let mut push = server.join().expect("the session does not panic");
    push.said = String::from_utf8_lossy(&output.stderr).into_owned();
    push.succeeded = output.status.success();
    push
}

/// Pushes `path_of_file` as it is.
pub fn push_copy(file: &Path) -> Push {
    let file = file.to_str().expect("a plain path");
    let push = push(&["-i", file, "-map", "0", "-c", "copy"], "live/KEY", Answer::Accept);
    assert!(push.succeeded && push.error.is_none(), "{} {:?}", push.said, push.error);
    push
}

fn serve(mut connection: TcpStream, answer: Answer<'static>) -> Push {
    let mut session = RtmpSession::new(RtmpLimits::default());
    let mut push = Push::default();
    let mut input = vec![0; 32 * 1024];
    loop {
        let read = match connection.read(&mut input) {
            Ok(0) | Err(_) => return push,
            Ok(read) => &input[..read],
        };
        push.received.extend_from_slice(read);
        let mut out = Vec::new();
        let result = feed(&mut session, read, &mut out, |session, event| match event {
            SessionEvent::Publish(PublishRequest { app, key }) => {
                (push.app, push.key) = (app, key);
                session.answer(answer).expect("it asked");
            }
            event => push.events.push(event),
        });
        let written = connection.write_all(&out);
        let result = if matches!(result, Err(IngestError::Closed)) { Ok(()) } else { result };
        if result.is_err() || written.is_err() || matches!(answer, Answer::Refuse(_)) && !push.app.is_empty() {
            push.error = result.err();
            // Let the client read the reason before the connection goes.
            let _ = connection.shutdown(std::net::Shutdown::Write);
            let _ = connection.read_to_end(&mut Vec::new());
            return push;
        }
    }
}

/// Feeds all of `input` in slices, as the engine does; `event` gets what comes out of each.
pub fn feed(
    session: &mut RtmpSession,
    mut input: &[u8],
    out: &mut Vec<u8>,
    mut event: impl FnMut(&mut RtmpSession, SessionEvent),
) -> Result<(), IngestError> {
    while !input.is_empty() || session.is_behind() {
        let handled = session.handle_input(Instant::now(), input);
        while let Some(next) = session.poll_event() {
            event(session, next);
        }
        session.poll_transmit(out);
        input = &input[handled?..];
    }
    Ok(())
}

/// One broadcast, from events to outputs.
pub struct Broadcast {
    pub normaliser: Normaliser,
    pub packager: Packager,
    pub outputs: Vec<Output>,
    pub unix_ms: u64,
}

impl Broadcast {
    pub fn new() -> Self {
        Self {
            normaliser: Normaliser::new(NormaliserConfig::default()),
            packager: Packager::new(PackagerConfig::default()),
            outputs: Vec::new(),
            unix_ms: START_UNIX_MS,
        }
    }

    /// Takes one connection's events. The server's clock stands still: the encoder sends as fast as it can.
    pub fn take(&mut self, events: Vec<SessionEvent>) {
        for event in events {
            match event {
                SessionEvent::Metadata(metadata) => self.packager.metadata(&metadata),
                SessionEvent::Unit(unit) => {
                    if let Ok(unit) = self.normaliser.push(self.unix_ms, unit) {
                        self.packager.push(self.unix_ms, unit);
                    }
                }
                SessionEvent::Publish(_) | SessionEvent::Notice(_) | SessionEvent::Closed => {}
            }
            self.drain();
        }
    }

    pub fn reconnect(&mut self) {
        self.normaliser.reconnect();
        self.packager.reconnect();
        self.drain();
    }

    pub fn finish(&mut self) {
        self.packager.finish();
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.packager.poll_output() {
            self.outputs.push(output);
        }
    }

    pub fn catalogs(&self) -> Vec<Catalog> {
        catalogs(&self.outputs)
    }

    /// The MSF documents.
    pub fn msf_catalogs(&self) -> Vec<String> {
        let json = |output: &Output| match output {
            Output::Catalog { msf_json, .. } => Some(String::from_utf8_lossy(msf_json).into_owned()),
            _ => None,
        };
        self.outputs.iter().filter_map(json).collect()
    }

    /// The objects of a track, in order: group, object, payload.
    pub fn objects(&self, name: &str) -> Vec<(u64, u64, Bytes)> {
        objects(&self.outputs, name)
    }

    /// The init segments of a rendition, in order: group, payload.
    pub fn inits(&self, name: &str) -> Vec<(u64, Bytes)> {
        let init_name = format!("{name}.init");
        let init = |output: &Output| match output {
            Output::Init { track, group, payload } if **track == *init_name => Some((*group, payload.clone())),
            _ => None,
        };
        self.outputs.iter().filter_map(init).collect()
    }

    /// A playable file of one track with its first init segment.
    pub fn file(&self, name: &str) -> TestFile {
        let mut bytes = self.inits(name).first().expect("an init segment").1.to_vec();
        for (_, _, payload) in self.objects(name) {
            bytes.extend_from_slice(&payload);
        }
        TestFile::new("mp4", &bytes)
    }
}

pub fn catalogs(outputs: &[Output]) -> Vec<Catalog> {
    let catalog = |output: &Output| match output {
        Output::Catalog { catalog, .. } => Some(catalog.clone()),
        _ => None,
    };
    outputs.iter().filter_map(catalog).collect()
}

pub fn objects(outputs: &[Output], name: &str) -> Vec<(u64, u64, Bytes)> {
    let object = |output: &Output| match output {
        Output::Object { track, group, object, payload, .. } if **track == *name => {
            Some((*group, *object, payload.clone()))
        }
        _ => None,
    };
    outputs.iter().filter_map(object).collect()
}

/// A file that is gone when the test is.
pub struct TestFile {
    pub path: PathBuf,
}

impl TestFile {
    pub fn path(extension: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { path: std::env::temp_dir().join(format!("streams-ingest-{}-{number}.{extension}", std::process::id())) }
    }

    pub fn new(extension: &str, bytes: &[u8]) -> Self {
        let file = Self::path(extension);
        std::fs::write(&file.path, bytes).expect("a writable temporary folder");
        file
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().expect("a plain path")
    }

    /// Values of `entry` (for example `packet=pts`) as ffprobe prints them, one a line.
    pub fn probe(&self, entry: &str) -> Vec<String> {
        let arguments = ["-v", "error", "-count_frames", "-of", "csv=p=0", "-show_entries", entry, self.as_str()];
        let output = Command::new("ffprobe").args(arguments).output().expect("ffprobe is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "ffprobe: {said}");
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
    }

    /// The only value of `entry`.
    pub fn probe_one(&self, entry: &str) -> String {
        self.probe(entry).into_iter().find(|line| !line.is_empty()).unwrap_or_default()
    }

    /// Decodes the whole file; panics with ffmpeg's words when it has any to say.
    pub fn decodes(&self) {
        let arguments = ["-nostdin", "-v", "warning", "-i", self.as_str(), "-f", "null", "-"];
        let output = Command::new("ffmpeg").args(arguments).output().expect("ffmpeg is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "ffmpeg: {said}");
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes a file with ffmpeg: `ffmpeg <arguments> FILE`.
pub fn make(extension: &str, arguments: &[&str]) -> TestFile {
    let file = TestFile::path(extension);
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .arg(file.as_str())
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}
