//! What a call may cost, whatever its bytes are: counted in allocations and bytes of memory, not in time.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use streams_ingest::{Answer, IngestError, RtmpLimits, RtmpSession, Session, SessionEvent};

/// Counts what this thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static ALLOCATED_LEN: Cell<usize> = const { Cell::new(0) };
}

fn count(len: usize) {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
    ALLOCATED_LEN.with(|total| total.set(total.get() + len));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches two cells without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a session was made to do.
#[derive(Debug, Default)]
struct Cost {
    calls: usize,
    /// The most that one call used of its input, and did for it.
    used_max: usize,
    events_max: usize,
    allocations_max: usize,
    allocated_len: usize,
    events: usize,
    error: Option<IngestError>,
}

/// Feeds everything at once and lets the session take what it takes.
fn cost(session: &mut RtmpSession, mut input: &[u8]) -> Cost {
    let (mut cost, mut out, now) = (Cost::default(), Vec::with_capacity(1 << 20), Instant::now());
    while !input.is_empty() || session.is_behind() {
        let (allocations, allocated_len) = (ALLOCATIONS.get(), ALLOCATED_LEN.get());
        let handled = session.handle_input(now, input);
        cost.allocations_max = cost.allocations_max.max(ALLOCATIONS.get() - allocations);
        cost.allocated_len += ALLOCATED_LEN.get() - allocated_len;
        cost.calls += 1;
        let mut events = 0;
        while let Some(event) = session.poll_event() {
            events += 1;
            if matches!(event, SessionEvent::Publish(_)) {
                session.answer(Answer::Accept).expect("it asked");
            }
        }
        session.poll_transmit(&mut out);
        cost.events += events;
        cost.events_max = cost.events_max.max(events);
        match handled {
            Ok(used) => {
                cost.used_max = cost.used_max.max(used);
                input = &input[used..];
            }
            Err(error) => {
                cost.error = Some(error);
                return cost;
            }
        }
    }
    cost
}

impl Cost {
    /// What holds for every input: 2 KiB and 256 messages a call, a few allocations a message, memory in proportion to the bytes
    /// that came.
    fn is_bounded(&self, input_len: usize) {
        assert!(self.used_max <= 2048, "{self:?}");
        assert!(self.events_max <= 256, "{self:?}");
        assert!(self.allocations_max <= 1024, "{self:?}");
        assert!(self.allocated_len <= 16 * input_len + 64 * 1024, "{input_len} bytes: {self:?}");
    }
}

fn handshake() -> Vec<u8> {
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    hello
}

fn message(kind: u8, payload: Vec<u8>) -> Vec<u8> {
    let mut writer = ChunkWriter::new();
    let message = Message { chunk_stream_id: 5, timestamp: 0, message_type_id: kind, message_stream_id: 1, payload };
    writer.write(&message).expect("writable")
}

fn connected() -> RtmpSession {
    let mut session = RtmpSession::new(RtmpLimits::default());
    assert!(cost(&mut session, &handshake()).error.is_none());
    session
}

fn publishing() -> RtmpSession {
    let mut session = connected();
    let app = Amf0Value::Object(vec![("app".to_owned(), Amf0Value::String("live".to_owned()))]);
    let key = Amf0Value::String("KEY".to_owned());
    for (name, arguments) in
        [("connect", vec![app]), ("createStream", vec![Amf0Value::Null]), ("publish", vec![Amf0Value::Null, key])]
    {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, arguments };
        assert!(cost(&mut session, &message(20, command.to_body().expect("writable"))).error.is_none());
    }
    assert!(session.is_publishing());
    session
}

/// 62 KB of messages without a byte in them, each one byte of input.
fn empty_messages(kind: u8) -> Vec<u8> {
    let mut bytes = vec![5, 0, 0, 0, 0, 0, 0, kind, 1, 0, 0, 0];
    bytes.resize(62_000, 0xc5);
    bytes
}

#[test]
fn empty_messages_before_publish_end_after_128_of_them() {
    for kind in [8, 18, 20, 99] {
        let bytes = empty_messages(kind);
        let cost = cost(&mut connected(), &bytes);
        let refused = matches!(
            cost.error,
            Some(IngestError::MessagesBeforePublish { count: 129, count_max: 128 } | IngestError::Command { .. })
        );
        assert!(refused && cost.calls == 1, "{cost:?}");
        cost.is_bounded(bytes.len());
    }
}

#[test]
fn empty_messages_while_publishing_take_256_a_call() {
    let bytes = empty_messages(8);
    let cost = cost(&mut publishing(), &bytes);
    assert!(cost.error.is_none() && cost.calls >= 62_000 / 257, "{cost:?}");
    assert_eq!(cost.allocations_max, 0, "nothing is kept of nothing");
    cost.is_bounded(bytes.len());
}

