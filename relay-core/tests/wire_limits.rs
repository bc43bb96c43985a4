//! What the draft forbids is refused with the code it names.

use bytes::Bytes;
use streams_relay_core::wire::*;
use streams_relay_core::{DecodeError, Error, Malformed};

fn refused(data: &[u8]) -> SessionError {
    match ControlMessage::decode(Draft::D18, data) {
        Err(DecodeError::Malformed(malformed)) => malformed.code,
        other => panic!("{other:?}"),
    }
}

/// A message of this type with this body.
fn framed(kind: u64, body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    vi64::encode(kind, &mut data);
    data.extend_from_slice(&(body.len() as u16).to_be_bytes());
    data.extend_from_slice(body);
    data
}

/// SUBSCRIBE 0 for the track `a:b`, with this parameter block.
fn subscribe_with(parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, 1, b'a', 1, b'b'];
    body.extend_from_slice(parameters);
    framed(0x3, &body)
}

#[test]
fn an_unknown_message_type_closes_the_session() {
    assert_eq!(refused(&framed(0x3F, &[])), SessionError::ProtocolViolation);
}

#[test]
fn a_body_shorter_or_longer_than_its_fields_is_a_violation() {
    assert!(ControlMessage::decode(Draft::D18, &subscribe_with(&[0])).is_ok());
    assert_eq!(refused(&subscribe_with(&[])), SessionError::ProtocolViolation);
    assert_eq!(refused(&subscribe_with(&[0, 0])), SessionError::ProtocolViolation);
}

#[test]
fn an_unknown_parameter_is_a_violation() {
    assert_eq!(refused(&subscribe_with(&[1, 0x3E, 0])), SessionError::ProtocolViolation);
}

#[test]
fn a_parameter_in_the_wrong_message_is_a_violation() {
    // EXPIRES is for answers.
    assert_eq!(refused(&subscribe_with(&[1, 0x08, 5])), SessionError::ProtocolViolation);
    // FORWARD is for SUBSCRIBE and not for FETCH, which takes a priority.
    assert_eq!(refused(&framed(0x16, &[0, 2, 0, 0, 1, 0x10, 1])), SessionError::ProtocolViolation);
    assert!(ControlMessage::decode(Draft::D18, &framed(0x16, &[0, 2, 0, 0, 1, 0x20, 1])).is_ok());
}

#[test]
fn we_do_not_send_a_parameter_in_the_wrong_message() {
    let parameters = Parameters { expires_ms: Some(1), ..Parameters::default() };
    let message = ControlMessage::Subscribe(Subscribe { request_id: 0, track: FullTrackName::default(), parameters });
    let mut out = vec![7];
    assert!(matches!(message.encode(Draft::D18, &mut out), Err(Error::Invalid { .. })));
    assert_eq!(out, [7], "a failed message leaves nothing behind");
}

#[test]
fn only_tokens_may_be_repeated() {
    // SUBSCRIBER_PRIORITY twice, then two tokens.
    assert_eq!(refused(&subscribe_with(&[2, 0x20, 1, 0, 2])), SessionError::ProtocolViolation);
    let two_tokens = subscribe_with(&[2, 0x03, 3, 3, 0, b'x', 0, 3, 3, 0, b'y']);
    let Ok((ControlMessage::Subscribe(subscribe), _)) = ControlMessage::decode(Draft::D18, &two_tokens) else {
        panic!("two tokens are allowed");
    };
    assert_eq!(subscribe.parameters.auth_tokens, [AuthToken::playback("x"), AuthToken::playback("y")]);
}

#[test]
fn a_value_out_of_its_range_is_a_violation() {
    assert_eq!(refused(&subscribe_with(&[1, 0x10, 2])), SessionError::ProtocolViolation, "FORWARD 2");
    assert_eq!(refused(&subscribe_with(&[1, 0x22, 0])), SessionError::ProtocolViolation, "GROUP_ORDER 0");
    assert_eq!(refused(&subscribe_with(&[1, 0x21, 1, 9])), SessionError::ProtocolViolation, "filter type 9");
    assert_eq!(refused(&framed(0x16, &[0, 4, 0])), SessionError::ProtocolViolation, "fetch type 4");
    assert_eq!(refused(&framed(0x18, &[2, 0, 0, 0])), SessionError::ProtocolViolation, "End Of Track 2");
}

