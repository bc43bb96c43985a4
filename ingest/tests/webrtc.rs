//! A WebRTC encoder's story, told in virtual time with str0m at the other end too.

#[path = "support/peer.rs"]
mod peer;

use std::time::{Duration, Instant};

use peer::{Encoder, Line, addresses, ice, limits};
use str0m::media::{Frequency, MediaTime};
use streams_ingest::whip::{OFFER_LEN_MAX, OfferError};
use streams_ingest::{Answer, IngestError, Session, SessionEvent, WhipSession};
use streams_media::{AccessUnit, CodecConfig, MediaKind};

/// Main, 1280x720, and its picture parameter set.
const SPS: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c,
    0x83, 0xc6, 0x0c, 0xa8,
];
const PPS: &[u8] = &[0x68, 0xef, 0x3c, 0x80];
/// High, 854x480.
const OTHER_SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xd8, 0x3d, 0xe6, 0xf0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
    0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
];
const OTHER_PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
const FRAME: Duration = Duration::from_millis(40);

fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
}

fn slice(header: u8, len: usize) -> Vec<u8> {
    let mut unit = vec![header, 0x88];
    unit.resize(len, 0x55);
    unit
}

/// A line whose encoder was let in.
fn publishing(mut line: Line) -> Line {
    line.pass(Duration::from_secs(2)).expect("it connects");
    let asks = line.events.iter().filter(|event| matches!(event, SessionEvent::Publish(_))).count();
    assert_eq!((asks, line.encoder.is_connected), (1, true));
    line.session.answer(Answer::Accept).expect("it asked");
    line.events.clear();
    line
}

/// Sends so many pictures, each with 40 ms of sound: a key frame where one is asked for, 3,000 bytes a picture.
fn send(line: &mut Line, frames: u64, from: u64) -> Result<(), IngestError> {
    let mut asked = 0;
    for frame in from..from + frames {
        let key = line.encoder.key_frames_wanted > asked || frame == 0;
        asked = line.encoder.key_frames_wanted;
        let picture = if key { annex_b(&[SPS, PPS, &slice(0x65, 3_000)]) } else { annex_b(&[&slice(0x41, 3_000)]) };
        let (now, video, audio) = (line.now, line.encoder.video, line.encoder.audio);
        line.encoder.write(video, now, MediaTime::from_90khz(7_000 + frame * 3_600), picture);
        for half in 0..2 {
            let time = MediaTime::new(9_000 + (2 * frame + half) * 960, Frequency::FORTY_EIGHT_KHZ);
            line.pass(FRAME / 2)?;
            let now = line.now;
            line.encoder.write(audio, now, time, vec![0xfc, 1, 2, 3]);
        }
    }
    line.pass(Duration::from_millis(300))
}

fn units(line: &Line, kind: MediaKind) -> Vec<&AccessUnit> {
    let units = line.events.iter().filter_map(|event| match event {
        SessionEvent::Unit(unit) if unit.kind() == kind => Some(unit),
        _ => None,
    });
    units.collect()
}

#[test]
fn an_encoder_connects_asks_to_publish_and_its_media_comes_with_one_time_line() {
    let mut line = publishing(Line::new());
    send(&mut line, 100, 0).expect("it goes on");
    let (video, audio) = (units(&line, MediaKind::Video), units(&line, MediaKind::Audio));
    assert!(video.len() >= 95 && audio.len() >= 190, "{} pictures, {} of sound", video.len(), audio.len());
    assert!(video[0].access.is_start());
    assert_eq!((video[0].config.codec(), audio[0].config.codec()), ("avc1.4D401F", "opus"));
    assert!(video.iter().all(|unit| unit.data.starts_with(&[0, 0, 0x0b, 0xb8])), "length prefixes, no parameter sets");
    let steps = |units: &[&AccessUnit]| units.windows(2).map(|two| two[1].dts_us - two[0].dts_us).collect::<Vec<_>>();
    assert!(steps(&audio).iter().all(|step| *step == 20_000));
    // Sender reports move the video while it agrees with the sound only nearly.
    assert!(steps(&video).iter().all(|step| (37_000..=43_000).contains(step)), "{:?}", steps(&video));
    let (last_video, last_audio) = (video[video.len() - 1], audio[audio.len() - 1]);
    assert!((last_video.dts_us - last_audio.dts_us).abs() < 60_000);
}

