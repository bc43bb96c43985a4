//! One encoder's peer connection.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind as RtcKind, Mid, Rid};
use str0m::net::{Protocol as Transport, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use streams_media::{AccessUnit, MediaKind};

use super::answer;
use super::clock::{MediaClock, Report};
use super::fragment::IceFragment;
use super::offer::{self, OfferError};
use super::track::{AudioFrames, VideoFrames};
use super::unfinished::Unfinished;
use crate::{Answer, IngestError, Protocol, PublishRequest, Session, SessionEvent};

/// What the URL of a WHIP endpoint names in front of the input.
const APP: &str = "whip";
/// Distance of key frames that browsers are asked for.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(2);
/// Two requests are no closer: an encoder that answers each would send nothing else.
const KEY_FRAME_PAUSE: Duration = Duration::from_millis(300);
/// Outputs of str0m after one input. Even a datagram that completes a thousand frames stays below it.
const OUTPUTS_MAX: usize = 10_000;

/// Bounds of a session.
#[derive(Debug, Clone)]
pub struct WhipLimits {
    /// Time from the answer until ICE and DTLS are through.
    pub connect_timeout: Duration,
    /// Longest silence after that.
    pub idle_timeout: Duration,
}

/// Where a session can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IceAddresses {
    /// The address of its socket, as its peers' datagrams name it.
    pub bound: SocketAddr,
    /// What a NAT in front makes of it.
    pub public: Option<SocketAddr>,
}

/// One generation of a session's ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// Names the session in a datagram that is not of a known peer.
    pub ufrag: String,
    /// A secret of the session.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    /// The password is a secret and stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What a session did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WhipCounters {
    /// Access units given out.
    pub units: u64,
    /// Pictures left out because what they need was lost.
    pub left_out: u64,
    /// Times that packets were lost for good.
    pub gaps: u64,
    /// Key frames asked for.
    pub key_frames_asked: u64,
    /// Frames of a codec or track that was not agreed on, and packets that are none.
    pub ignored: u64,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// ICE and DTLS have until then.
    Connecting(Instant),
    /// The request to publish waits for its answer.
    Asked,
    /// Media counts.
    Publishing,
    Closed,
}

/// A WebRTC peer that sends one video and one audio track. See the [module](super).
pub struct WhipSession {
    rtc: Rtc,
    state: State,
    limits: WhipLimits,
    addresses: IceAddresses,
    offer: String,
    key: String,
    due: Instant,
    heard: Instant,
    /// Whoever sent the last datagram.
    peer: SocketAddr,
    video_mid: Option<(Mid, Option<Rid>)>,
    /// When a key frame is asked for.
    key_frame_due: Instant,
    asked: Option<Instant>,
    clock: MediaClock,
    video: VideoFrames,
    audio: AudioFrames,
    events: VecDeque<SessionEvent>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    unfinished: Unfinished,
    counters: WhipCounters,
}

impl WhipSession {
    /// Takes an offer of somebody with this stream key. Gives the session and the answer.
    ///
    /// # Errors
    /// [`OfferError`]: why the offer is not taken.
    pub fn accept(
        now: Instant,
        offer: &str,
        key: String,
        ice: &IceCredentials,
        addresses: IceAddresses,
        certificate: Option<DtlsCert>,
        limits: WhipLimits,
    ) -> Result<(Self, String), OfferError> {
        offer::check(offer)?;
        let mut rtc = answer::connection(now, ice, certificate);
        answer::add_candidates(&mut rtc, &addresses);
        let answer = answer::answer(&mut rtc, offer)?;
        if !answer::has_media(&answer) {
            return Err(OfferError::Unacceptable("none of its profiles of H.264 can be taken; offer baseline to high"));
        }
        let mut session = Self {
            rtc,
            state: State::Connecting(now + limits.connect_timeout),
            limits,
            addresses,
            offer: offer.to_owned(),
            key,
            due: now,
            heard: now,
            peer: addresses.bound,
            video_mid: None,
            key_frame_due: now,
            asked: None,
            clock: MediaClock::new(now),
            video: VideoFrames::default(),
            audio: AudioFrames::default(),
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
            unfinished: Unfinished::new(now),
            counters: WhipCounters::default(),
        };
        session.drain(now).map_err(|error| OfferError::Malformed(error.to_string()))?;
        Ok((session, answer))
    }

