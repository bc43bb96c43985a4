//! Broadcasts that run through 2^24 ms (4 h 39 min) and 2^32 ms (49.7 days), by every way encoders write such times.

mod support;

use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use streams_ingest::{Answer, IngestError, RtmpLimits, RtmpSession, Session, SessionEvent};
use support::feed;

const VIDEO: u8 = 9;
const AUDIO: u8 = 8;
const AGGREGATE: u8 = 22;
const STEP_MS: u32 = 40;
/// Either border, in the middle of a hundred frames.
const STARTS_MS: [u32; 3] = [16_777_300, 0xff_ffff - 2000, u32::MAX - 2000];

/// How an encoder writes its chunks.
#[derive(Debug, Clone, Copy)]
struct Habit {
    chunk_len: usize,
    /// The extended timestamp stands behind type 3 headers too.
    repeats: bool,
    /// Headers of type 1 with the step; otherwise of type 0 with the time.
    deltas: bool,
    /// The repeated field holds the absolute time.
    absolute: bool,
}

impl Habit {
    fn all() -> impl Iterator<Item = Self> {
        [1, 2, 3, 4, 5, 128, 4096, 65_536].into_iter().flat_map(|chunk_len| {
            [(false, false), (true, false), (true, true)].into_iter().flat_map(move |(repeats, absolute)| {
                [false, true].map(|deltas| Self { chunk_len, repeats, deltas, absolute })
            })
        })
    }

    /// One message, its time being `step_ms` after the last of its chunk stream; `None`: the first.
    fn message(self, out: &mut Vec<u8>, kind: u8, time_ms: u32, step_ms: Option<u32>, body: &[u8]) {
        let chunk_stream = if kind == AUDIO { 4 } else { 6 };
        let (format, field_ms) = match step_ms.filter(|_| self.deltas) {
            Some(step_ms) => (1u8, step_ms),
            None => (0, time_ms),
        };
        let extended = (field_ms >= 0xff_ffff).then_some(field_ms);
        out.push((format << 6) | chunk_stream);
        out.extend_from_slice(&field_ms.min(0xff_ffff).to_be_bytes()[1..]);
        out.extend_from_slice(&u32::try_from(body.len()).expect("short").to_be_bytes()[1..]);
        out.push(kind);
        if format == 0 {
            out.extend_from_slice(&1u32.to_le_bytes());
        }
        out.extend(extended.into_iter().flat_map(u32::to_be_bytes));
        for (number, piece) in body.chunks(self.chunk_len).enumerate() {
            if number > 0 {
                out.push(0xc0 | chunk_stream);
                let repeated =
                    extended.filter(|_| self.repeats).map(|field| if self.absolute { time_ms } else { field });
                out.extend(repeated.into_iter().flat_map(u32::to_be_bytes));
            }
            out.extend_from_slice(piece);
        }
    }
}

/// A session that publishes, with chunks of `chunk_len`.
fn publishing(chunk_len: usize) -> RtmpSession {
    let mut session = RtmpSession::new(RtmpLimits::default());
    let mut bytes = vec![3];
    bytes.resize(1 + 2 * 1536, 0);
    let mut writer = ChunkWriter::new();
    let mut message = |kind: u8, payload: Vec<u8>| {
        let message =
            Message { chunk_stream_id: 3, timestamp: 0, message_type_id: kind, message_stream_id: 1, payload };
        writer.write(&message).expect("writable")
    };
    let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
    let key = Amf0Value::String("KEY".to_owned());
    for (name, arguments) in
        [("connect", vec![app]), ("createStream", vec![Amf0Value::Null]), ("publish", vec![Amf0Value::Null, key])]
    {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, arguments };
        bytes.extend_from_slice(&message(20, command.to_body().expect("writable")));
    }
    bytes.extend_from_slice(&message(1, u32::try_from(chunk_len).expect("short").to_be_bytes().to_vec()));
    feed(&mut session, &bytes, &mut Vec::new(), |session, _| session.answer(Answer::Accept).expect("it asked"))
        .expect("sound");
    session
}

