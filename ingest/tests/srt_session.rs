//! SRT sessions against callers: a whole story in virtual time over a bad line, and every way to be refused.

mod support;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sapflow_srt::crypto::{CryptoConfig, KeySize};
use sapflow_srt::packet::{
    Control, ControlPacket, Extension, Handshake, HandshakeKind, Packet, SrtHandshake, ext_flags,
};
use sapflow_srt::{Caller, CallerCloseReason, CallerConfig, CallerEvent};
use streams_ingest::srt::{Opened, SocketId};
use streams_ingest::{
    Answer, IngestError, LinkStats, Refusal, Session, SessionEvent, SrtFront, SrtLimits, SrtRoute, SrtSession,
    TsDemuxer, TsEvent,
};
use streams_media::MediaKind;
use support::{film, make};

const KEY: &str = "sk_film";
const PASSPHRASE: &str = "ten letters at least";
/// What an SRT message holds.
const MESSAGE_LEN: usize = 7 * 188;

fn server() -> SocketAddr {
    "192.0.2.1:9710".parse().unwrap()
}

fn client() -> SocketAddr {
    "192.0.2.9:40000".parse().unwrap()
}

/// A frame on the line: when it arrives, its number, whether it goes to the server, its bytes.
type UnderWay = (Instant, u64, bool, Vec<u8>);

/// A line with so many frames of a hundred lost in each direction, by a seed.
struct Line {
    lost_percent: u64,
    delay: Duration,
    random: u64,
    /// Earliest first.
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
    lost: u64,
}

impl Line {
    fn new(lost_percent: u64, delay: Duration) -> Self {
        Self { lost_percent, delay, random: 0x9e37_79b9_7f4a_7c15, under_way: BinaryHeap::new(), sent: 0, lost: 0 }
    }

    fn send(&mut self, now: Instant, to_server: bool, bytes: Vec<u8>) {
        self.sent += 1;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // The handshake is not what this is about.
        if self.sent > 8 && self.random % 100 < self.lost_percent {
            self.lost += 1;
            return;
        }
        self.under_way.push(Reverse((now + self.delay, self.sent, to_server, bytes)));
    }

    fn arrived(&mut self, now: Instant) -> Option<(bool, Vec<u8>)> {
        let due = self.under_way.peek().is_some_and(|next| next.0.0 <= now);
        due.then(|| self.under_way.pop()).flatten().map(|next| (next.0.2, next.0.3))
    }
}

/// What became of a story.
#[derive(Default)]
struct Told {
    units: Vec<(MediaKind, i64, Vec<u8>)>,
    closed: bool,
    error: Option<IngestError>,
    caller: Option<CallerCloseReason>,
    link: LinkStats,
    lost: u64,
}

/// How the server answers a request.
type Answering<'a> = &'a dyn Fn(&mut SrtSession) -> Result<(), IngestError>;

fn accept(session: &mut SrtSession) -> Result<(), IngestError> {
    session.unlock(Some(PASSPHRASE))?;
    session.answer(Answer::Accept)
}

/// One caller that sends `stream` at 2 Mbit/s and ends, in steps of a millisecond.
fn story(config: CallerConfig, limits: SrtLimits, mut line: Line, stream: &[u8], answering: Answering<'_>) -> Told {
    let mut now = Instant::now();
    let mut front = SrtFront::new(limits, now);
    let mut caller = Caller::new(config, server(), now).expect("a good configuration");
    let (mut session, mut told): (Option<Box<SrtSession>>, Told) = (None, Told::default());
    let mut messages = stream.chunks(MESSAGE_LEN);
    let (mut connected, mut next_message, mut ending) = (false, now, None);
    for _ in 0..60_000 {
        now += Duration::from_millis(1);
        caller.handle_timeout(now);
        while let Some(event) = caller.poll_event() {
            match event {
                CallerEvent::Connected { .. } => (connected, next_message) = (true, now),
                CallerEvent::Closed { reason, .. } => told.caller = Some(reason),
            }
        }
        if connected && next_message <= now {
            match messages.next() {
                Some(message) => caller.enqueue(now, message.to_vec()).expect("room"),
                None => {
                    // What is lost at the end has to come again before the goodbye.
                    let ends = *ending.get_or_insert(now + Duration::from_secs(1));
                    if ends <= now && !caller.is_closed() {
                        caller.stop(now);
                    }
                }
            }
            next_message += Duration::from_micros(MESSAGE_LEN as u64 * 8 / 2);
        }
        while let Some((_, datagram)) = caller.poll_transmit(now) {
            line.send(now, true, datagram);
        }
        while let Some((to_server, datagram)) = line.arrived(now) {
            if to_server {
                receive(&mut front, &mut session, now, &datagram, &mut line, &mut told, answering);
            } else {
                caller.handle_datagram(now, server(), &datagram);
            }
        }
        if let Some(open) = &mut session {
            if open.next_timeout().is_some_and(|due| due <= now) {
                let handled = open.handle_timeout(now);
                told.error = told.error.take().or(handled.err());
            }
            settle(open, now, &mut line, &mut told, answering);
        }
        if told.closed || (told.caller.is_some() && line.under_way.is_empty()) {
            break;
        }
    }
    told.lost = line.lost;
    told
}

