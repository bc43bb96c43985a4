//! No bytes make the ingest panic, and none make it hold more than its bounds.

mod support;

use std::sync::OnceLock;

use proptest::prelude::*;
use streams_ingest::{Answer, RtmpLimits, RtmpSession, Session, SessionEvent};
use support::{Broadcast, feed, film, push};

/// What ffmpeg sends for half a second of the sample film.
fn capture() -> &'static [u8] {
    static CAPTURE: OnceLock<Vec<u8>> = OnceLock::new();
    CAPTURE.get_or_init(|| {
        let film = film();
        let film = film.to_str().expect("a plain path");
        let push = push(&["-i", film, "-t", "0.5", "-c", "copy"], "live/KEY", Answer::Accept);
        assert!(push.succeeded, "{}", push.said);
        push.received
    })
}

/// Runs bytes through the whole ingest, accepting any key.
fn run(bytes: &[u8], piece_len: usize) -> (bool, usize) {
    let mut session = RtmpSession::new(RtmpLimits::default());
    let mut broadcast = Broadcast::new();
    let mut out = Vec::new();
    let mut units = 0;
    for piece in bytes.chunks(piece_len.max(1)) {
        let mut events = Vec::new();
        let result = feed(&mut session, piece, &mut out, |session, event| {
            if matches!(event, SessionEvent::Publish(_)) {
                session.answer(Answer::Accept).expect("it asked");
            } else {
                units += usize::from(matches!(event, SessionEvent::Unit(_)));
                events.push(event);
            }
        });
        broadcast.take(events);
        assert!(out.len() <= 128 * 1024 + bytes.len(), "replies are bounded by what came");
        if result.is_err() {
            return (false, units);
        }
    }
    broadcast.finish();
    (true, units)
}

#[test]
fn a_capture_replays_the_same_however_it_is_cut() {
    for piece_len in [1, 7, 1500, usize::MAX] {
        let (sound, units) = run(capture(), piece_len);
        assert!(sound && units > 30, "pieces of {piece_len}: {units} units");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..8192), piece_len in 1usize..4096) {
        run(&bytes, piece_len);
    }

    #[test]
    fn random_bytes_after_a_handshake_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..8192),
        piece_len in 1usize..4096,
    ) {
        let mut hello = vec![3; 1];
        hello.resize(1 + 1536 + 1536, 0);
        hello.extend_from_slice(&bytes);
        run(&hello, piece_len);
    }

    #[test]
    fn a_mutated_capture_never_panics(
        mutations in prop::collection::vec((3073usize..200_000, any::<u8>()), 1..24),
        early in prop::collection::vec((3073usize..4500, any::<u8>()), 0..4),
        cut in 3073usize..200_000,
        piece_len in 1usize..4096,
    ) {
        let mut bytes = capture().to_vec();
        for (at, value) in mutations.iter().chain(&early) {
            let at = at % bytes.len();
            bytes[at] = *value;
        }
        bytes.truncate(cut);
        run(&bytes, piece_len);
    }

    /// Headers and bodies of tags, without the chunk layer that would stop most mutations.
    #[test]
    fn random_configurations_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..96), valid_prefix in 0usize..38) {
        const RECORD: &[u8] = &[
            0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04,
            0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef,
            0x3c, 0x80,
        ];
        let record = [&RECORD[..valid_prefix.min(RECORD.len())], bytes.as_slice()].concat();
        if let Ok(avc) = streams_media::AvcConfig::parse(record.into()) {
            let picture = avc.picture();
            prop_assert!((1..=16_384).contains(&picture.width) && (1..=16_384).contains(&picture.height));
            avc.scan(&bytes, true);
        }
        let _ = streams_media::AacConfig::parse(bytes.into());
    }
}