#[test]
fn a_token_that_cannot_be_decoded_is_a_key_value_error() {
    assert_eq!(refused(&subscribe_with(&[1, 0x03, 1, 9])), SessionError::KeyValueFormatting);
    assert_eq!(refused(&subscribe_with(&[1, 0x03, 0])), SessionError::KeyValueFormatting);
    assert_eq!(refused(&subscribe_with(&[1, 0x03, 3, 2, 1, 1])), SessionError::KeyValueFormatting);
}

#[test]
fn namespaces_have_at_most_32_fields_none_empty_and_4096_bytes() {
    let mut fields: Vec<u8> = vec![33];
    fields.extend([1, b'x'].repeat(33));
    assert_eq!(refused(&framed(0x8, &fields)), SessionError::ProtocolViolation);
    assert_eq!(refused(&framed(0x8, &[1, 0])), SessionError::ProtocolViolation);
    let mut long = vec![1];
    vi64::encode(4097, &mut long);
    long.extend([0; 4097]);
    assert_eq!(refused(&framed(0x8, &long)), SessionError::ProtocolViolation);

    assert!(Namespace::new(vec!["x"; 32]).is_ok());
    assert!(matches!(Namespace::new(vec!["x"; 33]), Err(Error::TooLarge { len: 33, limit: 32, .. })));
    assert!(Namespace::new([""]).is_err());
    assert!(FullTrackName::new(Namespace::new(["x"]).unwrap(), [0; 4095]).is_ok());
    assert!(FullTrackName::new(Namespace::new(["x"]).unwrap(), [0; 4096]).is_err());
}

#[test]
fn setup_ignores_what_it_does_not_know_and_checks_what_it_does() {
    // Grease (0x9D, twice), then MOQT_IMPLEMENTATION would come too early: ascending deltas only.
    let mut body = vec![0x07, 1, b'm'];
    vi64::encode(0x9D - 0x07, &mut body);
    body.extend([2, 1, 2, 0, 1, 9]);
    let expected = Setup { implementation: Some("m".into()), ..Setup::default() };
    let data = framed(0x2F00, &body);
    assert_eq!(ControlMessage::decode(Draft::D18, &data), Ok((ControlMessage::Setup(expected), data.len())));

    assert_eq!(refused(&framed(0x2F00, &[1, 1, b'/', 0, 1, b'/'])), SessionError::ProtocolViolation, "PATH twice");
    assert_eq!(refused(&framed(0x2F00, &[1, 1, b' '])), SessionError::MalformedPath);
    assert_eq!(refused(&framed(0x2F00, &[5, 1, 0xFF])), SessionError::MalformedAuthority);
    assert_eq!(refused(&framed(0x2F00, &[1, 9, b'/'])), SessionError::KeyValueFormatting, "cut off");
}

#[test]
fn a_type_that_overflows_is_a_violation() {
    let mut body = vec![0x02, 0];
    vi64::encode(u64::MAX, &mut body);
    body.push(0);
    assert_eq!(refused(&framed(0x2F00, &body)), SessionError::ProtocolViolation);
}

#[test]
fn a_reason_of_ours_is_cut_and_a_longer_one_of_a_peer_is_refused() {
    let reason = "é".repeat(600);
    let message =
        ControlMessage::PublishDone(PublishDone { code: PublishDoneCode::TrackEnded, stream_count: None, reason });
    let mut data = Vec::new();
    message.encode(Draft::D18, &mut data).unwrap();
    let Ok((ControlMessage::PublishDone(done), _)) = ControlMessage::decode(Draft::D18, &data) else {
        panic!("the cut message is whole");
    };
    assert_eq!(done.reason, "é".repeat(512));
    assert_eq!(done.stream_count, None);

    let mut body = vec![2, 0];
    vi64::encode(1025, &mut body);
    body.extend([b'x'; 1025]);
    assert_eq!(refused(&framed(0xB, &body)), SessionError::ProtocolViolation);
}

#[test]
fn a_message_above_64_kib_is_not_sent() {
    let pair = Property { kind: 1, value: PropertyValue::Bytes(vec![0; 40_000].into()) };
    let properties = Properties::new(vec![pair.clone(), pair]).unwrap();
    let message =
        ControlMessage::SubscribeOk(SubscribeOk { track_alias: 0, parameters: Parameters::default(), properties });
    let mut out = Vec::new();
    assert!(matches!(message.encode(Draft::D18, &mut out), Err(Error::TooLarge { limit: BODY_LEN_MAX, .. })));
    assert!(out.is_empty());
}