fn receive(
    front: &mut SrtFront,
    session: &mut Option<Box<SrtSession>>,
    now: Instant,
    datagram: &[u8],
    line: &mut Line,
    told: &mut Told,
    answering: Answering<'_>,
) {
    match (front.route(now, datagram), session.as_mut()) {
        (SrtRoute::Induction, _) => {
            let answer = front.induction(now, client(), datagram).expect("a cookie");
            line.send(now, false, answer);
        }
        (SrtRoute::Conclusion { .. }, None) => {
            match SrtSession::open(front, now, client(), SocketId::new(5, 77), datagram) {
                Opened::Session(mut opened) => {
                    assert_eq!(opened.socket(), SocketId::new(5, 77), "the id that it was given");
                    settle(&mut opened, now, line, told, answering);
                    *session = Some(opened);
                }
                Opened::Refused { answer, .. } => line.send(now, false, answer.expect("its cookie was good")),
            }
        }
        (SrtRoute::Connection(id), _) if id != SocketId::new(5, 77) => panic!("{id:?} is nobody's"),
        (SrtRoute::Conclusion { .. } | SrtRoute::Connection(_), Some(open)) => {
            let handled = open.handle_input(now, datagram);
            told.error = told.error.take().or(handled.err().filter(|error| !matches!(error, IngestError::Closed)));
            settle(open, now, line, told, answering);
        }
        (SrtRoute::Connection(_) | SrtRoute::Junk, _) => {}
    }
}

fn settle(session: &mut SrtSession, now: Instant, line: &mut Line, told: &mut Told, answering: Answering<'_>) {
    loop {
        while let Some(event) = session.poll_event() {
            match event {
                SessionEvent::Publish(request) => {
                    assert_eq!(request.key, KEY);
                    let answered = answering(session);
                    told.error = told.error.take().or(answered.err());
                }
                SessionEvent::Unit(unit) => told.units.push((unit.kind(), unit.dts_us, unit.data.to_vec())),
                SessionEvent::Closed => told.closed = true,
                SessionEvent::Metadata(_) | SessionEvent::Notice(_) => {}
            }
        }
        let mut datagram = Vec::new();
        while session.poll_transmit(&mut datagram) {
            line.send(now, false, std::mem::take(&mut datagram));
        }
        told.link = session.link().unwrap_or(told.link);
        if !session.is_behind() {
            return;
        }
        let handled = session.handle_input(now, &[]);
        told.error = told.error.take().or(handled.err());
    }
}

fn stream() -> Vec<u8> {
    let film = film();
    let arguments = ["-i", film.to_str().unwrap(), "-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1M"];
    std::fs::read(&make("ts", &[&arguments[..], &["-c:a", "aac", "-ac", "2"]].concat()).path).unwrap()
}

/// What the stream's demultiplexer makes of it without any line.
fn direct(stream: &[u8]) -> Vec<(MediaKind, i64, Vec<u8>)> {
    let mut demuxer = TsDemuxer::default();
    stream.chunks(MESSAGE_LEN).for_each(|message| demuxer.push(message).unwrap());
    demuxer.finish().unwrap();
    let unit = |event| match event {
        TsEvent::Unit(unit) => Some((unit.kind(), unit.dts_us, unit.data.to_vec())),
        _ => None,
    };
    std::iter::from_fn(|| demuxer.poll_event()).filter_map(unit).collect()
}

