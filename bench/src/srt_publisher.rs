//! An encoder that pushes a transport stream by SRT, in real time, over and over: on a thread of its own.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sapflow_srt::{Caller, CallerConfig, CallerEvent, SendConfig};
use streams_ingest::{TsDemuxer, TsEvent};

use crate::error::BenchError;
use crate::film;
use crate::publisher::Speed;
use crate::stack::SrtInput;

/// What an SRT message holds.
const MESSAGE_LEN: usize = 7 * 188;
/// How often a publisher has its turn: a few packets of 6 Mbit/s.
const STEP: Duration = Duration::from_millis(4);
/// What a caller may send, bytes a second, and how far its packets are apart then.
const BANDWIDTH: u64 = 100_000_000;
const SPACING: Duration = Duration::from_micros(20);
/// How long the server may take to accept.
const ACCEPT_MAX: Duration = Duration::from_secs(10);

/// A transport stream in memory.
#[derive(Debug)]
pub struct Stream {
    bytes: Vec<u8>,
    duration: Duration,
}

impl Stream {
    /// Reads a film through ffmpeg, which only changes the container. `duration_ms` is how long it plays.
    ///
    /// # Errors
    /// [`BenchError::Command`] when ffmpeg fails.
    pub fn read(path: &Path, duration_ms: u64) -> Result<Self, BenchError> {
        let bytes = film::ffmpeg(&["-i".as_ref(), path.as_os_str()], &["-c", "copy", "-f", "mpegts", "-"])?;
        Ok(Self { bytes, duration: Duration::from_millis(duration_ms) })
    }
}

/// A publisher of one input.
#[derive(Debug)]
pub struct SrtPublisher {
    thread: Option<JoinHandle<Result<(), BenchError>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicBool,
    stop: AtomicBool,
    leave: AtomicBool,
    /// Access units in what was sent.
    units: AtomicU64,
}

impl SrtPublisher {
    /// Connects and starts to publish; returns when the server has accepted.
    ///
    /// # Errors
    /// [`BenchError::Srt`] when it refuses or does not answer.
    pub fn start(input: &SrtInput, stream: Arc<Stream>, speed: Speed) -> Result<Self, BenchError> {
        let server = input.address;
        let send = SendConfig { bandwidth: BANDWIDTH, ..SendConfig::default() };
        let config = CallerConfig { stream_id: input.input.key.clone(), send, ..CallerConfig::default() };
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let publish = move || publish(server, config, &stream, speed, &told);
        let thread = std::thread::Builder::new().name("srt publisher".to_owned()).spawn(publish);
        let thread = thread.map_err(|error| BenchError::Srt(error.to_string()))?;
        let mut publisher = Self { thread: Some(thread), shared };
        let deadline = Instant::now() + ACCEPT_MAX;
        while !publisher.shared.accepted.load(Ordering::Acquire) {
            let ended = publisher.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if ended || Instant::now() > deadline {
                publisher.join()?;
                return Err(BenchError::Srt("the server did not accept".to_owned()));
            }
            std::thread::sleep(STEP);
        }
        Ok(publisher)
    }

    /// Sends nothing more. The connection stays.
    pub fn stop_sending(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Access units in what was sent so far.
    pub fn units(&self) -> u64 {
        self.shared.units.load(Ordering::Acquire)
    }

    /// Leaves.
    ///
    /// # Errors
    /// What broke the connection in the meantime.
    pub fn finish(mut self) -> Result<(), BenchError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), BenchError> {
        self.stop_sending();
        self.shared.leave.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            _ => Err(BenchError::Died("SRT publisher")),
        }
    }
}

impl Drop for SrtPublisher {
    fn drop(&mut self) {
        self.stop_sending();
        self.shared.leave.store(true, Ordering::Release);
    }
}

fn publish(
    server: SocketAddr,
    config: CallerConfig,
    stream: &Stream,
    speed: Speed,
    shared: &Shared,
) -> Result<(), BenchError> {
    let broken = |error: &dyn std::fmt::Display| BenchError::Srt(error.to_string());
    let socket = UdpSocket::bind((server.ip(), 0)).map_err(|error| broken(&error))?;
    socket.set_nonblocking(true).map_err(|error| broken(&error))?;
    let mut caller = Caller::new(config, server, Instant::now()).map_err(|error| broken(&format!("{error:?}")))?;
    let messages: Vec<&[u8]> = stream.bytes.chunks(MESSAGE_LEN).collect();
    let due_ms = |number: u64| {
        let whole_ms = u64::try_from(stream.duration.as_millis()).unwrap_or(u64::MAX);
        number.saturating_mul(whole_ms) / (messages.len() as u64).max(1)
    };
    let mut demuxer = TsDemuxer::default();
    let (mut began, mut number, mut buffer) = (None, 0u64, [0; 1500]);
    while !shared.leave.load(Ordering::Acquire) {
        let now = Instant::now();
        caller.handle_timeout(now);
        while let Some(event) = caller.poll_event() {
            match event {
                CallerEvent::Connected { .. } => {
                    began = Some(now);
                    shared.accepted.store(true, Ordering::Release);
                }
                CallerEvent::Closed { reason, .. } => return Err(broken(&format!("{reason:?}"))),
            }
        }
        while let Some(began) = began.filter(|_| !shared.stop.load(Ordering::Acquire)) {
            if began + speed.due(due_ms(number)) > now {
                break;
            }
            let at = usize::try_from(number).unwrap_or(0) % messages.len().max(1);
            let Some(message) = messages.get(at) else { break };
            if caller.enqueue(now, message.to_vec()).is_err() {
                // Its window is full: as fast as it is taken.
                break;
            }
            number += 1;
            // The server's own reader says what is in it, so that both count alike.
            demuxer.push(message).map_err(|error| broken(&error))?;
            let units = std::iter::from_fn(|| demuxer.poll_event()).filter(|event| matches!(event, TsEvent::Unit(_)));
            shared.units.fetch_add(units.count() as u64, Ordering::Release);
        }
        // It spaces its packets; those of one turn leave together.
        let mut at = Instant::now();
        while let Some((_, datagram)) = caller.poll_transmit(at) {
            // What finds no room is lost, as on the way.
            let _ = socket.send_to(&datagram, server);
            at += SPACING;
        }
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            caller.handle_datagram(Instant::now(), from, buffer.get(..len).unwrap_or_default());
        }
        std::thread::sleep(STEP);
    }
    caller.stop(Instant::now());
    while let Some((_, datagram)) = caller.poll_transmit(Instant::now()) {
        let _ = socket.send_to(&datagram, server);
    }
    Ok(())
}
