//! Nanoseconds an access unit, from RTMP bytes and from ready units: `cargo bench -p streams-ingest`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtmp_runtime::chunk::{ChunkWriter, Message};
use rtmp_runtime::message::msg_type;
use streams_ingest::{
    Answer, Normaliser, NormaliserConfig, Packager, PackagerConfig, RtmpLimits, RtmpSession, Session, SessionEvent,
};
use streams_media::{AacConfig, AccessUnit, AvcConfig, CodecConfig, RandomAccess};

const RECORD: &[u8] = &[
    0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0x80,
];
/// One frame of a 2.5 Mbit/s stream at 30 frames a second, and one AAC frame of 128 kbit/s.
const VIDEO_LEN: usize = 10_000;
const AUDIO_LEN: usize = 340;
const ROUNDS: usize = 5;

fn main() {
    report("normalise and package, video", units_per_round(), || package(true));
    report("normalise and package, audio", units_per_round(), || package(false));
    let bytes = encoder_bytes();
    report("RTMP bytes to access units, video", units_per_round(), || receive(&bytes));
}

fn units_per_round() -> usize {
    // A debug build only proves that the benchmark runs.
    if cfg!(debug_assertions) { 2_000 } else { 100_000 }
}

/// Prints the best of some rounds.
fn report(what: &str, units: usize, mut round: impl FnMut() -> usize) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(round(), units, "{what}: every unit comes out");
            start.elapsed().as_nanos() / units as u128
        })
        .min()
        .unwrap_or(0);
    println!("{what}: {best} ns/unit");
}

fn package(video: bool) -> usize {
    let config = Arc::new(if video {
        CodecConfig::Avc(AvcConfig::parse(Bytes::from_static(RECORD)).expect("valid"))
    } else {
        CodecConfig::Aac(AacConfig::parse(Bytes::from_static(&[0x11, 0x90])).expect("valid"))
    });
    let data = Bytes::from(vec![0u8; if video { VIDEO_LEN } else { AUDIO_LEN }]);
    let mut normaliser = Normaliser::new(NormaliserConfig::default());
    let mut packager = Packager::new(PackagerConfig::default());
    for number in 0..units_per_round() {
        let dts_us = if video { number as i64 * 33_333 } else { number as i64 * 64_000 / 3 };
        let access = if !video || number % 60 == 0 { RandomAccess::Closed } else { RandomAccess::None };
        let unit = AccessUnit { pts_us: dts_us, dts_us, access, data: data.clone(), config: Arc::clone(&config) };
        let unix_ms = 1_800_000_000_000 + dts_us as u64 / 1000;
        packager.push(unix_ms, normaliser.push(unix_ms, unit).expect("sound"));
        while packager.poll_output().is_some() {}
    }
    let counters = packager.counters();
    (counters.video_frames + counters.audio_frames) as usize
}

/// What an encoder sends after the handshake and its commands: media messages in chunks of 4096 bytes.
fn encoder_bytes() -> Vec<u8> {
    let mut writer = ChunkWriter::new();
    let mut bytes = Vec::new();
    let mut message = |kind: u8, timestamp: u32, payload: Vec<u8>| {
        let message = Message { chunk_stream_id: 6, timestamp, message_type_id: kind, message_stream_id: 1, payload };
        bytes.extend_from_slice(&writer.write(&message).expect("writable"));
        if kind == 1 {
            writer.set_chunk_size(4096);
        }
    };
    message(1, 0, vec![0, 0, 0x10, 0]);
    message(msg_type::VIDEO, 0, [&[0x17, 0, 0, 0, 0], RECORD].concat());
    let mut frame = vec![0x27, 1, 0, 0, 0];
    frame.extend_from_slice(&(VIDEO_LEN as u32 - 4).to_be_bytes());
    frame.push(0x41);
    frame.resize(5 + VIDEO_LEN, 0);
    for number in 0..units_per_round() as u32 {
        message(msg_type::VIDEO, number * 33, frame.clone());
    }
    bytes
}

fn receive(bytes: &[u8]) -> usize {
    let (mut session, mut out, now) = (RtmpSession::new(RtmpLimits::default()), Vec::new(), Instant::now());
    let mut units = 0;
    let mut feed = |mut piece: &[u8]| {
        while !piece.is_empty() {
            let used = session.handle_input(now, piece).expect("sound");
            piece = &piece[used..];
            session.poll_transmit(&mut out);
            out.clear();
            while let Some(event) = session.poll_event() {
                match event {
                    SessionEvent::Publish(_) => session.answer(Answer::Accept).expect("accepted"),
                    event => units += usize::from(matches!(event, SessionEvent::Unit(_))),
                }
            }
        }
    };
    feed(&handshake());
    feed(&commands());
    bytes.chunks(32 * 1024).for_each(feed);
    units
}

fn handshake() -> Vec<u8> {
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    hello
}

fn commands() -> Vec<u8> {
    use rtmp_runtime::amf0::{Amf0Value, Command};
    let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
    let key = Amf0Value::String("KEY".to_owned());
    let mut writer = ChunkWriter::new();
    let mut bytes = Vec::new();
    for (name, arguments) in
        [("connect", vec![app]), ("createStream", vec![Amf0Value::Null]), ("publish", vec![Amf0Value::Null, key])]
    {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, arguments };
        let payload = command.to_body().expect("writable");
        let message = Message {
            chunk_stream_id: 3,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: 1,
            payload,
        };
        bytes.extend_from_slice(&writer.write(&message).expect("writable"));
    }
    bytes
}