#[test]
fn key_frames_are_asked_for_at_the_start_and_every_two_seconds_without_one() {
    let mut line = publishing(Line::new());
    send(&mut line, 250, 0).expect("it goes on");
    let starts: Vec<i64> =
        units(&line, MediaKind::Video).iter().filter(|unit| unit.access.is_start()).map(|unit| unit.dts_us).collect();
    assert!((5..=7).contains(&starts.len()), "{starts:?}");
    assert!(starts.windows(2).all(|two| two[1] - two[0] <= 2_300_000), "{starts:?}");
}

#[test]
fn no_media_is_used_before_the_key_was_checked_and_a_refused_encoder_is_told_by_the_end() {
    let mut line = Line::new();
    line.pass(Duration::from_secs(2)).expect("it connects");
    line.events.clear();
    send(&mut line, 10, 0).expect("it goes on");
    assert!(line.events.is_empty(), "{:?}", line.events);
    line.session.answer(Answer::Refuse("no")).expect("it asked");
    assert!(line.session.poll_datagram().is_some(), "DTLS says that it closes");
    assert!(matches!(line.session.handle_timeout(line.now), Err(IngestError::Closed)));
}

#[test]
fn lost_packets_are_asked_for_again_and_every_picture_comes() {
    let mut line = publishing(Line::new());
    // Every fiftieth packet of media, once: sent again it comes through.
    line.loses = Box::new(|number, datagram| number % 50 == 7 && datagram.len() > 500);
    send(&mut line, 200, 0).expect("it goes on");
    let video = units(&line, MediaKind::Video);
    assert_eq!(line.session.counters().gaps, 0, "{:?}", line.session.counters());
    assert!(video.len() >= 195, "{}", video.len());
}

#[test]
fn after_a_loss_for_good_the_picture_comes_back_within_half_a_second() {
    let mut line = publishing(Line::new());
    send(&mut line, 50, 0).expect("it goes on");
    let before = units(&line, MediaKind::Video).len();
    // 200 ms of nothing at all, so that no packet can be asked for again.
    line.loses = Box::new(|_, datagram| datagram.len() > 500);
    send(&mut line, 5, 50).expect("it goes on");
    line.loses = Box::new(|_, _| false);
    send(&mut line, 50, 55).expect("it goes on");
    let video = units(&line, MediaKind::Video);
    // Two seconds of pictures came after the silence: those of half a second at most are missing.
    assert!(video.len() > before + 40, "{} after {before}", video.len());
}

#[test]
fn another_resolution_becomes_another_configuration_at_its_key_frame() {
    let mut line = publishing(Line::new());
    send(&mut line, 10, 0).expect("it goes on");
    let (now, video) = (line.now, line.encoder.video);
    let time = MediaTime::from_90khz(7_000 + 20 * 3_600);
    line.encoder.write(video, now, time, annex_b(&[OTHER_SPS, OTHER_PPS, &slice(0x65, 900)]));
    line.pass(Duration::from_millis(200)).expect("it goes on");
    let last = *units(&line, MediaKind::Video).last().expect("a picture");
    let CodecConfig::Avc(avc) = last.config.as_ref() else { panic!("H.264") };
    assert_eq!(avc.codec(), "avc1.64001E");
    assert!(last.access.is_start());
}

#[test]
fn a_wrong_fingerprint_never_publishes() {
    let (now, key) = (Instant::now(), "sk_secret".to_owned());
    let (mut encoder, offer, pending) = Encoder::offering(now);
    let place = offer.find("a=fingerprint:sha-256 ").expect("a fingerprint") + "a=fingerprint:sha-256 ".len();
    let mut forged = offer.into_bytes();
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("ASCII");
    let (session, answer) =
        WhipSession::accept(now, &forged, key, &ice(), addresses(), None, limits()).expect("it looks good");
    let answer = str0m::change::SdpAnswer::from_sdp_string(&answer).expect("an answer");
    encoder.rtc.sdp_api().accept_answer(pending, answer).expect("it fits");
    let mut line = Line::new();
    (line.now, line.encoder, line.session) = (now, encoder, session);
    let ended = line.pass(Duration::from_secs(15)).expect_err("it ends");
    assert!(matches!(ended, IngestError::Webrtc { .. } | IngestError::NotConnected { .. }), "{ended}");
    assert!(!line.events.iter().any(|event| matches!(event, SessionEvent::Publish(_))));
}

