//! What a shard does with datagrams before there is a session: cookies, and whose a datagram is.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sapflow_srt::packet::{Control, ControlPacket, HandshakeKind, Packet};
use sapflow_srt::{Config, Listener};

use super::socket_id::{SessionKey, SocketId};

/// Type 0, subtype 0 of a control packet: a handshake.
const HANDSHAKE: [u8; 4] = [0x80, 0, 0, 0];
/// Where the destination's socket id stands.
const DESTINATION: std::ops::Range<usize> = 12..16;
/// A bucket holds the handshakes of so many seconds.
const BURST_S: u32 = 2;

/// Bounds of SRT at one shard.
#[derive(Debug, Clone)]
pub struct SrtLimits {
    /// Time for loss recovery; a caller that asks for more gets more.
    pub latency: Duration,
    /// A caller that sends nothing for so long is gone.
    pub idle_timeout: Duration,
    /// Handshakes of each of the two steps that are looked at in a second; twice as many at once.
    pub handshakes_per_second: u32,
    /// Packets of a connection that may wait for their time or for a lost one.
    pub buffer_packets: usize,
}

impl Default for SrtLimits {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(120),
            idle_timeout: Duration::from_secs(5),
            handshakes_per_second: 200,
            buffer_packets: 8192,
        }
    }
}

/// Whose a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtRoute {
    /// A caller's first word, for [`SrtFront::induction`].
    Induction,
    /// It brings its cookie back: for the session of that peer and socket if there is one, else for
    /// [`super::SrtSession::open`].
    Conclusion {
        /// The caller's own socket id.
        caller: u32,
    },
    /// For a session.
    Connection(SocketId),
    /// No SRT.
    Junk,
}

/// Datagrams that led to nothing, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SrtFrontCounters {
    /// Handshakes beyond those that are looked at in a second.
    pub rate_limited: u64,
    /// Datagrams that are no SRT.
    pub junk: u64,
}

/// One shard's front. Clones share the secret of cookies: there is one a shard, made from one.
pub struct SrtFront {
    pub(super) secret: RandomState,
    pub(super) epoch: Instant,
    pub(super) limits: SrtLimits,
    inductions: Listener<SessionKey>,
    conclusions: Bucket,
    junk: u64,
    rate_limited: u64,
}

impl Clone for SrtFront {
    fn clone(&self) -> Self {
        Self::with_secret(self.secret.clone(), self.epoch, self.limits.clone())
    }
}

impl SrtFront {
    /// A front with a fresh secret.
    pub fn new(limits: SrtLimits, now: Instant) -> Self {
        Self::with_secret(RandomState::new(), now, limits)
    }

    fn with_secret(secret: RandomState, epoch: Instant, limits: SrtLimits) -> Self {
        let config = Config {
            // It only makes cookies.
            max_connections: 0,
            handshakes_per_second: limits.handshakes_per_second,
            ..Config::default()
        };
        let key = SessionKey { secret: secret.clone(), socket: SocketId(0) };
        Self {
            inductions: Listener::with_key(config, epoch, key),
            conclusions: Bucket::new(limits.handshakes_per_second, epoch),
            secret,
            epoch,
            limits,
            junk: 0,
            rate_limited: 0,
        }
    }

    /// Whose the datagram is. A conclusion beyond the second's share is junk.
    pub fn route(&mut self, now: Instant, datagram: &[u8]) -> SrtRoute {
        let route = if datagram.starts_with(&HANDSHAKE) {
            handshake(datagram)
        } else {
            let id = datagram.get(DESTINATION).and_then(|id| id.try_into().ok()).map_or(0, u32::from_be_bytes);
            if id == 0 { SrtRoute::Junk } else { SrtRoute::Connection(SocketId(id)) }
        };
        match route {
            SrtRoute::Junk => self.junk = self.junk.saturating_add(1),
            SrtRoute::Conclusion { .. } if !self.conclusions.take(now) => {
                self.rate_limited = self.rate_limited.saturating_add(1);
                return SrtRoute::Junk;
            }
            _ => {}
        }
        route
    }

    /// Answers a caller's first word by a cookie; nothing is kept of it.
    pub fn induction(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        self.inductions.handle_datagram(now, peer, datagram);
        self.inductions.poll_transmit().map(|(_, answer)| answer)
    }

    /// The cookie that `peer` would be given now: fuzzing has no caller that brings it back.
    pub(crate) fn cookie_of(&mut self, now: Instant, peer: SocketAddr) -> u32 {
        const COOKIE: std::ops::Range<usize> = 44..48;
        let mut induction = vec![0x80; 1];
        induction.resize(64, 0);
        for (at, byte) in [(19, 4), (23, 2), (39, 1), (43, 1)] {
            if let Some(slot) = induction.get_mut(at) {
                *slot = byte;
            }
        }
        let answer = self.induction(now, peer, &induction).unwrap_or_default();
        answer.get(COOKIE).and_then(|cookie| cookie.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    /// What led to nothing so far.
    pub fn counters(&self) -> SrtFrontCounters {
        let stats = self.inductions.stats();
        SrtFrontCounters { rate_limited: self.rate_limited.saturating_add(stats.rate_limited), junk: self.junk }
    }
}

fn handshake(datagram: &[u8]) -> SrtRoute {
    let Ok(Packet::Control(ControlPacket { body: Control::Handshake(handshake), .. })) = Packet::parse(datagram) else {
        return SrtRoute::Junk;
    };
    match handshake.kind {
        HandshakeKind::Induction => SrtRoute::Induction,
        HandshakeKind::Conclusion => SrtRoute::Conclusion { caller: handshake.socket_id },
        _ => SrtRoute::Junk,
    }
}

/// So many a second, and a burst of some seconds' share.
struct Bucket {
    a_second: u32,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(a_second: u32, now: Instant) -> Self {
        Self { a_second, left: f64::from(a_second) * f64::from(BURST_S), at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(self.a_second);
        self.left = (self.left + more).min(f64::from(self.a_second) * f64::from(BURST_S));
        self.at = now;
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_handshakes_gets_its_share_of_each_second() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        assert_eq!((0..100).filter(|_| bucket.take(now)).count(), 20);
        assert_eq!((0..100).filter(|_| bucket.take(now + Duration::from_secs(1))).count(), 10);
    }

    #[test]
    fn short_and_foreign_datagrams_are_junk() {
        let now = Instant::now();
        let mut front = SrtFront::new(SrtLimits::default(), now);
        for datagram in [&b""[..], &[0; 16], &[0x80, 0, 0, 0], &[0x16; 3]] {
            assert_eq!(front.route(now, datagram), SrtRoute::Junk, "{datagram:?}");
        }
        assert_eq!(front.counters().junk, 4);
        let mut data = [0; 20];
        data[12..16].copy_from_slice(&SocketId::new(2, 9).0.to_be_bytes());
        assert_eq!(front.route(now, &data), SrtRoute::Connection(SocketId::new(2, 9)));
    }
}