#[test]
fn a_control_stream_must_not_end_within_a_message() {
    let mut reader = ControlReader::new(Draft::D18);
    reader.push(&subscribe_with(&[0]));
    assert!(reader.next_message().unwrap().is_some());
    assert_eq!(reader.finish(), Ok(()));
    reader.push(&[0x3]);
    assert_eq!(reader.next_message(), Ok(None));
    assert_eq!(reader.finish().unwrap_err().code, SessionError::ProtocolViolation);
}

fn subgroup_refused(data: &[u8]) -> Malformed {
    let mut reader = SubgroupReader::new(Draft::D18, 100);
    reader.push(data);
    loop {
        match reader.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => return reader.finish().unwrap_err(),
            Err(malformed) => return malformed,
        }
    }
}

#[test]
fn broken_subgroups_are_violations() {
    let violation = SessionError::ProtocolViolation;
    assert_eq!(subgroup_refused(&[0x16, 0, 0, 0]).code, violation, "reserved mode");
    assert_eq!(subgroup_refused(&[0x30, 0, 0, 0, 2, b'x']).reason, "it ended within a header or an object");
    assert_eq!(subgroup_refused(&[0x30, 0, 0, 0, 100]).reason, "it ended within a header or an object");
    assert_eq!(subgroup_refused(&[0x30, 0, 0, 0, 101]).reason, "longer than this receiver takes");
    assert_eq!(subgroup_refused(&[0x30, 0, 0, 0, 0, 1]).code, violation, "status 1");
    assert_eq!(subgroup_refused(&[0x31, 0, 0, 0, 2, 2, 0, 0, 3]).code, violation, "properties on an end of group");
    let mut overflow = vec![0x30, 0, 0];
    vi64::encode(u64::MAX, &mut overflow);
    overflow.extend([0, 0, 0, 0, 0]);
    assert_eq!(subgroup_refused(&overflow).code, violation, "object id above 2^64 - 1");
}

fn fetch_refused(data: &[u8]) -> SessionError {
    let mut reader = FetchReader::new(Draft::D18, 100);
    reader.push(data);
    loop {
        match reader.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{data:?} was read"),
            Err(malformed) => return malformed.code,
        }
    }
}

#[test]
fn a_first_fetched_object_refers_to_nothing_before_it() {
    let violation = SessionError::ProtocolViolation;
    assert_eq!(fetch_refused(&[5, 0, 0x14, 0, 0, 0]), violation, "no group");
    assert_eq!(fetch_refused(&[5, 0, 0x18, 0, 0, 0]), violation, "no object");
    assert_eq!(fetch_refused(&[5, 0, 0x0C, 0, 0, 0]), violation, "no priority");
    assert_eq!(fetch_refused(&[5, 0, 0x1D, 0, 0, 0, 0]), violation, "the prior subgroup");
    // After a missing range there is a prior place, and still no prior subgroup or priority.
    assert_eq!(fetch_refused(&[5, 0, 0x80, 0x8C, 4, 4, 0x00, 0]), violation, "no priority after a range");
    assert_eq!(fetch_refused(&[5, 0, 0x80, 0x8C, 4, 4, 0x11, 0, 0]), violation, "no subgroup after a range");
    assert_eq!(fetch_refused(&[5, 0, 0x80, 0x80]), violation, "flags 0x80");
}

#[test]
fn the_end_of_a_missing_range_is_an_absolute_place_and_nothing_else() {
    // After object (9, 5): everything up to (10, 3) is unknown, and (10, 4) follows.
    let head = |group, object| FetchObjectHead {
        location: Location { group, object },
        subgroup: Some(0),
        priority: 128,
        properties: Bytes::new(),
    };
    let mut writer = FetchWriter::new(Draft::D18, GroupOrder::Ascending);
    let mut out = Vec::new();
    FetchHeader { request_id: 4 }.encode(&mut out);
    writer.object_head(&head(9, 5), 0, &mut out).unwrap();
    writer.end_of_range(MissingRange::Unknown, Location { group: 10, object: 3 }, &mut out).unwrap();
    writer.object_head(&head(10, 4), 0, &mut out).unwrap();
    assert_eq!(out, [5, 4, 0x1C, 9, 5, 128, 0, 0x81, 0x0C, 10, 3, 0, 0]);
    let mut reader = FetchReader::new(Draft::D18, 100);
    reader.push(&out);
    let items: Vec<FetchItem> = std::iter::from_fn(|| reader.next_item().unwrap()).collect();
    let last = Location { group: 10, object: 3 };
    assert_eq!(
        items[2..],
        [FetchItem::EndOfRange(MissingRange::Unknown, last), FetchItem::Object(head(10, 4), Bytes::new()),]
    );
}