#[test]
fn an_encoder_that_never_comes_and_one_that_falls_silent_end_with_words() {
    let mut line = Line::new();
    line.loses = Box::new(|_, _| true);
    let ended = line.pass(Duration::from_secs(11)).expect_err("it ends");
    assert!(ended.to_string().contains("no WebRTC connection within 10 s"), "{ended}");
    let mut line = publishing(Line::new());
    line.loses = Box::new(|_, _| true);
    let ended = line.pass(Duration::from_secs(6)).expect_err("it ends");
    assert!(ended.to_string().contains("nothing came for 5 s"), "{ended}");
}

#[test]
fn bytes_of_strangers_change_nothing() {
    let mut line = publishing(Line::new());
    let stranger = ([198, 51, 100, 9], 9).into();
    for len in 0..300usize {
        for first in [0u8, 1, 20, 22, 0x80, 0x90, 0xff] {
            let mut datagram: Vec<u8> = (0..len).map(|at| (at * 31) as u8).collect();
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            line.session.handle_datagram(line.now, stranger, &datagram).expect("it goes on");
        }
    }
    send(&mut line, 25, 0).expect("it goes on");
    assert!(units(&line, MediaKind::Video).len() >= 20);
}

#[test]
fn ice_is_restarted_under_another_name() {
    let mut line = publishing(Line::new());
    send(&mut line, 25, 0).expect("it goes on");
    let fresh =
        streams_ingest::whip::IceCredentials { ufrag: "00other1".into(), pwd: "fedcba9876543210fedcba98".into() };
    let text = "a=ice-ufrag:fresh\r\na=ice-pwd:0011223344556677889900aa\r\n";
    let fragment = streams_ingest::IceFragment::parse(text).expect("a fragment");
    let answer = line.session.restart(line.now, &fragment, &fresh).expect("it restarts");
    assert!(answer.starts_with("a=ice-ufrag:00other1\r\na=ice-pwd:fedcba"), "{answer}");
    assert!(answer.contains("a=candidate:"), "{answer}");
    assert_eq!(line.session.peer_ufrag(), Some("fresh"));
    let none = streams_ingest::IceFragment::default();
    assert!(line.session.restart(line.now, &none, &fresh).is_err(), "without credentials");
}

#[test]
fn an_offer_is_held_to_its_bounds_and_told_what_it_lacks() {
    let (_, good, _) = Encoder::offering(Instant::now());
    let refusal = |offer: &str| {
        let made = WhipSession::accept(Instant::now(), offer, String::new(), &ice(), addresses(), None, limits());
        made.err().expect("refused")
    };
    assert_eq!(refusal(&"v".repeat(OFFER_LEN_MAX + 1)), OfferError::TooLong { len: OFFER_LEN_MAX + 1 });
    for bomb in ["", "v=0", &"a=x\r\n".repeat(5_000), &format!("v=0\r\na={}", "x".repeat(9_000))] {
        assert!(matches!(refusal(bomb), OfferError::Malformed(_)), "{bomb:.40}");
    }
    let candidates = format!("{good}{}", "a=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n".repeat(65));
    assert!(matches!(refusal(&candidates), OfferError::Malformed(_)));
    for (from, to, words) in [
        ("H264/90000", "VP8/90000", "no H.264"),
        ("opus/48000/2", "G722/8000", "no Opus"),
        ("a=sendonly", "a=inactive", "does not send"),
        ("a=rtcp-mux", "a=x", "rtcp-mux"),
        ("a=group:BUNDLE", "a=group:LS", "not bundled"),
        ("m=audio", "m=application", "only audio and video"),
        ("m=audio", "m=video", "more than one video"),
    ] {
        let told = refusal(&good.replace(from, to)).to_string();
        assert!(told.contains(words), "{from} -> {to}: {told}");
    }
}
