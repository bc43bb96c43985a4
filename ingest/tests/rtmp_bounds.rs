//! What a connection must not get away with.

mod support;

use std::collections::VecDeque;

use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use rtmp_runtime::message::msg_type;
use streams_ingest::{Answer, IngestError, Notice, PublishRequest, RtmpLimits, RtmpSession, Session, SessionEvent};
use streams_media::{MediaKind, RandomAccess};
use support::feed;

/// An encoder written by hand: it sends what a test asks for.
struct Encoder {
    session: RtmpSession,
    writer: ChunkWriter,
    out: Vec<u8>,
    /// What the session told.
    events: VecDeque<SessionEvent>,
}

impl Encoder {
    /// Past the handshake.
    fn new(limits: RtmpLimits) -> Self {
        let (session, writer) = (RtmpSession::new(limits), ChunkWriter::new());
        let mut encoder = Self { session, writer, out: Vec::new(), events: VecDeque::new() };
        let mut hello = vec![3];
        hello.resize(1 + 1536, 0);
        encoder.send(&hello).expect("C0 and C1");
        let echo = encoder.out.get(1..1537).expect("S1").to_vec();
        encoder.send(&echo).expect("C2");
        encoder
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        let Self { session, out, events, .. } = self;
        feed(session, bytes, out, |_, event| events.push_back(event))
    }

    fn message(&mut self, kind: u8, chunk_stream_id: u32, timestamp: u32, payload: Vec<u8>) -> Result<(), IngestError> {
        let message = Message { chunk_stream_id, timestamp, message_type_id: kind, message_stream_id: 1, payload };
        let bytes = self.writer.write(&message).expect("writable");
        self.send(&bytes)
    }