fn config(crypto: Option<KeySize>) -> CallerConfig {
    let crypto = crypto.map(|size| CryptoConfig::new(PASSPHRASE.as_bytes().to_vec(), size).unwrap());
    CallerConfig { stream_id: KEY.to_owned(), crypto, latency: Duration::from_millis(240), ..CallerConfig::default() }
}

#[test]
fn five_percent_of_loss_at_60_ms_cost_not_one_byte_plain_or_encrypted() {
    let stream = stream();
    let wanted = direct(&stream);
    for crypto in [None, Some(KeySize::Aes128), Some(KeySize::Aes256)] {
        let line = Line::new(5, Duration::from_millis(30));
        let told = story(config(crypto), SrtLimits::default(), line, &stream, &accept);
        assert!(told.closed && told.error.is_none(), "{:?}", told.error);
        assert!(told.lost > 10 && told.link.lost > 0, "{} frames lost: {:?}", told.lost, told.link);
        assert_eq!(told.link.dropped, 0, "{:?}", told.link);
        assert_eq!(told.link.latency, Some(Duration::from_millis(240)), "the caller's, which is longer");
        let round_trip = told.link.round_trip.expect("measured");
        assert!((55..75).contains(&round_trip.as_millis()), "{round_trip:?}");
        assert_eq!(told.link.encrypted, crypto.is_some());
        assert!(told.units == wanted, "{} units instead of {}", told.units.len(), wanted.len());
    }
}

#[test]
fn what_comes_too_late_is_left_out_and_the_rest_goes_on() {
    let stream = stream();
    let late = CallerConfig { latency: Duration::from_millis(30), ..config(None) };
    let limits = SrtLimits { latency: Duration::from_millis(30), ..SrtLimits::default() };
    let told = story(late, limits, Line::new(5, Duration::from_millis(40)), &stream, &accept);
    assert!(told.closed && told.error.is_none(), "{:?}", told.error);
    assert!(told.link.dropped > 0, "{:?}", told.link);
    assert!(!told.units.is_empty() && told.units.len() < direct(&stream).len());
}