/// Decoding times in milliseconds of what comes out, and whether the payloads are whole.
fn receive(session: &mut RtmpSession, bytes: &[u8], piece_len: usize) -> Result<Vec<i64>, IngestError> {
    let mut times = Vec::new();
    for piece in bytes.chunks(piece_len) {
        feed(session, piece, &mut Vec::new(), |_, event| {
            if let SessionEvent::Unit(unit) = event {
                let number = unit.data[0];
                assert!(unit.data.len() > 1 && unit.data.iter().all(|byte| *byte == number), "{:?}", unit.data);
                times.push(unit.dts_us / 1000);
            }
        })?;
    }
    Ok(times)
}

fn expected(start_ms: u32, count: u32) -> Vec<i64> {
    (0..count).map(|frame| i64::from(start_ms) + i64::from(frame * STEP_MS)).collect()
}

#[test]
fn times_beyond_24_and_32_bits_are_read_however_an_encoder_writes_them() {
    for habit in Habit::all() {
        for start_ms in STARTS_MS {
            let mut bytes = Vec::new();
            habit.message(&mut bytes, AUDIO, start_ms, None, &[0xaf, 0, 0x12, 0x10]);
            for frame in 0..100 {
                let body = [&[0xaf, 1][..], &vec![frame as u8 + 1; 200 + frame as usize]].concat();
                let step_ms = if frame == 0 { 0 } else { STEP_MS };
                habit.message(&mut bytes, AUDIO, start_ms.wrapping_add(frame * STEP_MS), Some(step_ms), &body);
            }
            let times = receive(&mut publishing(habit.chunk_len), &bytes, 700);
            assert_eq!(times.expect("sound"), expected(start_ms, 100), "{habit:?}, from {start_ms}");
        }
    }
}

#[test]
fn headers_that_are_cut_anywhere_are_read_the_same() {
    for repeats in [false, true] {
        let habit = Habit { chunk_len: 64, repeats, deltas: false, absolute: false };
        let start_ms = 16_777_300;
        let mut bytes = Vec::new();
        habit.message(&mut bytes, AUDIO, start_ms, None, &[0xaf, 0, 0x12, 0x10]);
        for frame in 0..20 {
            let body = [&[0xaf, 1][..], &[frame as u8 + 1; 150]].concat();
            habit.message(&mut bytes, AUDIO, start_ms + frame * STEP_MS, Some(STEP_MS), &body);
        }
        for piece_len in 1..40 {
            let times = receive(&mut publishing(64), &bytes, piece_len).expect("sound");
            assert_eq!(times, expected(start_ms, 20), "pieces of {piece_len}");
        }
    }
}

#[test]
fn payload_that_looks_like_the_time_at_first_is_payload() {
    // Three of the four bytes match, and the message ends with them.
    let habit = Habit { chunk_len: 6, repeats: false, deltas: false, absolute: false };
    let time_ms = 0x0101_0105;
    let mut bytes = Vec::new();
    habit.message(&mut bytes, AUDIO, time_ms, None, &[0xaf, 0, 0x12, 0x10]);
    for _ in 0..5 {
        habit.message(&mut bytes, AUDIO, time_ms, None, &[0xaf, 1, 1, 1, 1, 1, 1, 1, 1]);
    }
    // The byte that tells them apart is the next message's.
    habit.message(&mut bytes, AUDIO, time_ms, None, &[]);
    for piece_len in [1, 2, 3, 5, 1000] {
        let times = receive(&mut publishing(6), &bytes, piece_len).expect("sound");
        assert_eq!(times.len(), 5, "pieces of {piece_len}");
    }
}