    /// Works on one datagram of `from`.
    ///
    /// # Errors
    /// Any [`IngestError`] ends the session.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), IngestError> {
        self.check_open()?;
        // What is none of STUN, DTLS, RTP and RTCP is not for this session.
        let Ok(received) = Receive::new(Transport::Udp, from, self.addresses.bound, datagram) else { return Ok(()) };
        (self.heard, self.peer) = (now, from);
        self.unfinished.datagram(now, datagram.len())?;
        self.rtc.handle_input(Input::Receive(now, received)).map_err(webrtc)?;
        self.drain(now)?;
        self.ask_key_frame(now)
    }

    /// The next datagram that goes out, and where to.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// More candidates of the peer; those that cannot be used are left out (RFC 9725 §4.3.2).
    ///
    /// # Errors
    /// Any [`IngestError`] ends the session.
    pub fn trickle(&mut self, now: Instant, fragment: &IceFragment) -> Result<(), IngestError> {
        self.check_open()?;
        for text in &fragment.candidates {
            if let Ok(candidate) = Candidate::from_sdp_string(text) {
                self.rtc.add_remote_candidate(candidate);
                self.drain(now)?;
            }
        }
        Ok(())
    }

    /// Begins another generation of ICE with the peer's new credentials. Gives the fragment to answer with.
    ///
    /// # Errors
    /// [`OfferError`]: the fragment cannot be used; the session goes on as it was.
    pub fn restart(
        &mut self,
        now: Instant,
        fragment: &IceFragment,
        ice: &IceCredentials,
    ) -> Result<String, OfferError> {
        let (Some(ufrag), Some(pwd)) = (&fragment.ufrag, &fragment.pwd) else {
            return Err(OfferError::Malformed("a restart needs a=ice-ufrag and a=ice-pwd".to_owned()));
        };
        let mut offer = String::with_capacity(self.offer.len());
        for line in self.offer.lines().filter(|line| !line.starts_with("a=candidate:")) {
            match line {
                _ if line.starts_with("a=ice-ufrag:") => offer.push_str(&format!("a=ice-ufrag:{ufrag}\r\n")),
                _ if line.starts_with("a=ice-pwd:") => offer.push_str(&format!("a=ice-pwd:{pwd}\r\n")),
                _ => offer.push_str(&format!("{line}\r\n")),
            }
        }
        answer::answer(&mut self.rtc, &offer)?;
        self.rtc.direct_api().set_local_ice_credentials(ice.creds());
        let broken = |error: IngestError| OfferError::Malformed(error.to_string());
        self.drain(now).map_err(broken)?;
        self.trickle(now, fragment).map_err(broken)?;
        self.offer = offer;
        self.heard = now;
        let candidates = answer::candidate_lines(&self.addresses).concat();
        Ok(format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n{candidates}a=end-of-candidates\r\n", ice.ufrag, ice.pwd))
    }

    /// The peer's user fragment, which tells a restart from more candidates.
    pub fn peer_ufrag(&self) -> Option<&str> {
        self.offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))
    }

    /// The broadcaster ended the session by its URL.
    pub fn delete(&mut self) {
        self.close();
        self.events.push_back(SessionEvent::Closed);
    }

    /// What was done so far.
    pub fn counters(&self) -> WhipCounters {
        WhipCounters { left_out: self.video.left_out, ..self.counters }
    }

    fn close(&mut self) {
        if self.state != State::Closed {
            self.state = State::Closed;
            // What it still has to say tells the peer that this is the end.
            let _ = self.rtc.close();
            self.last_words();
        }
    }

    fn last_words(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(sent)) => self.outgoing.push_back((sent.destination, sent.contents.to_vec())),
                Ok(Output::Event(_)) => {}
                Ok(Output::Timeout(_)) | Err(_) => return,
            }
        }
    }

    fn check_open(&self) -> Result<(), IngestError> {
        if self.state == State::Closed { Err(IngestError::Closed) } else { Ok(()) }
    }

    /// Takes everything that str0m has to say after one input.
    fn drain(&mut self, now: Instant) -> Result<(), IngestError> {
        for _ in 0..OUTPUTS_MAX {
            match self.rtc.poll_output().map_err(webrtc)? {
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Transmit(sent) => self.outgoing.push_back((sent.destination, sent.contents.to_vec())),
                Output::Event(event) => self.event(now, event)?,
            }
        }
        Err(IngestError::Webrtc { what: "it has too much to say at once".to_owned() })
    }

    fn event(&mut self, now: Instant, event: Event) -> Result<(), IngestError> {
        match event {
            Event::Connected if matches!(self.state, State::Connecting(_)) => {
                self.state = State::Asked;
                let request = PublishRequest { app: APP.to_owned(), key: std::mem::take(&mut self.key) };
                self.events.push_back(SessionEvent::Publish(request));
            }
            Event::MediaAdded(added) if added.kind == RtcKind::Video => self.video_mid = Some((added.mid, None)),
            Event::MediaData(data) => self.media(now, &data)?,
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err(IngestError::Webrtc { what: "its network path is gone".to_owned() });
            }
            Event::Closed => return Err(IngestError::Webrtc { what: "the peer closed its connection".to_owned() }),
            _ => {}
        }
        Ok(())
    }

    fn media(&mut self, now: Instant, data: &MediaData) -> Result<(), IngestError> {
        if answer::is(&data.params, Codec::Opus) {
            self.unfinished.sound(data.data.len());
        } else {
            self.unfinished.picture();
        }
        if self.state != State::Publishing || data.data.is_empty() {
            return Ok(());
        }
        let kind = if answer::is(&data.params, Codec::H264) {
            MediaKind::Video
        } else if answer::is(&data.params, Codec::Opus) {
            MediaKind::Audio
        } else {
            self.ignore();
            return Ok(());
        };
        if kind == MediaKind::Video && !self.is_first_layer(data) {
            self.ignore();
            return Ok(());
        }
        let report = data
            .last_sender_info
            .map(|info| Report { ticks: info.rtp_time.numer() as u32, wall_us: wall_us(info.ntp_time) });
        let rate = data.time.denom();
        let time_us = self.clock.time_us(kind, data.time.numer(), rate, data.network_time, report);
        match kind {
            MediaKind::Video => self.video_frame(now, time_us, data),
            MediaKind::Audio => {
                match self.audio.unit(time_us, &data.data) {
                    Some(unit) => self.unit(unit),
                    None => self.ignore(),
                }
                Ok(())
            }
        }
    }

    fn video_frame(&mut self, now: Instant, time_us: i64, data: &MediaData) -> Result<(), IngestError> {
        if !data.contiguous {
            self.counters.gaps = self.counters.gaps.saturating_add(1);
            self.video.lost();
        }
        let units = self.video.units(time_us, &data.data)?;
        if units.iter().any(|unit| unit.access.is_start()) {
            self.key_frame_due = now + KEY_FRAME_INTERVAL;
        } else if self.video.is_torn() {
            self.key_frame_due = now;
        }
        units.into_iter().for_each(|unit| self.unit(unit));
        Ok(())
    }

    /// Of several layers (simulcast) the first that came counts.
    fn is_first_layer(&mut self, data: &MediaData) -> bool {
        match &mut self.video_mid {
            Some((mid, layer @ None)) if *mid == data.mid && data.rid.is_some() => {
                *layer = data.rid;
                true
            }
            Some((mid, layer)) => *mid == data.mid && *layer == data.rid,
            None => false,
        }
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.counters.units = self.counters.units.saturating_add(1);
        self.events.push_back(SessionEvent::Unit(unit));
    }

    fn ignore(&mut self) {
        self.counters.ignored = self.counters.ignored.saturating_add(1);
    }

    /// When the next key frame may be asked for.
    fn asks_at(&self) -> Option<Instant> {
        let pause = self.asked.map(|asked| asked + KEY_FRAME_PAUSE);
        (self.state == State::Publishing && self.video_mid.is_some())
            .then(|| pause.map_or(self.key_frame_due, |pause| self.key_frame_due.max(pause)))
    }

    fn ask_key_frame(&mut self, now: Instant) -> Result<(), IngestError> {
        if self.asks_at().is_none_or(|at| now < at) {
            return Ok(());
        }
        let Some((mid, layer)) = self.video_mid else { return Ok(()) };
        // Asked again if none came by then.
        self.asked = Some(now);
        self.key_frame_due = now + KEY_FRAME_INTERVAL;
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, layer) {
            self.counters.key_frames_asked = self.counters.key_frames_asked.saturating_add(1);
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.rtc.handle_input(Input::Timeout(now)).map_err(webrtc)?;
            return self.drain(now);
        }
        // No packet of it came so far.
        self.key_frame_due = now + KEY_FRAME_PAUSE;
        Ok(())
    }
}