    fn command(&mut self, name: &str, arguments: Vec<Amf0Value>) -> Result<(), IngestError> {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, arguments };
        self.message(msg_type::COMMAND_AMF0, 3, 0, command.to_body().expect("writable"))
    }

    /// Up to the publish request.
    fn ask(limits: RtmpLimits, key: &str) -> Self {
        let mut encoder = Self::new(limits);
        let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
        encoder.command("connect", vec![app]).expect("connect");
        encoder.command("createStream", vec![Amf0Value::Null]).expect("createStream");
        let arguments = vec![Amf0Value::Null, Amf0Value::String(key.to_owned()), Amf0Value::String("live".to_owned())];
        encoder.command("publish", arguments).expect("publish");
        encoder
    }

    /// Past acceptance.
    fn publishing() -> Self {
        let mut encoder = Self::ask(RtmpLimits::default(), "KEY");
        assert!(matches!(encoder.event(), Some(SessionEvent::Publish(_))));
        encoder.answer(Answer::Accept).expect("accepted");
        encoder.out.clear();
        encoder
    }

    /// The next event, of what was held back too.
    fn event(&mut self) -> Option<SessionEvent> {
        self.send(&[]).expect("sound");
        self.events.pop_front()
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError> {
        let answered = self.session.answer(answer);
        self.session.poll_transmit(&mut self.out);
        answered
    }

    fn video(&mut self, body: &[u8]) -> Result<(), IngestError> {
        self.message(msg_type::VIDEO, 6, 0, body.to_vec())
    }

    fn audio(&mut self, body: &[u8]) -> Result<(), IngestError> {
        self.message(msg_type::AUDIO, 4, 0, body.to_vec())
    }

    fn was_told(&self, text: &str) -> bool {
        self.out.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

#[test]
fn media_waits_for_the_answer_and_comes_in_order() {
    let mut encoder = Encoder::ask(RtmpLimits::default(), "KEY");
    assert!(!encoder.was_told("NetStream.Publish.Start"), "no start before the answer");
    encoder.audio(&[0xaf, 0, 0x12, 0x10]).expect("held");
    encoder.audio(&[0xaf, 1, 0x21, 0x10]).expect("held");
    let Some(SessionEvent::Publish(PublishRequest { app, key })) = encoder.event() else { panic!("a request") };
    assert_eq!((app.as_str(), key.as_str()), ("live", "KEY"));
    assert!(encoder.event().is_none(), "nothing before the answer");
    assert!(encoder.session.is_waiting() && !encoder.session.is_publishing());
    encoder.answer(Answer::Accept).expect("accepted");
    assert!(encoder.was_told("NetStream.Publish.Start") && encoder.session.is_publishing());
    let Some(SessionEvent::Unit(unit)) = encoder.event() else { panic!("a unit") };
    assert_eq!(unit.data.as_ref(), [0x21, 0x10]);
}

#[test]
fn a_rejection_is_a_proper_status_and_ends_the_session() {
    let mut encoder = Encoder::ask(RtmpLimits::default(), "KEY");
    encoder.answer(Answer::Refuse("stream key was rotated")).expect("a refusal");
    assert!(encoder.was_told("NetStream.Publish.BadName") && encoder.was_told("stream key was rotated"));
    assert!(!encoder.was_told("NetStream.Publish.Start"));
    assert!(matches!(encoder.audio(&[0xaf, 0, 0x12, 0x10]), Err(IngestError::Closed)));
    assert!(matches!(encoder.answer(Answer::Accept), Err(IngestError::NotWaiting)));
}

#[test]
fn an_accepted_publish_can_be_ended_with_a_reason() {
    let mut encoder = Encoder::publishing();
    encoder.answer(Answer::Refuse("input was disabled")).expect("a refusal");
    assert!(encoder.was_told("NetStream.Publish.Rejected") && encoder.was_told("input was disabled"));
    assert!(!encoder.session.is_publishing());
}

#[test]
fn the_end_of_the_stream_is_an_event() {
    let mut encoder = Encoder::publishing();
    encoder.command("deleteStream", vec![Amf0Value::Null, Amf0Value::Number(1.0)]).expect("in order");
    assert!(matches!(encoder.event(), Some(SessionEvent::Closed)));
    assert!(!encoder.session.is_publishing());
}

#[test]
fn what_is_held_while_waiting_is_bounded() {
    let limits = RtmpLimits { held_len_max: 10_000, ..RtmpLimits::default() };
    let mut encoder = Encoder::ask(limits, "KEY");
    encoder.send(&[0; 10_000]).expect("within the bound");
    let error = encoder.send(&[0]).expect_err("beyond the bound");
    assert!(matches!(error, IngestError::Held { len: 10_001, len_max: 10_000 }), "{error}");
}

#[test]
fn a_client_that_never_publishes_is_cut() {
    let mut encoder = Encoder::new(RtmpLimits::default());
    let result = (0..100_000).try_for_each(|_| encoder.message(msg_type::USER_CONTROL, 2, 0, vec![0; 6]));
    assert!(matches!(result, Err(IngestError::MessagesBeforePublish { count: 129, count_max: 128 })), "{result:?}");
    let mut encoder = Encoder::new(RtmpLimits::default());
    let result = (0..100_000).try_for_each(|_| {
        encoder.message(
            msg_type::COMMAND_AMF0,
            3,
            0,
            vec![2, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0].into_iter().chain(vec![5; 900]).collect(),
        )
    });
    assert!(matches!(result, Err(IngestError::BeforePublish { len_max: 65_536, .. })), "{result:?}");
}

#[test]
fn a_client_that_only_asks_for_replies_is_cut() {
    let limits = RtmpLimits {
        before_publish_len_max: usize::MAX,
        before_publish_messages_max: usize::MAX,
        ..RtmpLimits::default()
    };
    let mut encoder = Encoder::new(limits);
    let result = (0..100_000).try_for_each(|_| encoder.command("releaseStream", vec![Amf0Value::Null]));
    assert!(matches!(result, Err(IngestError::Replies { .. })), "{result:?}");
    assert!(encoder.out.len() < 256 * 1024);
}

#[test]
fn too_many_chunk_streams_are_refused() {
    let mut encoder = Encoder::publishing();
    let result =
        (10..200).try_for_each(|chunk_stream| encoder.message(msg_type::AUDIO, chunk_stream, 0, vec![0xaf, 2]));
    assert!(matches!(result, Err(IngestError::ChunkStreams { count_max: 64 })), "{result:?}");
}

#[test]
fn a_message_beyond_eight_mebibytes_is_refused_by_its_header() {
    let mut encoder = Encoder::publishing();
    // Type 0 header on chunk stream 7: time 0, length 0xffffff, video, stream 1.
    let error = encoder.send(&[7, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]).expect_err("refused");
    assert!(matches!(error, IngestError::MessageLen { kind: 9, len: 0xff_ffff, len_max: 8_388_608 }), "{error}");
}

#[test]
fn messages_that_never_end_are_bounded_together() {
    let mut encoder = Encoder::publishing();
    let mut result = Ok(());
    for chunk_stream in 7..20u8 {
        // Each declares 8 MiB and brings one chunk of it.
        let mut bytes = vec![chunk_stream, 0, 0, 0, 0x80, 0, 0, 9, 1, 0, 0, 0];
        bytes.extend_from_slice(&[0; 128]);
        result = encoder.send(&bytes);
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(IngestError::InProgress { len: 25_165_824, .. })), "{result:?}");
}

#[test]
fn absurd_chunk_sizes_are_refused_or_harmless() {
    let mut encoder = Encoder::publishing();
    let error = encoder.message(1, 2, 0, vec![0, 0, 0, 0]).expect_err("a chunk size of zero never ends");
    assert!(matches!(error, IngestError::Chunk { .. }), "{error}");
    let mut encoder = Encoder::publishing();
    encoder.message(1, 2, 0, vec![0x7f, 0xff, 0xff, 0xff]).expect("a huge one is cut to what a message may have");
    encoder.audio(&[0xaf, 0, 0x12, 0x10]).expect("media goes on");
}

#[test]
fn a_second_publish_on_one_connection_is_refused() {
    let mut encoder = Encoder::publishing();
    let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
    let result = encoder
        .command("connect", vec![app])
        .and_then(|()| encoder.command("publish", vec![Amf0Value::Null, Amf0Value::String("OTHER".to_owned())]));
    assert!(matches!(result, Err(IngestError::Command { .. })), "{result:?}");
}

#[test]
fn a_key_longer_than_any_key_is_refused() {
    let mut encoder = Encoder::new(RtmpLimits::default());
    let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
    encoder.command("connect", vec![app]).expect("connect");
    encoder.command("createStream", vec![Amf0Value::Null]).expect("createStream");
    let key = Amf0Value::String("k".repeat(600));
    let error = encoder.command("publish", vec![Amf0Value::Null, key]).expect_err("refused");
    assert!(matches!(error, IngestError::StreamKey { len: 600, len_max: 512 }), "{error}");
}

#[test]
fn enhanced_codecs_are_refused_by_name_and_the_encoder_is_told() {
    for (body, name) in [
        (b"\x90vp08\x01\x02".as_slice(), "video codec VP8 (vp08) is not supported; send H.264, H.265, AV1 or VP9"),
        (b"\x90vvc1\x01\x02", "video codec vvc1 is not supported; send H.264, H.265, AV1 or VP9"),
        (b"\x12\x00\x00\x00\x00", "video codec Sorenson H.263 is not supported; send H.264, H.265, AV1 or VP9"),
        (
            b"\x96\x00vp08\x00\x01",
            "video codec VP8 (vp08) as multitrack is not supported; send H.264, H.265, AV1 or VP9",
        ),
        (b"\x90hvc1\x01\x02", "HEVC sequence header is malformed: it is cut short"),
        (b"\x1c\x00\x00\x00\x00\x01", "HEVC sequence header is malformed: it is cut short"),
        (b"\x90av01\x81\x02", "AV1 sequence header is malformed: it is cut short"),
    ] {
        let mut encoder = Encoder::publishing();
        assert_eq!(encoder.video(body).expect_err("refused").to_string(), name);
        assert!(encoder.was_told("NetStream.Publish.Rejected") && encoder.was_told(name));
    }
    for (body, name) in [
        (b"\x90Opus\x01".as_slice(), "Opus header is malformed: it is no OpusHead or cut short"),
        (b"\x90ac-3\x01", "audio codec AC-3 (ac-3) is not supported; send AAC or Opus"),
        (b"\x2f\xff\xfb", "audio codec MP3 is not supported; send AAC or Opus"),
        (b"\xbf\x00", "audio codec Speex is not supported; send AAC or Opus"),
    ] {
        let mut encoder = Encoder::publishing();
        assert_eq!(encoder.audio(body).expect_err("refused").to_string(), name);
    }
}

#[test]
fn one_bad_tag_never_ends_a_session() {
    let mut encoder = Encoder::publishing();
    encoder.video(&[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41]).expect("video before its sequence header");
    encoder.audio(&[0xaf, 1, 0x21]).expect("audio before its sequence header");
    let record = [
        0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04,
        0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef,
        0x3c, 0x80,
    ];
    encoder.video(&[[0x17, 0, 0, 0, 0].as_slice(), &record].concat()).expect("a sequence header");
    encoder.video(&[0x27, 1, 0, 0, 0, 0, 0, 0, 9, 0x41]).expect("a NAL unit longer than its tag");
    encoder.video(&[0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x09, 0xf0]).expect("no slice in it");
    encoder.video(&[]).expect("an empty tag");
    encoder.message(msg_type::DATA_AMF0, 5, 0, vec![2, 0, 9, b'x']).expect("no metadata");
    while let Some(event) = encoder.event() {
        assert!(matches!(event, SessionEvent::Notice(_)), "{event:?}");
    }
    // FLV says key frame, the NAL unit says no IDR; composition offset -40 ms.
    encoder.video(&[0x17, 1, 0xff, 0xff, 0xd8, 0, 0, 0, 2, 0x41, 0x9a]).expect("a frame");
    let Some(SessionEvent::Unit(unit)) = encoder.event() else { panic!("a unit") };
    assert_eq!((unit.access, unit.pts_us, unit.dts_us), (RandomAccess::None, -40_000, 0));
    let counters = encoder.session.counters();
    assert_eq!((counters.units, counters.without_config, counters.broken), (1, 2, 2));
}

#[test]
fn h264_under_the_enhanced_header_is_the_same_h264() {
    let record = [
        0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04,
        0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef,
        0x3c, 0x80,
    ];
    let mut encoder = Encoder::publishing();
    encoder.video(&[b"\x90avc1".as_slice(), &record].concat()).expect("a sequence header");
    encoder.video(b"\x91avc1\x00\x00\x28\x00\x00\x00\x02\x65\x88").expect("a frame with an offset");
    encoder.video(b"\xa3avc1\x00\x00\x00\x02\x41\x9a").expect("a frame without");
    let mut units = Vec::new();
    while let Some(SessionEvent::Unit(unit)) = encoder.event() {
        units.push((unit.access.is_start(), unit.pts_us, unit.data.len()));
    }
    assert_eq!(units, [(true, 40_000, 6), (false, 0, 6)]);
}

#[test]
fn a_session_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<RtmpSession>();
    is_send::<streams_ingest::Normaliser>();
    is_send::<streams_ingest::Packager>();
}