/// 58 KB of containers in one another, again and again.
fn nested() -> Vec<u8> {
    let mut body = b"\x02\0\x07connect\0\0\0\0\0\0\0\0\0".to_vec();
    while body.len() < 58_000 {
        for _ in 0..30 {
            body.extend_from_slice(b"\x03\0\x01a");
        }
        body.push(5);
        body.extend_from_slice(&b"\0\0\x09".repeat(30));
    }
    body
}

#[test]
fn nested_values_before_publish_are_read_once() {
    let bytes = message(20, nested());
    let cost = cost(&mut connected(), &bytes);
    assert!(matches!(cost.error, Some(IngestError::Command { .. })), "{cost:?}");
    cost.is_bounded(bytes.len());
}

/// `count` nulls in a strict array, as the body of `name`.
fn strict_array(name: &str, len: usize) -> Vec<u8> {
    let mut body = vec![2, 0, name.len() as u8];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&[0; 9]);
    body.push(0x0a);
    body.extend_from_slice(&u32::try_from(len).expect("small").to_be_bytes());
    body.resize(body.len() + len, 5);
    body
}

#[test]
fn a_command_of_eight_mebibytes_is_refused_by_its_header() {
    let bytes = message(20, strict_array("x", 8_000_000));
    let cost = cost(&mut publishing(), &bytes);
    let refused = matches!(cost.error, Some(IngestError::MessageLen { kind: 20, len_max: 65_536, .. }));
    assert!(refused && cost.calls == 1, "{cost:?}");
    cost.is_bounded(2048);
}

#[test]
fn metadata_of_eight_mebibytes_is_passed_over_unread() {
    let bytes = message(18, strict_array("onMetaData", 8_000_000));
    let mut session = publishing();
    let cost = cost(&mut session, &bytes);
    assert!(cost.error.is_none() && cost.events == 0, "{cost:?}");
    assert_eq!(session.counters().ignored, 1);
    cost.is_bounded(2048);
}

#[test]
fn metadata_of_64_kibibytes_is_read_within_a_bound_and_its_first_fields_count() {
    let mut body = b"\x02\0\x0aonMetaData\x08\0\0\0\x02\0\x05width\0".to_vec();
    body.extend_from_slice(&1280f64.to_be_bytes());
    body.extend_from_slice(b"\0\x01k\x0a\0\0\xff\0");
    body.resize(65_000, 5);
    let bytes = message(18, body);
    let mut session = publishing();
    let mut width = None;
    support::feed(&mut session, &bytes, &mut Vec::new(), |_, event| {
        if let SessionEvent::Metadata(metadata) = event {
            width = metadata.width;
        }
    })
    .expect("sound");
    assert_eq!(width, Some(1280));
}

#[test]
fn tags_of_an_aggregate_come_as_their_bytes_do() {
    let mut body = Vec::new();
    while body.len() < 2_000_000 {
        body.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
    }
    let bytes = message(22, body);
    let mut session = publishing();
    let cost = cost(&mut session, &bytes);
    assert!(cost.error.is_none(), "{cost:?}");
    assert_eq!(session.counters().ignored as usize, 2_000_000usize.div_ceil(15));
    cost.is_bounded(bytes.len());
}

#[test]
fn a_frame_of_a_million_nal_units_is_looked_at_8192_times() {
    let record = [
        0x01, 0x4d, 0x40, 0x1f, 0xfc, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04,
        0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef,
        0x3c, 0x80,
    ];
    let mut session = publishing();
    let header = message(9, [&[0x17, 0, 0, 0, 0][..], &record].concat());
    assert!(cost(&mut session, &header).error.is_none());
    let frame = |nal_units: usize| {
        let mut body = vec![0x27, 1, 0, 0, 0, 1, 0x41];
        body.resize(body.len() + nal_units - 1, 0);
        message(9, body)
    };
    assert_eq!(cost(&mut session, &frame(8192)).events, 1);
    assert_eq!(cost(&mut session, &frame(1_000_000)).events, 0);
    assert_eq!(session.counters().broken, 1);
}

#[test]
fn a_tag_of_nothing_but_header_extensions_is_refused_early() {
    let mut body = vec![0x97];
    while body.len() < 1_000_000 {
        body.extend_from_slice(&[0, 0, 0x17]);
    }
    let bytes = message(9, body);
    let cost = cost(&mut publishing(), &bytes);
    assert!(matches!(cost.error, Some(IngestError::Flv(_))), "{cost:?}");
    cost.is_bounded(bytes.len());
}

#[test]
fn an_encoders_messages_cost_a_few_allocations_each() {
    let mut session = publishing();
    assert!(cost(&mut session, &message(8, vec![0xaf, 0, 0x12, 0x10])).error.is_none());
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend_from_slice(&message(8, [&[0xaf, 1][..], &[7; 100]].concat()));
    }
    let cost = cost(&mut session, &bytes);
    assert_eq!(cost.events, 1000);
    assert!(cost.allocations_max <= 18 * 3, "{cost:?}");
}
