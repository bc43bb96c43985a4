//! A WebRTC encoder and a session of ours on one line, in virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use streams_ingest::whip::{IceAddresses, IceCredentials, WhipLimits};
use streams_ingest::{IngestError, Session, SessionEvent, WhipSession};

pub const STEP: Duration = Duration::from_millis(5);
/// One way.
const DELAY: Duration = Duration::from_millis(10);

pub fn ice() -> IceCredentials {
    IceCredentials { ufrag: "00abcdef".to_owned(), pwd: "0123456789abcdef01234567".to_owned() }
}

pub fn addresses() -> IceAddresses {
    IceAddresses { bound: SocketAddr::from(([192, 0, 2, 1], 8189)), public: None }
}

pub fn limits() -> WhipLimits {
    WhipLimits { connect_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(5) }
}

/// The encoder's side.
pub struct Encoder {
    pub rtc: Rtc,
    pub address: SocketAddr,
    pub video: Mid,
    pub audio: Mid,
    pub key_frames_wanted: usize,
    pub is_connected: bool,
}

impl Encoder {
    /// With its offer.
    pub fn offering(now: Instant) -> (Self, String, SdpPendingOffer) {
        let address = SocketAddr::from(([192, 0, 2, 2], 5_000));
        let mut rtc = Rtc::new(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("an address"));
        let mut api = rtc.sdp_api();
        let audio = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let video = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        let encoder = Self { rtc, address, video, audio, key_frames_wanted: 0, is_connected: false };
        (encoder, offer.to_sdp_string(), pending)
    }

    pub fn write(&mut self, mid: Mid, at: Instant, time: MediaTime, data: Vec<u8>) {
        let writer = self.rtc.writer(mid).expect("a track");
        let payload_type = writer.payload_params().next().expect("a codec in common").pt();
        writer.write(payload_type, at, time, data).expect("written");
    }
}

/// Whether the way loses a packet: its number and its bytes.
pub type Loses = Box<dyn FnMut(u64, &[u8]) -> bool>;

/// Both and what is between them.
pub struct Line {
    pub now: Instant,
    pub encoder: Encoder,
    pub session: WhipSession,
    /// Whether a datagram of the encoder is lost; numbered from 0.
    pub loses: Loses,
    sent: u64,
    under_way: Vec<(Instant, bool, SocketAddr, Vec<u8>)>,
    pub events: Vec<SessionEvent>,
}

impl Line {
    /// After offer and answer.
    pub fn new() -> Self {
        let now = Instant::now();
        let (mut encoder, offer, pending) = Encoder::offering(now);
        let key = "sk_secret".to_owned();
        let (session, answer) =
            WhipSession::accept(now, &offer, key, &ice(), addresses(), None, limits()).expect("a good offer");
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an answer");
        encoder.rtc.sdp_api().accept_answer(pending, answer).expect("it fits the offer");
        let (under_way, events) = (Vec::new(), Vec::new());
        Self { now, encoder, session, loses: Box::new(|_, _| false), sent: 0, under_way, events }
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, time: Duration) -> Result<(), IngestError> {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), IngestError> {
        self.encoder.rtc.handle_input(Input::Timeout(self.now)).expect("the encoder lives");
        self.drain_encoder();
        let (now, bound) = (self.now, addresses().bound);
        let (arrived, rest) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= now);
        self.under_way = rest;
        let arrived: Vec<(Instant, bool, SocketAddr, Vec<u8>)> = arrived;
        for (_, to_session, from, datagram) in arrived {
            if to_session {
                self.session.handle_datagram(now, from, &datagram)?;
            } else if let Ok(received) = Receive::new(Protocol::Udp, bound, self.encoder.address, &datagram) {
                self.encoder.rtc.handle_input(Input::Receive(now, received)).expect("the encoder lives");
                self.drain_encoder();
            }
        }
        if self.session.next_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now)?;
        }
        while let Some((_, datagram)) = self.session.poll_datagram() {
            self.under_way.push((now + DELAY, false, bound, datagram));
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(())
    }

    fn drain_encoder(&mut self) {
        loop {
            match self.encoder.rtc.poll_output().expect("the encoder lives") {
                Output::Timeout(_) => return,
                Output::Transmit(sent) => {
                    let number = self.sent;
                    self.sent += 1;
                    if !(self.loses)(number, &sent.contents) {
                        let from = self.encoder.address;
                        self.under_way.push((self.now + DELAY, true, from, sent.contents.to_vec()));
                    }
                }
                Output::Event(Event::Connected) => self.encoder.is_connected = true,
                Output::Event(Event::KeyframeRequest(_)) => self.encoder.key_frames_wanted += 1,
                Output::Event(_) => {}
            }
        }
    }
}