fn refused(config: CallerConfig, answering: Answering<'_>) -> (u32, Option<IngestError>) {
    let told = story(config, SrtLimits::default(), Line::new(0, Duration::ZERO), &[], answering);
    match told.caller {
        Some(CallerCloseReason::Rejected(code)) => (code, told.error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_refusal_has_the_code_of_its_kind() {
    for (refusal, code) in [
        (Refusal::Key, 2401),
        (Refusal::Full, 2402),
        (Refusal::Disabled, 2403),
        (Refusal::NotFound, 2404),
        (Refusal::OtherKind, 2406),
        (Refusal::Other, 2500),
    ] {
        let answering = move |session: &mut SrtSession| session.answer(Answer::RefuseAs(refusal, "no"));
        assert_eq!(refused(config(None), &answering).0, code, "{refusal:?}");
    }
}

#[test]
fn a_wrong_passphrase_and_one_that_there_is_not_are_refused_before_acceptance() {
    let wrong = |session: &mut SrtSession| session.unlock(Some("another passphrase"));
    let (code, error) = refused(config(Some(KeySize::Aes128)), &wrong);
    assert_eq!((code, matches!(error, Some(IngestError::Passphrase))), (1010, true), "BADSECRET");
    let none = |session: &mut SrtSession| session.unlock(None);
    assert_eq!(refused(config(Some(KeySize::Aes256)), &none).0, 1011, "UNSECURE");
}

#[test]
fn stream_ids_that_ask_for_something_else_are_refused_by_their_codes() {
    let never = |_: &mut SrtSession| panic!("it asks for nothing");
    for (stream_id, code) in [("#!::m=request,s=K", 2405), ("#!::m=publish", 2401), ("#!::t=file,s=K", 2400)] {
        let config = CallerConfig { stream_id: stream_id.to_owned(), ..config(None) };
        assert_eq!(refused(config, &never).0, code, "{stream_id}");
    }
}

/// A conclusion with key material whose cipher and key length are these.
fn conclusion(cookie: u32, material: Option<(u8, u8)>) -> Vec<u8> {
    let mut extensions = vec![
        Extension::HsReq(SrtHandshake { version: 0x01_05_01, flags: 0xbf, receiver_delay: 120, sender_delay: 120 }),
        Extension::StreamId(KEY.as_bytes().to_vec()),
    ];
    let mut flags = ext_flags::HSREQ | ext_flags::CONFIG;
    if let Some((cipher, words)) = material {
        let mut bytes = vec![0u8; 16 + 16 + 8 + usize::from(words) * 4];
        bytes[..4].copy_from_slice(&[0x12, 0x20, 0x29, 1]);
        (bytes[8], bytes[10], bytes[14], bytes[15]) = (cipher, 2, 4, words);
        extensions.push(Extension::KmReq(bytes));
        flags |= ext_flags::KMREQ;
    }
    let handshake = Handshake {
        version: 5,
        encryption: 0,
        extension: flags,
        initial_seq: 1,
        mtu: 1500,
        flow_window: 8192,
        kind: HandshakeKind::Conclusion,
        socket_id: 11,
        cookie,
        peer_ip: [0; 16],
        extensions,
    };
    let mut out = Vec::new();
    ControlPacket::new(1, 0, Control::Handshake(handshake)).encode(&mut out);
    out
}

fn cookie(front: &mut SrtFront, now: Instant) -> u32 {
    let mut induction = Vec::new();
    let handshake = Handshake {
        version: 4,
        encryption: 0,
        extension: 2,
        initial_seq: 1,
        mtu: 1500,
        flow_window: 8192,
        kind: HandshakeKind::Induction,
        socket_id: 11,
        cookie: 0,
        peer_ip: [0; 16],
        extensions: Vec::new(),
    };
    ControlPacket::new(0, 0, Control::Handshake(handshake)).encode(&mut induction);
    assert_eq!(front.route(now, &induction), SrtRoute::Induction);
    let answer = front.induction(now, client(), &induction).expect("answered");
    match Packet::parse(&answer) {
        Ok(Packet::Control(ControlPacket { body: Control::Handshake(handshake), .. })) => handshake.cookie,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ciphers_that_are_not_spoken_are_named() {
    let now = Instant::now();
    let mut front = SrtFront::new(SrtLimits::default(), now);
    let cookie = cookie(&mut front, now);
    for (material, name) in [((2, 6), "AES-192"), ((3, 4), "AES-GCM")] {
        let datagram = conclusion(cookie, Some(material));
        match SrtSession::open(&front, now, client(), SocketId::new(0, 1), &datagram) {
            Opened::Refused { answer, reason } => {
                assert!(reason.contains(name), "{reason}");
                let code = u32::from_be_bytes(answer.expect("told")[36..40].try_into().unwrap());
                assert_eq!(code, 1017, "SRT_REJ_CRYPTO");
            }
            Opened::Session(_) => panic!("{name} was let in"),
        }
    }
}

#[test]
fn a_cookie_is_good_at_every_shard_for_its_address_alone() {
    let now = Instant::now();
    let mut front = SrtFront::new(SrtLimits::default(), now);
    let other_shard = front.clone();
    let datagram = conclusion(cookie(&mut front, now), None);
    let open = |front: &SrtFront, peer| SrtSession::open(front, now, peer, SocketId::new(1, 1), &datagram);
    assert!(matches!(open(&other_shard, client()), Opened::Session(_)));
    assert!(matches!(open(&other_shard, server()), Opened::Refused { answer: None, .. }), "another address");
    let stranger = SrtFront::new(SrtLimits::default(), now);
    assert!(matches!(open(&stranger, client()), Opened::Refused { answer: None, .. }), "another engine's");
}

#[test]
fn silence_ends_a_session_in_words() {
    let limits = SrtLimits { idle_timeout: Duration::from_secs(2), ..SrtLimits::default() };
    let now = Instant::now();
    let mut front = SrtFront::new(limits, now);
    let datagram = conclusion(cookie(&mut front, now), None);
    let Opened::Session(mut session) = SrtSession::open(&front, now, client(), SocketId::new(0, 1), &datagram) else {
        panic!("refused");
    };
    assert!(matches!(session.poll_event(), Some(SessionEvent::Publish(_))));
    session.handle_timeout(now).unwrap();
    accept(&mut session).unwrap();
    let mut ended = None;
    while ended.is_none() {
        let due = session.next_timeout().expect("a timer");
        ended = session.handle_timeout(due).err().map(|error| (due - now, error.to_string()));
    }
    let (after, words) = ended.unwrap();
    assert_eq!((after, words.as_str()), (Duration::from_secs(2), "nothing came for 2 s"));
}