#[test]
fn what_a_subgroup_or_a_fetch_cannot_say_is_not_written() {
    assert_eq!(object_id_delta(None, 5), Some(5));
    assert_eq!(object_id_delta(Some(5), 6), Some(0));
    assert_eq!(object_id_delta(Some(5), 5), None);
    assert_eq!(object_id_delta(Some(5), 4), None);

    let mut writer = FetchWriter::new(Draft::D18, GroupOrder::Ascending);
    let head = |group, object| FetchObjectHead {
        location: Location { group, object },
        subgroup: Some(0),
        priority: 0,
        properties: Bytes::new(),
    };
    let mut out = Vec::new();
    writer.object_head(&head(5, 5), 0, &mut out).unwrap();
    let written = out.len();
    assert!(writer.object_head(&head(5, 5), 0, &mut out).is_err());
    assert!(writer.object_head(&head(4, 9), 0, &mut out).is_err());
    assert!(writer.end_of_range(MissingRange::Unknown, Location { group: 5, object: 5 }, &mut out).is_err());
    assert_eq!(out.len(), written);
}

#[test]
fn broken_datagrams_are_violations_and_padding_is_not() {
    let refused = |data: &[u8]| Datagram::decode(Draft::D18, &Bytes::copy_from_slice(data)).unwrap_err().code;
    let violation = SessionError::ProtocolViolation;
    assert_eq!(refused(&[]), violation);
    assert_eq!(refused(&[0x10, 0, 0, 0, 0]), violation, "unknown type");
    assert_eq!(refused(&[0x22, 0, 0, 0, 0, 0]), violation, "a status that ends a group");
    assert_eq!(refused(&[0x0D, 0, 0, 0]), violation, "properties of no length");
    assert_eq!(refused(&[0x2D, 0, 0, 2, 2, 0, 3]), violation, "properties on an end of group");
    assert_eq!(refused(&[0x2C, 0, 0, 0, 0]), violation, "bytes after a status");
    let mut padding = Vec::new();
    vi64::encode(PADDING_DATAGRAM, &mut padding);
    padding.extend([0; 20]);
    assert_eq!(Datagram::decode(Draft::D18, &padding.into()), Ok(Datagram::Padding));
}

#[test]
fn the_first_integer_tells_what_a_stream_carries() {
    let peek = |kind: u64| {
        let mut data = Vec::new();
        vi64::encode(kind, &mut data);
        StreamKind::peek(&data)
    };
    assert_eq!(peek(0x2F00), Ok(StreamKind::Control));
    assert_eq!(peek(0x05), Ok(StreamKind::Fetch));
    assert_eq!(peek(0x132B_3E28), Ok(StreamKind::Padding));
    for kind in [0x10, 0x1D, 0x35, 0x50, 0x7D] {
        assert_eq!(peek(kind), Ok(StreamKind::Subgroup), "{kind:#x}");
    }
    for kind in [0x00, 0x04, 0x0F, 0x20, 0x40, 0x6F, 0x80, 0x90, 0x132B_3E29] {
        assert!(matches!(peek(kind), Err(DecodeError::Malformed(_))), "{kind:#x}");
    }
    assert_eq!(StreamKind::peek(&[0xC0, 0x2F]), Err(DecodeError::NeedMore));
}

#[test]
fn a_mandatory_property_is_found_among_others() {
    let number = |kind| Property { kind, value: PropertyValue::Number(1) };
    let properties = Properties::new(vec![number(0x4002), number(0x0E), number(0x8000)]).unwrap();
    assert_eq!(properties.mandatory(), Some(0x4002));
    assert_eq!(properties.number(property::DEFAULT_PUBLISHER_PRIORITY), Some(1));
    assert_eq!(Properties::new(vec![number(0x8000)]).unwrap().mandatory(), None);
    assert!(Properties::new(vec![Property { kind: 1, value: PropertyValue::Number(1) }]).is_err());
}