#[test]
fn a_step_of_more_than_24_bits_is_one_step() {
    for repeats in [false, true] {
        let habit = Habit { chunk_len: 128, repeats, deltas: true, absolute: false };
        let mut bytes = Vec::new();
        habit.message(&mut bytes, AUDIO, 0, None, &[0xaf, 0, 0x12, 0x10]);
        let body = [&[0xaf, 1][..], &[7; 300]].concat();
        for (time_ms, step_ms) in [(0, 0), (17_000_000, 17_000_000), (17_000_040, 40)] {
            habit.message(&mut bytes, AUDIO, time_ms, Some(step_ms), &body);
        }
        assert_eq!(receive(&mut publishing(128), &bytes, 500).expect("sound"), [0, 17_000_000, 17_000_040]);
    }
}

#[test]
fn aggregates_run_through_both_borders() {
    for start_ms in STARTS_MS {
        for (chunk_len, repeats) in [(100, false), (100, true), (4096, false), (4096, true)] {
            let habit = Habit { chunk_len, repeats, deltas: false, absolute: false };
            let mut bytes = Vec::new();
            habit.message(&mut bytes, AUDIO, start_ms, None, &[0xaf, 0, 0x12, 0x10]);
            for aggregate in 0..25 {
                let from_ms = start_ms.wrapping_add(aggregate * 4 * STEP_MS);
                let mut body = Vec::new();
                for tag in 0..4 {
                    // Times of tags count from zero: the aggregate's own time says where that is.
                    body.extend_from_slice(&flv_tag(tag * STEP_MS, &[&[0xaf, 1][..], &[tag as u8 + 1; 90]].concat()));
                }
                habit.message(&mut bytes, AGGREGATE, from_ms, None, &body);
            }
            let times = receive(&mut publishing(chunk_len), &bytes, 333).expect("sound");
            assert_eq!(times, expected(start_ms, 100), "{habit:?}, from {start_ms}");
        }
    }
}

#[test]
fn both_tracks_and_metadata_share_the_unwrapped_time() {
    let habit = Habit { chunk_len: 4096, repeats: false, deltas: false, absolute: false };
    let start_ms = u32::MAX - 100;
    let record = [
        0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04,
        0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef,
        0x3c, 0x80,
    ];
    let mut bytes = Vec::new();
    habit.message(&mut bytes, AUDIO, start_ms, None, &[0xaf, 0, 0x12, 0x10]);
    habit.message(&mut bytes, VIDEO, start_ms, None, &[&[0x17, 0, 0, 0, 0][..], &record].concat());
    for frame in 0..6 {
        let time_ms = start_ms.wrapping_add(frame * STEP_MS);
        habit.message(&mut bytes, VIDEO, time_ms, None, &[0x27, 1, 0, 0, 0, 0, 0, 0, 3, 0x41, 0x9a, 0x10]);
        // Metadata in the middle of it, with a time of its own.
        habit.message(&mut bytes, 18, 0, None, b"\x02\0\x0aonMetaData\x03\0\0\x09");
        habit.message(&mut bytes, AUDIO, time_ms, None, &[0xaf, 1, 9, 9]);
    }
    let mut times = Vec::new();
    feed(&mut publishing(4096), &bytes, &mut Vec::new(), |_, event| {
        if let SessionEvent::Unit(unit) = event {
            times.push(unit.dts_us / 1000);
        }
    })
    .expect("sound");
    let wanted: Vec<i64> = expected(start_ms, 6).into_iter().flat_map(|time_ms| [time_ms, time_ms]).collect();
    assert_eq!(times, wanted);
}

/// An audio tag as it stands in an aggregate.
fn flv_tag(time_ms: u32, body: &[u8]) -> Vec<u8> {
    let [t3, t2, t1, t0] = time_ms.to_be_bytes();
    let len = u32::try_from(body.len()).expect("short");
    let mut tag = vec![AUDIO];
    tag.extend_from_slice(&len.to_be_bytes()[1..]);
    tag.extend_from_slice(&[t2, t1, t0, t3, 0, 0, 0]);
    tag.extend_from_slice(body);
    tag.extend_from_slice(&(len + 11).to_be_bytes());
    tag
}
