//! One direction of a simulated session: streams with latency, jitter and a byte rate, in virtual time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::relay::{Dir, StreamId, Transmit, TransmitError};

use super::random::Random;

/// What travels.
#[derive(Clone, Debug)]
pub enum Packet {
    Data { stream: StreamId, dir: Dir, data: Bytes, fin: bool },
    Reset { stream: StreamId, code: u64 },
    Stop { stream: StreamId, code: u64 },
    Close { code: u64, reason: String },
}

/// How a direction behaves.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub latency: Duration,
    /// Up to this much more, drawn for every write: streams overtake each other.
    pub jitter: Duration,
    /// One write in this many is lost and comes a round trip later; 0 is none.
    pub loss_one_in: u64,
    /// Bytes a second; `None` is without limit.
    pub rate: Option<u64>,
    /// Streams that may be opened in all.
    pub uni_max: u64,
}

impl Default for Link {
    fn default() -> Self {
        let latency = Duration::from_millis(10);
        Self { latency, jitter: Duration::ZERO, loss_one_in: 0, rate: None, uni_max: u64::MAX }
    }
}

/// Bytes that may wait in the simulated transport when the rate is limited.
const BURST: f64 = 16_384.0;

/// The sending half of one side.
pub struct Pipe {
    pub link: Link,
    /// 0 for a client, 1 for a server: the lowest bit of its stream ids.
    side: u64,
    next_uni: u64,
    next_bidi: u64,
    budget: f64,
    refilled: Instant,
    random: Random,
    now: Instant,
    /// Packets on their way, by arrival.
    flying: BTreeMap<(Instant, u64), Packet>,
    sequence: u64,
    /// The latest arrival of each stream: a stream keeps its order.
    arrivals: HashMap<StreamId, Instant>,
    pub stopped: HashMap<StreamId, u64>,
    ended: HashSet<StreamId>,
    pub closed: Option<(u64, String)>,
    /// Every reset that was sent.
    pub resets: Vec<u64>,
    /// Streams of the other side that were stopped.
    pub stops: HashSet<StreamId>,
    pub bytes_written: u64,
    pub datagrams: Vec<Bytes>,
}

impl Pipe {
    pub fn new(side: u64, link: Link, seed: u64, now: Instant) -> Self {
        Self {
            link,
            side,
            next_uni: 0,
            next_bidi: 0,
            budget: BURST,
            refilled: now,
            random: Random::new(seed),
            now,
            flying: BTreeMap::new(),
            sequence: 0,
            arrivals: HashMap::new(),
            stopped: HashMap::new(),
            ended: HashSet::new(),
            closed: None,
            resets: Vec::new(),
            stops: HashSet::new(),
            bytes_written: 0,
            datagrams: Vec::new(),
        }
    }

    /// Lets virtual time pass.
    pub fn advance(&mut self, now: Instant) {
        self.now = now;
        if let Some(rate) = self.link.rate {
            let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
            self.budget = (self.budget + passed * rate as f64).min(BURST);
        }
        self.refilled = now;
    }

    /// Whether a pump could get something through.
    pub fn has_room(&self) -> bool {
        self.link.rate.is_none() || self.budget >= 1200.0
    }

    pub fn next_arrival(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn take_arrived(&mut self, now: Instant) -> Option<Packet> {
        let entry = self.flying.first_entry()?;
        if entry.key().0 > now { None } else { Some(entry.remove()) }
    }

    /// What is on its way on a stream, in order.
    pub fn written_on(&self, stream: StreamId) -> Vec<Bytes> {
        let data = self.flying.values().filter_map(|packet| match packet {
            Packet::Data { stream: other, data, .. } if *other == stream => Some(data.clone()),
            _ => None,
        });
        data.collect()
    }

    fn dir(stream: StreamId) -> Dir {
        if stream.0 & 2 == 0 { Dir::Bidi } else { Dir::Uni }
    }

    fn fly(&mut self, stream: Option<StreamId>, packet: Packet) {
        let mut at = self.now + self.link.latency;
        let jitter_us = u64::try_from(self.link.jitter.as_micros()).unwrap();
        if jitter_us > 0 {
            at += Duration::from_micros(self.random.below(jitter_us + 1));
        }
        if self.link.loss_one_in > 0 && self.random.below(self.link.loss_one_in) == 0 {
            at += self.link.latency * 3;
        }
        if let Some(stream) = stream {
            let latest = self.arrivals.entry(stream).or_insert(at);
            at = at.max(*latest);
            *latest = at;
        }
        self.sequence += 1;
        self.flying.insert((at, self.sequence), packet);
    }

    fn put(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        if let Some(code) = self.stopped.get(&stream) {
            return Err(TransmitError::Stopped(*code));
        }
        if self.ended.contains(&stream) || self.closed.is_some() {
            return Err(TransmitError::Closed);
        }
        let room = if self.link.rate.is_some() { self.budget.max(0.0) as usize } else { usize::MAX };
        let taken = data.len().min(room);
        self.budget -= taken as f64;
        self.bytes_written += taken as u64;
        let fin = fin && taken == data.len();
        if fin {
            self.ended.insert(stream);
        }
        if taken > 0 || fin {
            let data = Bytes::copy_from_slice(&data[..taken]);
            self.fly(Some(stream), Packet::Data { stream, dir: Self::dir(stream), data, fin });
        }
        Ok(taken)
    }
}

impl Transmit for Pipe {
    fn open_uni(&mut self) -> Option<StreamId> {
        if self.next_uni >= self.link.uni_max {
            return None;
        }
        let id = self.next_uni << 2 | 2 | self.side;
        self.next_uni += 1;
        Some(StreamId(id))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        let id = self.next_bidi << 2 | self.side;
        self.next_bidi += 1;
        Some(StreamId(id))
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        self.put(stream, data, fin)
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.put(stream, data, fin)
    }

    fn send_datagram(&mut self, data: &[u8]) -> bool {
        self.datagrams.push(Bytes::copy_from_slice(data));
        true
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, stream: StreamId, code: u64) {
        if !self.ended.insert(stream) {
            return;
        }
        self.resets.push(code);
        // Data of a reset stream that has not arrived yet never does.
        self.flying.retain(|_, packet| !matches!(packet, Packet::Data { stream: other, .. } if *other == stream));
        self.arrivals.remove(&stream);
        self.fly(Some(stream), Packet::Reset { stream, code });
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.stops.insert(stream);
        self.fly(None, Packet::Stop { stream, code });
    }

    fn close(&mut self, code: u64, reason: &str) {
        if self.closed.is_none() {
            self.closed = Some((code, reason.to_owned()));
            self.flying.clear();
            self.fly(None, Packet::Close { code, reason: reason.to_owned() });
        }
    }
}