#[test]
fn the_stream_key_is_never_printed() {
    let mut encoder = Encoder::ask(RtmpLimits::default(), "SECRET");
    let event = encoder.event().expect("a request");
    assert!(!format!("{event:?}").contains("SECRET"));
}

/// Notices so far.
fn notices(encoder: &mut Encoder) -> Vec<Notice> {
    std::iter::from_fn(|| encoder.event())
        .filter_map(|event| match event {
            SessionEvent::Notice(notice) => Some(notice),
            _ => None,
        })
        .collect()
}

#[test]
fn media_without_its_sequence_header_is_told_once_and_so_is_the_header() {
    let mut encoder = Encoder::publishing();
    for _ in 0..5 {
        encoder.audio(&[0xaf, 1, 0x21, 0x10]).expect("not the end");
        encoder.video(&[0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x41, 0x9a]).expect("not the end");
    }
    let missing = [Notice::ConfigMissing(MediaKind::Audio), Notice::ConfigMissing(MediaKind::Video)];
    assert_eq!(notices(&mut encoder), missing);
    encoder.audio(&[0xaf, 0, 0x12, 0x10]).expect("a sequence header");
    assert_eq!(notices(&mut encoder), [Notice::ConfigCame(MediaKind::Audio)]);
    encoder.audio(&[0xaf, 0, 0x12, 0x10]).expect("the same again");
    assert!(notices(&mut encoder).is_empty());
}