impl Session for WhipSession {
    fn protocol(&self) -> Protocol {
        Protocol::Whip
    }

    /// One datagram of whoever sent the last; [`WhipSession::handle_datagram`] takes one of anybody.
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<usize, IngestError> {
        self.handle_datagram(now, self.peer, input)?;
        Ok(input.len())
    }

    fn is_behind(&self) -> bool {
        false
    }

    fn next_timeout(&self) -> Option<Instant> {
        let limit = match self.state {
            State::Connecting(until) => until,
            State::Asked | State::Publishing => self.heard + self.limits.idle_timeout,
            State::Closed => return None,
        };
        Some(self.asks_at().map_or(self.due.min(limit), |at| self.due.min(limit).min(at)))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), IngestError> {
        self.check_open()?;
        match self.state {
            State::Connecting(until) if now >= until => {
                return Err(IngestError::NotConnected { after_s: self.limits.connect_timeout.as_secs() });
            }
            State::Asked | State::Publishing if now >= self.heard + self.limits.idle_timeout => {
                return Err(IngestError::Silent { after_s: self.limits.idle_timeout.as_secs() });
            }
            _ => {}
        }
        if now >= self.due {
            self.rtc.handle_input(Input::Timeout(now)).map_err(webrtc)?;
            self.drain(now)?;
        }
        self.ask_key_frame(now)
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Nothing: datagrams leave by [`WhipSession::poll_datagram`], which tells where to.
    fn poll_transmit(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError> {
        match answer {
            Answer::Accept if self.state == State::Asked => self.state = State::Publishing,
            Answer::Accept => return Err(IngestError::NotWaiting),
            // WebRTC has no words for it: the connection closes.
            Answer::Refuse(_) | Answer::RefuseAs(..) => self.close(),
        }
        Ok(())
    }
}

fn webrtc(error: str0m::RtcError) -> IngestError {
    IngestError::Webrtc { what: error.to_string() }
}

/// Microseconds from the Unix epoch, before it too: a sender may count from anywhere.
fn wall_us(time: SystemTime) -> i64 {
    let us = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => us(after),
        Err(before) => us(before.duration()).saturating_neg(),
    }
}
