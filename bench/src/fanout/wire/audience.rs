//! The viewers, a socket each: after their handshakes they are keys and counters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::frames::StreamPart;
use super::super::joining::{Joining, Watch, client_config};
use super::super::ranges::RANGES_ON_THE_WIRE;
use super::super::receiver::{Depth, Receiver};
use super::broadcast::Broadcast;
use super::sockets::{Buffers, Socket};
use super::tally::Tally;
use super::tracked::{Tracked, is_media};
use crate::error::BenchError;

/// So many viewers at least, evenly spread, are decrypted whole: their objects are counted and timed.
const TRACKED_MIN: usize = 64;
/// Bit of a long header (RFC 9000 §17.2).
const LONG_HEADER: u8 = 0x80;

/// Whether a viewer is tracked when not all are.
fn is_tracked(index: usize, viewers: usize) -> bool {
    index.is_multiple_of((viewers / TRACKED_MIN).max(1))
}

/// How far a viewer is.
enum State {
    Joining(Box<Joining>),
    Watching(Box<Receiver>),
    /// Its handshake left no keys, which ends the measurement.
    Gone,
}

/// One viewer.
struct Seat {
    socket: Socket,
    state: State,
    /// Of those that are decrypted whole.
    tracked: Option<Tracked>,
    /// UDP payload since the window opened.
    bytes: u64,
}

/// All viewers.
pub struct Audience {
    seats: Vec<Seat>,
    viewers: usize,
    depth: Depth,
    /// Places of those that still join.
    joining: Vec<usize>,
    config: quiche::Config,
    /// What they got.
    pub tally: Tally,
    /// Packets that came since the window opened, and those of them that were decrypted.
    pub packets: u64,
    /// See `packets`.
    pub decrypted: u64,
    header_len: Option<usize>,
    scratch: Vec<u8>,
    frame: Vec<u8>,
}

impl Audience {
    /// Nobody yet of `viewers`.
    ///
    /// # Errors
    /// [`BenchError::Quic`], [`BenchError::Histogram`].
    pub fn new(viewers: usize, depth: Depth) -> Result<Self, BenchError> {
        Ok(Self {
            seats: Vec::with_capacity(viewers),
            viewers,
            depth,
            joining: Vec::new(),
            config: client_config()?,
            tally: Tally::new()?,
            packets: 0,
            decrypted: 0,
            header_len: None,
            scratch: Vec::new(),
            frame: Vec::new(),
        })
    }

    /// One more begins its handshake: its place, and its socket to be watched.
    ///
    /// # Errors
    /// There is no socket.
    pub fn admit(&mut self, server: SocketAddr, watch: &Watch) -> Result<(usize, &Socket), BenchError> {
        let index = self.seats.len();
        let socket = Socket::connect(server)?;
        let joining = Joining::new(index, socket.address()?, server, &mut self.config, Some(watch))?;
        let tracked = self.depth == Depth::Full || is_tracked(index, self.viewers);
        let tracked = tracked.then(Tracked::default);
        self.joining.push(index);
        self.seats.push(Seat { socket, state: State::Joining(Box::new(joining)), tracked, bytes: 0 });
        let seat = self.seats.last().ok_or(BenchError::Protocol("a viewer has no place"))?;
        Ok((index, &seat.socket))
    }

    /// Viewers that were admitted, and those of them that do not watch yet.
    pub fn counts(&self) -> (usize, usize) {
        (self.seats.len(), self.joining.len())
    }

    /// Viewers whose objects are counted.
    pub fn tracked(&self) -> usize {
        self.seats.iter().filter(|seat| seat.tracked.is_some()).count()
    }

    /// Sends what those that join have to send. Tells how long until it has to be called.
    pub fn flush(&mut self) -> Option<Duration> {
        let Self { seats, joining, .. } = self;
        let mut wait: Option<Duration> = None;
        for index in joining {
            if let Some(Seat { socket, state: State::Joining(viewer), .. }) = seats.get_mut(*index) {
                let left = viewer.tick();
                viewer.send(|packet| socket.send(packet));
                wait = wait.into_iter().chain(left).min();
            }
        }
        wait
    }

