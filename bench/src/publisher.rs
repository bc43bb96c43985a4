//! An encoder that knows when it sent each frame: one film over RTMP, in real time, over and over.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtmp_runtime::client::{ClientConfig, ClientEvent, ClientSession};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep_until, timeout};
use url::Url;

use crate::error::BenchError;
use crate::film::{Film, Kind, Tag};
use crate::stack::Input;

/// How long the server may take to accept the publish.
const PUBLISH_MAX: Duration = Duration::from_secs(10);
/// One read of the server's few messages.
const READ_LEN: usize = 4096;

/// A video frame that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Which of the film.
    pub frame: usize,
    /// RTMP timestamp, ms; grows over the passes through the film.
    pub dts_ms: u64,
    /// Just before the system call that handed the message's last byte to the kernel.
    pub at: Instant,
}

/// A publisher on a thread of its own, so that no viewer's work delays it.
#[derive(Debug)]
pub struct Publisher {
    thread: Option<JoinHandle<Result<Vec<Sent>, BenchError>>>,
    stop: watch::Sender<Stop>,
    progress: Arc<Progress>,
}

/// What a publisher has done so far.
#[derive(Debug, Default)]
struct Progress {
    /// Video and audio frames that were written.
    units: AtomicU64,
    /// It was told to stop, and has sent its last.
    silent: AtomicBool,
}

/// How fast a film is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it plays.
    Times(f64),
    /// As fast as it is taken.
    Max,
}

impl Speed {
    /// When a frame is due, from the start.
    pub(crate) fn due(self, dts_ms: u64) -> Duration {
        match self {
            Self::Times(times) => Duration::from_millis(dts_ms).div_f64(times),
            Self::Max => Duration::ZERO,
        }
    }
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.parse().ok().filter(|times| (0.1..=1_000.0).contains(times));
        times.map(Self::Times).ok_or("expected a number from 0.1 to 1000, or max")
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times} x real time"),
            Self::Max => f.write_str("full speed"),
        }
    }
}

/// How far a publisher is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Goes on.
    No,
    /// Sends nothing more, but keeps the connection.
    Sending,
    /// Leaves.
    All,
}

impl Publisher {
    /// Connects and starts to publish; returns when the server has accepted.
    ///
    /// # Errors
    /// [`BenchError::RtmpRefused`] and everything else that keeps it from publishing.
    pub async fn start(input: &Input, film: Arc<Film>, speed: Speed) -> Result<Self, BenchError> {
        Self::start_at(input, film, speed, 0).await
    }

    /// The same, with RTMP timestamps that begin at `first_ms`.
    ///
    /// # Errors
    /// As [`Publisher::start`].
    pub async fn start_at(input: &Input, film: Arc<Film>, speed: Speed, first_ms: u64) -> Result<Self, BenchError> {
        let (stop, stopped) = watch::channel(Stop::No);
        let (accepted, is_accepted) = oneshot::channel();
        let target = Target::new(input)?;
        let progress = Arc::<Progress>::default();
        let told = Arc::clone(&progress);
        let publish = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(BenchError::RtmpSocket)?;
            runtime.block_on(async {
                let mut connection = timeout(PUBLISH_MAX, Connection::publish(&target))
                    .await
                    .map_err(|_| BenchError::TooLong { what: "the publisher is accepted", patience: PUBLISH_MAX })??;
                // Nobody waits any more when the measurement was given up.
                let _ = accepted.send(());
                connection.send_film(&film, speed, first_ms, &told, stopped).await
            })
        };
        let thread = std::thread::Builder::new().name("publisher".to_owned()).spawn(publish);
        let thread = thread.map_err(BenchError::RtmpSocket)?;
        let mut publisher = Self { thread: Some(thread), stop, progress };
        match is_accepted.await {
            Ok(()) => Ok(publisher),
            Err(_) => Err(publisher.join().err().unwrap_or(BenchError::Died("publisher"))),
        }
    }

    /// Sends nothing more. The connection stays, so that the broadcast goes on.
    pub fn stop_sending(&self) {
        self.stop.send_replace(Stop::Sending);
    }

    /// Video and audio frames that were written so far.
    pub fn units(&self) -> u64 {
        self.progress.units.load(Ordering::Acquire)
    }

    /// Whether it was told to stop and has sent its last, or broke.
    pub fn is_silent(&self) -> bool {
        self.progress.silent.load(Ordering::Acquire) || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Leaves; tells the video frames that were sent, in order.
    ///
    /// # Errors
    /// What broke the connection in the meantime.
    pub fn finish(mut self) -> Result<Vec<Sent>, BenchError> {
        self.join()
    }

    fn join(&mut self) -> Result<Vec<Sent>, BenchError> {
        self.stop.send_replace(Stop::All);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(sent)) => sent,
            _ => Err(BenchError::Died("publisher")),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::All);
    }
}

/// Where to publish.
struct Target {
    host: String,
    port: u16,
    config: ClientConfig,
}

impl Target {
    fn new(input: &Input) -> Result<Self, BenchError> {
        let wrong = || BenchError::RtmpUrl(input.rtmp.clone());
        let url = Url::parse(&input.rtmp).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let mut config = ClientConfig::default();
        config.app = url.path().trim_matches('/').to_owned();
        config.stream_key = input.key.clone();
        config.tc_url = Some(input.rtmp.clone());
        Ok(Self { host, port: url.port().unwrap_or(1935), config })
    }
}