#[test]
fn a_second_track_of_enhanced_rtmp_is_left_out_and_told_once() {
    let mut encoder = Encoder::publishing();
    encoder.audio(&[0xaf, 0, 0x12, 0x10]).expect("a sequence header");
    for _ in 0..3 {
        encoder.audio(&[0xaf, 1, 0x21, 0x10]).expect("sound");
        // Multitrack (5), one track, sequence start and coded frames: track 1.
        encoder.audio(b"\x95\x00mp4a\x01\x11\x90").expect("left out");
        encoder.audio(b"\x95\x01mp4a\x01\x21\x20").expect("left out");
        // Whatever its codec is, and many tracks of many codecs.
        encoder.audio(b"\x95\x01Opus\x01\x21\x20").expect("left out");
        encoder.audio(b"\x95\x21Opus\x01\x00\x00\x01\x20").expect("left out");
        encoder.video(b"\x96\x01hvc1\x01\x00\x00").expect("left out");
    }
    let (mut units, mut told) = (0, Vec::new());
    while let Some(event) = encoder.event() {
        match event {
            SessionEvent::Unit(unit) => units += usize::from(unit.data.as_ref() == [0x21, 0x10]),
            SessionEvent::Notice(notice) => told.push(notice),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(units, 3, "the first track goes on");
    assert_eq!(told, [Notice::ExtraTrack(MediaKind::Audio), Notice::ExtraTrack(MediaKind::Video)]);
    assert_eq!(encoder.session.counters().extra_track, 15);
}

#[test]
fn track_0_of_a_multitrack_tag_is_the_track() {
    let mut encoder = Encoder::publishing();
    encoder.audio(b"\x95\x00mp4a\x00\x11\x90").expect("a sequence header");
    encoder.audio(b"\x95\x01mp4a\x00\x21\x20").expect("one track");
    encoder.audio(b"\x95\x11mp4a\x01\x00\x00\x02\xaa\xaa\x00\x00\x00\x02\x21\x30").expect("two tracks");
    let mut units = Vec::new();
    while let Some(SessionEvent::Unit(unit)) = encoder.event() {
        units.push(unit.data.to_vec());
    }
    assert_eq!(units, [[0x21, 0x20], [0x21, 0x30]]);
}