    /// Takes what has come to one viewer, and acknowledges it.
    ///
    /// # Errors
    /// A packet that cannot be what the server sends, or the end of a connection.
    pub fn receive(&mut self, index: usize, buffers: &mut Buffers, broadcast: &Broadcast) -> Result<(), BenchError> {
        let (viewers, depth) = (self.viewers, self.depth);
        let Some(seat) = self.seats.get_mut(index) else { return Ok(()) };
        let State::Joining(viewer) = &mut seat.state else { return self.watch(index, buffers, broadcast) };
        seat.socket.receive(buffers, |packet| viewer.take(packet))?;
        viewer.send(|packet| seat.socket.send(packet));
        if viewer.is_done() {
            self.joining.retain(|joining| *joining != index);
            let depth = if is_tracked(index, viewers) { Depth::Full } else { depth };
            let join = |established| Receiver::new(established, index, depth, RANGES_ON_THE_WIRE);
            seat.state = match std::mem::replace(&mut seat.state, State::Gone) {
                State::Joining(viewer) => State::Watching(Box::new(join(viewer.establish()?))),
                other => other,
            };
        }
        Ok(())
    }

    fn watch(&mut self, index: usize, buffers: &mut Buffers, broadcast: &Broadcast) -> Result<(), BenchError> {
        let Self { seats, tally, packets, decrypted, header_len, scratch, frame, .. } = self;
        let Some(Seat { socket, state: State::Watching(receiver), tracked, bytes }) = seats.get_mut(index) else {
            return Ok(());
        };
        let mut came = None;
        *bytes += socket.receive(buffers, |packet| {
            // The handshake's last packets may come twice; keys for them are gone.
            if packet.first().is_none_or(|first| first & LONG_HEADER != 0) {
                return Ok(());
            }
            let at = *came.get_or_insert_with(Instant::now);
            *packets += 1;
            *decrypted += u64::from(receiver.take(packet, scratch, |part| match tracked {
                Some(tracked) => {
                    tracked.part(part, at, broadcast, tally);
                    *header_len = header_len.or(tracked.header_len);
                }
                None => sampled(&part, *header_len, broadcast, tally),
            })?);
            Ok(())
        })?;
        if receiver.acknowledge(frame, scratch) {
            socket.send(scratch);
        }
        Ok(())
    }

    /// Begins to count, from the object `first` on.
    pub fn open(&mut self, first: u64) {
        self.tally.open(first);
        (self.packets, self.decrypted) = (0, 0);
        self.seats.iter_mut().for_each(|seat| seat.bytes = 0);
    }

    /// UDP payload of each viewer since the window opened.
    pub fn bytes(&self) -> impl Iterator<Item = u64> {
        self.seats.iter().map(|seat| seat.bytes)
    }
}

/// A part of a viewer's stream whose other packets are not decrypted: which group it belongs to is not known.
fn sampled(part: &StreamPart<'_>, header_len: Option<usize>, broadcast: &Broadcast, tally: &mut Tally) {
    let behind = |header_len: usize| usize::try_from(part.offset).ok()?.checked_sub(header_len);
    let Some(offset) = header_len.filter(|_| is_media(part)).and_then(behind) else { return };
    if broadcast.holds(offset, part.data) {
        tally.compared += part.data.len() as u64;
    } else {
        tally.fault("bytes of a sampled packet differ from those published");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracked_viewers_are_spread_and_few_enough() {
        for (viewers, tracked) in [(1, 1), (20, 20), (64, 64), (100, 100), (128, 64), (1_000, 67)] {
            let count = (0..viewers).filter(|index| is_tracked(*index, viewers)).count();
            assert_eq!(count, tracked, "{viewers}");
        }
    }

    #[test]
    fn a_sample_is_found_in_what_was_published_wherever_it_lies() {
        let mut broadcast = Broadcast::new();
        let mut tally = Tally::new().unwrap();
        for group in [1, 2] {
            let object = super::super::super::check::Object::synthetic(group, 0, 1_000, true);
            broadcast.publish(&object, Instant::now());
        }
        let bytes = broadcast.group(1).unwrap().bytes[300..400].to_vec();
        let part = |offset| StreamPart { stream: 7, offset, data: &bytes, fin: false };
        sampled(&part(305), None, &broadcast, &mut tally);
        assert_eq!((tally.compared, tally.faults_count), (0, 0), "no header was seen yet");
        sampled(&part(305), Some(5), &broadcast, &mut tally);
        assert_eq!((tally.compared, tally.faults_count), (100, 0));
        sampled(&part(306), Some(5), &broadcast, &mut tally);
        assert_eq!((tally.compared, tally.faults_count), (100, 1));
    }
}
