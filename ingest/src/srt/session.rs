//! One encoder's SRT connection as a session.
//!
//! ```text
//!   open --> Waiting --unlock, accept--> Publishing --shutdown of the caller--> Over
//!               '------ refuse: a code ------'--- refuse: shutdown, silence -----^
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sapflow_srt::crypto::{CryptoConfig, KeySize};
use sapflow_srt::packet::{Control, ControlPacket, Extension, Handshake, Packet};
use sapflow_srt::{CloseReason, Config, ConnId, Event, Listener};

use super::front::SrtFront;
use super::refusal::{OTHER_CIPHER, code, rejection};
use super::socket_id::{SessionKey, SocketId};
use super::stream_id;
use crate::session::{LinkStats, Refusal};
use crate::ts::{TsDemuxer, TsEvent};
use crate::{Answer, IngestError, Protocol, Session, SessionEvent};

/// Payloads that one call demultiplexes: of 1316 bytes each, so that a call takes some ten microseconds.
const PAYLOADS_A_CALL: usize = 8;
/// In key material: the cipher, and the length of its keys in words of four bytes (§3.2.2).
const CIPHER_AT: usize = 8;
const KEY_WORDS_AT: usize = 15;
const CIPHER_CTR: u8 = 2;
/// A full acknowledgement: type 2, and where it tells the round trip (§3.2.4).
const ACKNOWLEDGEMENT: [u8; 2] = [0x80, 2];
const ROUND_TRIP: std::ops::Range<usize> = 20..24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its request waits for an answer.
    Waiting,
    Publishing,
    Over,
}

/// What came of a conclusion.
pub enum Opened {
    /// A caller that brought its cookie back and asks to publish.
    Session(Box<SrtSession>),
    /// It may not: what it is told, and why. Without an answer its cookie was not ours.
    Refused {
        /// The datagram that says so.
        answer: Option<Vec<u8>>,
        /// Words for the operator.
        reason: String,
    },
}

/// One encoder's connection: give it its peer's datagrams, send what comes out to that peer.
pub struct SrtSession {
    listener: Listener<SessionKey>,
    id: ConnId,
    peer: SocketAddr,
    caller: u32,
    encryption: Encryption,
    /// Longest silence.
    idle_timeout: Duration,
    phase: Phase,
    /// Newest time it was told.
    now: Instant,
    behind: bool,
    demuxer: TsDemuxer,
    events: VecDeque<SessionEvent>,
    round_trip: Option<Duration>,
}

/// What a caller's key material asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    Aes(KeySize),
    /// A cipher that is not spoken here.
    Other(&'static str),
}

impl SrtSession {
    /// The conclusion of `peer`, whose connection would be `socket`.
    pub fn open(front: &SrtFront, now: Instant, peer: SocketAddr, socket: SocketId, datagram: &[u8]) -> Opened {
        let Ok(Packet::Control(ControlPacket { body: Control::Handshake(handshake), .. })) = Packet::parse(datagram)
        else {
            return Opened::Refused { answer: None, reason: "no handshake".into() };
        };
        let encryption = encryption(&handshake);
        let config = Config {
            latency: front.limits.latency,
            max_connections: 1,
            buffer_packets: front.limits.buffer_packets,
            peer_idle: front.limits.idle_timeout,
            // Whoever owns the session has its own patience.
            accept_timeout: Duration::from_secs(3600),
            // With key material the secret is chosen once the input is known; without, there is none.
            require_encryption: encryption != Encryption::None,
            ..Config::default()
        };
        let key = SessionKey { secret: front.secret.clone(), socket };
        let mut listener = Listener::with_key(config, front.epoch, key);
        listener.handle_datagram(now, peer, datagram);
        let Some(Event::Connect { id, stream_id, .. }) = listener.poll_event() else {
            // Only who brought a cookie of ours is answered.
            let answer = listener.poll_transmit().map(|(_, answer)| answer);
            return refused(&handshake, encryption, answer);
        };
        let request = match stream_id::read(&stream_id) {
            Ok(request) => request,
            Err((refusal, reason)) => {
                return Opened::Refused {
                    answer: Some(rejection(&handshake, code(refusal))),
                    reason: reason.to_owned(),
                };
            }
        };
        Opened::Session(Box::new(Self {
            listener,
            id,
            peer,
            caller: handshake.socket_id,
            encryption,
            idle_timeout: front.limits.idle_timeout,
            phase: Phase::Waiting,
            now,
            behind: false,
            demuxer: TsDemuxer::default(),
            events: VecDeque::from([SessionEvent::Publish(request)]),
            round_trip: None,
        }))
    }

    /// What the caller's datagrams are addressed to.
    pub fn socket(&self) -> SocketId {
        SocketId(self.id.0)
    }

    /// The caller's own socket id: with its address, what a repeated conclusion is known by.
    pub fn caller(&self) -> u32 {
        self.caller
    }

    /// Works on what the connection has ready, some of it at a time.
    fn collect(&mut self) -> Result<(), IngestError> {
        self.behind = true;
        for _ in 0..PAYLOADS_A_CALL {
            match self.listener.poll_event() {
                Some(Event::Data { payload, .. }) => {
                    let read = self.demuxer.push(&payload);
                    self.take_media();
                    read?;
                }
                Some(Event::Closed { reason: Some(CloseReason::Shutdown), .. }) => {
                    let read = self.demuxer.finish();
                    self.take_media();
                    self.phase = Phase::Over;
                    self.events.push_back(SessionEvent::Closed);
                    read?;
                }
                Some(Event::Closed { .. }) => {
                    self.phase = Phase::Over;
                    return Err(IngestError::Silent { after_s: self.idle_timeout.as_secs() });
                }
                Some(Event::Connect { .. }) => {}
                None => {
                    self.behind = false;
                    break;
                }
            }
        }
        Ok(())
    }