struct Connection {
    socket: TcpStream,
    session: ClientSession,
}

impl Connection {
    async fn publish(target: &Target) -> Result<Self, BenchError> {
        let connecting = TcpStream::connect((target.host.as_str(), target.port));
        let socket = connecting.await.map_err(BenchError::RtmpSocket)?;
        // A frame must leave when it is written.
        socket.set_nodelay(true).map_err(BenchError::RtmpSocket)?;
        let mut connection = Self { socket, session: ClientSession::new(target.config.clone()) };
        let hello = connection.session.start();
        connection.write(&hello).await?;
        while !connection.session.is_publishing() {
            connection.socket.readable().await.map_err(BenchError::RtmpSocket)?;
            connection.read().await?;
        }
        Ok(connection)
    }

    async fn send_film(
        &mut self,
        film: &Film,
        speed: Speed,
        first_ms: u64,
        progress: &Progress,
        mut stop: watch::Receiver<Stop>,
    ) -> Result<Vec<Sent>, BenchError> {
        let began = Instant::now();
        let mut sent = Vec::new();
        for pass in 0u64.. {
            let base_ms = pass.saturating_mul(film.duration_ms);
            for tag in film.tags.iter().filter(|tag| pass == 0 || matches!(tag.kind, Kind::Video(_) | Kind::Audio)) {
                let dts_ms = base_ms.saturating_add(tag.dts_ms);
                if !self.wait_until(began + speed.due(dts_ms), &mut stop).await? {
                    progress.silent.store(true, Ordering::Release);
                    self.wait_for_end(&mut stop).await?;
                    return Ok(sent);
                }
                if speed == Speed::Max {
                    // Nobody waits between frames, so this is when the server is heard.
                    self.read().await?;
                }
                let at = self.send(tag, first_ms.saturating_add(dts_ms)).await?;
                if matches!(tag.kind, Kind::Video(_) | Kind::Audio) {
                    progress.units.fetch_add(1, Ordering::Release);
                }
                if let Kind::Video(frame) = tag.kind {
                    sent.push(Sent { frame, dts_ms, at });
                }
            }
        }
        Ok(sent)
    }

    /// Reads what the server says until `due`; `false` when told to stop before.
    async fn wait_until(&mut self, due: Instant, stop: &mut watch::Receiver<Stop>) -> Result<bool, BenchError> {
        loop {
            tokio::select! {
                biased;
                // An error says that the owner is gone.
                _ = stop.wait_for(|stop| *stop != Stop::No) => return Ok(false),
                () = sleep_until(due.into()) => return Ok(true),
                ready = self.socket.readable() => ready.map_err(BenchError::RtmpSocket)?,
            }
            self.read().await?;
        }
    }

    async fn wait_for_end(&mut self, stop: &mut watch::Receiver<Stop>) -> Result<(), BenchError> {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop == Stop::All) => return Ok(()),
                ready = self.socket.readable() => ready.map_err(BenchError::RtmpSocket)?,
            }
            self.read().await?;
        }
    }

    async fn send(&mut self, tag: &Tag, dts_ms: u64) -> Result<Instant, BenchError> {
        // RTMP's clock wraps after 49.7 days.
        let timestamp = (dts_ms & u64::from(u32::MAX)) as u32;
        let message = match tag.kind {
            Kind::VideoConfig | Kind::Video(_) => self.session.send_video(timestamp, &tag.body)?,
            Kind::AudioConfig | Kind::Audio => self.session.send_audio(timestamp, &tag.body)?,
        };
        self.write(&message).await
    }

    /// Writes all of it; tells when the last system call began.
    async fn write(&mut self, bytes: &[u8]) -> Result<Instant, BenchError> {
        let mut rest = bytes;
        loop {
            let began = Instant::now();
            match self.socket.try_write(rest) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await.map_err(BenchError::RtmpSocket)?;
                }
                Err(error) => return Err(BenchError::RtmpSocket(error)),
            }
            if rest.is_empty() {
                return Ok(began);
            }
        }
    }

    /// Reads what has come and answers it.
    async fn read(&mut self) -> Result<(), BenchError> {
        let mut bytes = [0; READ_LEN];
        let taken = match self.socket.try_read(&mut bytes) {
            Ok(0) => return Err(BenchError::RtmpSocket(io::ErrorKind::UnexpectedEof.into())),
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(BenchError::RtmpSocket(error)),
        };
        let (answer, events) = self.session.handle_data(bytes.get(..taken).unwrap_or_default())?;
        for event in events {
            if let ClientEvent::Error { code, description } = event {
                return Err(BenchError::RtmpRefused { code, description });
            }
        }
        if !answer.is_empty() {
            self.write(&answer).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_due_sooner_when_the_film_runs_faster() {
        assert_eq!(Speed::Times(1.0).due(2_000), Duration::from_secs(2));
        assert_eq!(Speed::Times(4.0).due(2_000), Duration::from_millis(500));
        assert_eq!(Speed::Max.due(2_000), Duration::ZERO);
    }

    #[test]
    fn speeds_are_numbers_or_max() {
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        assert_eq!("max".parse(), Ok(Speed::Max));
        for bad in ["", "0", "-1", "NaN", "1e9", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