    fn take_media(&mut self) {
        while let Some(event) = self.demuxer.poll_event() {
            self.events.push_back(match event {
                TsEvent::Metadata(metadata) => SessionEvent::Metadata(metadata),
                TsEvent::Unit(unit) => SessionEvent::Unit(unit),
                TsEvent::Notice(notice) => SessionEvent::Notice(notice),
            });
        }
    }

    fn accept(&mut self, passphrase: Option<&str>) -> Result<(), IngestError> {
        let crypto = match (self.encryption, passphrase) {
            (Encryption::Aes(size), Some(passphrase)) => CryptoConfig::new(passphrase.as_bytes().to_vec(), size).ok(),
            _ => None,
        };
        if !self.listener.accept_with_crypto(self.id, self.now, crypto) {
            self.phase = Phase::Over;
            return Err(IngestError::Passphrase);
        }
        self.phase = Phase::Publishing;
        Ok(())
    }
}

/// A call works on one datagram and at most eight payloads. A refusal is a rejection by its code before acceptance, a shutdown after.
impl Session for SrtSession {
    fn protocol(&self) -> Protocol {
        Protocol::Srt
    }

    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<usize, IngestError> {
        if self.phase == Phase::Over && !self.behind {
            return Err(IngestError::Closed);
        }
        self.now = now;
        if self.behind {
            self.collect()?;
            return Ok(0);
        }
        if !input.is_empty() {
            self.listener.handle_datagram(now, self.peer, input);
        }
        self.collect()?;
        Ok(input.len())
    }

    fn is_behind(&self) -> bool {
        self.behind
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.listener.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), IngestError> {
        self.now = now;
        self.listener.handle_timeout(now);
        if self.behind { Ok(()) } else { self.collect() }
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((_, datagram)) = self.listener.poll_transmit() else { return false };
        if datagram.starts_with(&ACKNOWLEDGEMENT)
            && let Some(round_trip) = datagram.get(ROUND_TRIP).and_then(|bytes| bytes.try_into().ok())
        {
            self.round_trip = Some(Duration::from_micros(u32::from_be_bytes(round_trip).into()));
        }
        out.extend_from_slice(&datagram);
        true
    }

    fn unlock(&mut self, passphrase: Option<&str>) -> Result<(), IngestError> {
        if self.phase == Phase::Waiting { self.accept(passphrase) } else { Err(IngestError::NotWaiting) }
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError> {
        match (answer, self.phase) {
            (Answer::Accept, Phase::Publishing) => Ok(()),
            (Answer::Accept, Phase::Waiting) => self.accept(None),
            (Answer::Accept, Phase::Over) => Err(IngestError::NotWaiting),
            (_, Phase::Over) => Ok(()),
            (Answer::Refuse(_), Phase::Waiting) => self.refuse(Refusal::Other),
            (Answer::RefuseAs(refusal, _), Phase::Waiting) => self.refuse(refusal),
            (Answer::Refuse(_) | Answer::RefuseAs(..), Phase::Publishing) => {
                self.phase = Phase::Over;
                self.listener.close(self.id, self.now);
                Ok(())
            }
        }
    }

    fn link(&self) -> Option<LinkStats> {
        let stats = self.listener.connection_stats(self.id)?;
        Some(LinkStats {
            received: stats.received,
            lost: stats.lost,
            retransmitted: stats.retransmitted,
            dropped: stats.dropped,
            damaged: self.demuxer.counters().damaged,
            round_trip: self.round_trip,
            latency: self.listener.latency(self.id),
            encrypted: self.encryption != Encryption::None,
        })
    }
}

impl SrtSession {
    fn refuse(&mut self, refusal: Refusal) -> Result<(), IngestError> {
        self.phase = Phase::Over;
        self.listener.reject(self.id, code(refusal));
        Ok(())
    }
}

fn refused(handshake: &Handshake, encryption: Encryption, answer: Option<Vec<u8>>) -> Opened {
    match (answer, encryption) {
        (None, _) => Opened::Refused { answer: None, reason: "its cookie is not one of ours".into() },
        (Some(_), Encryption::Other(cipher)) => Opened::Refused {
            answer: Some(rejection(handshake, OTHER_CIPHER)),
            reason: format!("SRT encryption by {cipher} is not supported; use AES-128 or AES-256 (pbkeylen 16 or 32)"),
        },
        (Some(answer), _) => Opened::Refused {
            answer: Some(answer),
            reason: "this port takes SRT live mode of version 1.3 and later, without groups and packet filters".into(),
        },
    }
}

fn encryption(handshake: &Handshake) -> Encryption {
    let material = handshake.extensions.iter().find_map(|extension| match extension {
        Extension::KmReq(material) => Some(material),
        _ => None,
    });
    let Some(material) = material else { return Encryption::None };
    match (material.get(CIPHER_AT).copied(), material.get(KEY_WORDS_AT).copied()) {
        (Some(CIPHER_CTR), Some(6)) => Encryption::Other("AES-192"),
        (Some(CIPHER_CTR), Some(8)) => Encryption::Aes(KeySize::Aes256),
        (Some(CIPHER_CTR), _) => Encryption::Aes(KeySize::Aes128),
        (Some(3), _) => Encryption::Other("AES-GCM"),
        _ => Encryption::Other("an unknown cipher"),
    }
}
