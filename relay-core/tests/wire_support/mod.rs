//! Random values of everything the codec carries.
#![allow(dead_code, reason = "each test file uses its own part")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use streams_relay_core::wire::*;

/// Numbers of every length on the wire, up to what both codecs can hold.
pub fn number() -> impl Strategy<Value = u64> {
    (0u32..62, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
}

pub fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=len_max).prop_map(Bytes::from)
}

pub fn namespace() -> impl Strategy<Value = Namespace> {
    vec(vec(any::<u8>(), 1..20), 0..6).prop_map(|fields| Namespace::new(fields).unwrap())
}

pub fn track() -> impl Strategy<Value = FullTrackName> {
    (namespace(), bytes(40)).prop_map(|(namespace, name)| FullTrackName { namespace, name })
}

pub fn location() -> impl Strategy<Value = Location> {
    (number(), number()).prop_map(|(group, object)| Location { group, object })
}

pub fn end_location() -> impl Strategy<Value = EndLocation> {
    (number(), option::of(number())).prop_map(|(group, last_object)| EndLocation { group, last_object })
}

pub fn auth_token() -> impl Strategy<Value = AuthToken> {
    prop_oneof![
        number().prop_map(|alias| AuthToken::Delete { alias }),
        (number(), number(), bytes(30)).prop_map(|(alias, token_type, value)| AuthToken::Register {
            alias,
            token_type,
            value
        }),
        number().prop_map(|alias| AuthToken::UseAlias { alias }),
        (number(), bytes(30)).prop_map(|(token_type, value)| AuthToken::UseValue { token_type, value }),
    ]
}

pub fn filter() -> impl Strategy<Value = SubscriptionFilter> {
    prop_oneof![
        Just(SubscriptionFilter::NextGroupStart),
        Just(SubscriptionFilter::LargestObject),
        location().prop_map(SubscriptionFilter::AbsoluteStart),
        (location(), number()).prop_map(|(start, distance)| SubscriptionFilter::AbsoluteRange {
            start,
            end_group: start.group + distance,
        }),
    ]
}

pub fn group_order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

/// Object and track properties of kinds that no draft gives a meaning, so that any value is in range.
pub fn properties() -> impl Strategy<Value = Properties> {
    vec((0x3800u64..0x3900, number(), bytes(20)), 0..5).prop_map(|pairs| {
        let pairs = pairs.into_iter().map(|(kind, number, bytes)| Property {
            kind,
            value: if kind % 2 == 0 { PropertyValue::Number(number) } else { PropertyValue::Bytes(bytes) },
        });
        Properties::new(pairs.collect()).unwrap()
    })
}

pub fn encoded_properties() -> impl Strategy<Value = Bytes> {
    properties().prop_map(|properties| {
        let mut out = Vec::new();
        properties.encode(&mut out);
        out.into()
    })
}

fn tokens() -> impl Strategy<Value = Parameters> {
    vec(auth_token(), 0..3).prop_map(|auth_tokens| Parameters { auth_tokens, ..Parameters::default() })
}

fn delivery() -> impl Strategy<Value = Parameters> {
    let numbers = (option::of(number()), option::of(number()), option::of(number()));
    let rest = (option::of(any::<bool>()), option::of(any::<u8>()), option::of(filter()));
    (numbers, rest).prop_map(|((object, subgroup, new_group), (forward, subscriber_priority, filter))| Parameters {
        object_delivery_timeout_ms: object,
        subgroup_delivery_timeout_ms: subgroup,
        new_group_request: new_group,
        forward,
        subscriber_priority,
        filter,
        ..Parameters::default()
    })
}

fn subscribe_parameters() -> impl Strategy<Value = Parameters> {
    (delivery(), tokens(), option::of(number()), option::of(group_order())).prop_map(
        |(delivery, tokens, rendezvous_timeout_ms, group_order)| Parameters {
            auth_tokens: tokens.auth_tokens,
            rendezvous_timeout_ms,
            group_order,
            ..delivery
        },
    )
}

fn update_parameters() -> impl Strategy<Value = Parameters> {
    (delivery(), tokens(), option::of(namespace())).prop_map(|(delivery, tokens, namespace_prefix)| Parameters {
        auth_tokens: tokens.auth_tokens,
        namespace_prefix,
        ..delivery
    })
}

fn accepted_parameters() -> impl Strategy<Value = Parameters> {
    (option::of(number()), option::of(location())).prop_map(|(expires_ms, largest_object)| Parameters {
        expires_ms,
        largest_object,
        ..Parameters::default()
    })
}

fn request_ok_parameters() -> impl Strategy<Value = Parameters> {
    (delivery(), accepted_parameters(), option::of(group_order())).prop_map(|(delivery, accepted, group_order)| {
        Parameters { expires_ms: accepted.expires_ms, largest_object: accepted.largest_object, group_order, ..delivery }
    })
}

fn fetch_parameters() -> impl Strategy<Value = Parameters> {
    (tokens(), option::of(number()), option::of(any::<u8>()), option::of(group_order())).prop_map(
        |(tokens, fill_timeout_ms, subscriber_priority, group_order)| Parameters {
            fill_timeout_ms,
            subscriber_priority,
            group_order,
            ..tokens
        },
    )
}

fn publish_parameters() -> impl Strategy<Value = Parameters> {
    (accepted_parameters(), tokens(), option::of(any::<bool>())).prop_map(|(accepted, tokens, forward)| Parameters {
        auth_tokens: tokens.auth_tokens,
        forward,
        ..accepted
    })
}

fn setup() -> impl Strategy<Value = ControlMessage> {
    let path = option::of("(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}){0,8}){0,3}([?][A-Za-z0-9=&/?-]{0,12})?");
    let authority = option::of("[!-~]{0,40}");
    (path, authority, vec(auth_token(), 0..3), option::of(number()), option::of("[ -~é]{0,40}")).prop_map(
        |(path, authority, auth_tokens, max_auth_token_cache_size, implementation)| {
            ControlMessage::Setup(Setup { path, authority, auth_tokens, max_auth_token_cache_size, implementation })
        },
    )
}

fn request_error() -> impl Strategy<Value = ControlMessage> {
    let redirect = ("[!-~]{0,40}", track()).prop_map(|(connect_uri, track)| Redirect { connect_uri, track });
    let code = prop_oneof![
        any::<prop::sample::Index>().prop_map(|index| *index.get(RequestErrorCode::ALL)),
        number().prop_map(RequestErrorCode::from_u64),
    ];
    (code, option::of(number()), "[ -~ü]{0,40}", redirect).prop_map(|(code, retry_after_ms, reason, redirect)| {
        let redirect = (code == RequestErrorCode::Redirect).then_some(redirect);
        ControlMessage::RequestError(RequestError { code, retry_after_ms, reason, redirect })
    })
}

fn fetch() -> impl Strategy<Value = ControlMessage> {
    let range = prop_oneof![
        // Ends never lie before their start: the other codec refuses such a range while reading.
        (track(), location(), 1u64..1000, option::of(number())).prop_map(|(track, start, groups, last_object)| {
            FetchRange::Standalone { track, start, end: EndLocation { group: start.group + groups, last_object } }
        }),
        (number(), number()).prop_map(|(joining_request_id, groups_back)| FetchRange::RelativeJoining {
            joining_request_id,
            groups_back
        }),
        (number(), number()).prop_map(|(joining_request_id, start_group)| FetchRange::AbsoluteJoining {
            joining_request_id,
            start_group
        }),
    ];
    (number(), range, fetch_parameters())
        .prop_map(|(request_id, range, parameters)| ControlMessage::Fetch(Fetch { request_id, range, parameters }))
}

fn requests() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![
        (number(), track(), subscribe_parameters()).prop_map(|(request_id, track, parameters)| {
            ControlMessage::Subscribe(Subscribe { request_id, track, parameters })
        }),
        (number(), track(), tokens()).prop_map(|(request_id, track, parameters)| {
            ControlMessage::TrackStatus(TrackStatus { request_id, track, parameters })
        }),
        (number(), update_parameters()).prop_map(|(request_id, parameters)| ControlMessage::RequestUpdate(
            RequestUpdate { request_id, parameters }
        )),
        (number(), namespace(), tokens()).prop_map(|(request_id, namespace, parameters)| {
            ControlMessage::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
        }),
        (number(), namespace(), tokens()).prop_map(|(request_id, prefix, parameters)| {
            ControlMessage::SubscribeNamespace(SubscribeNamespace { request_id, prefix, parameters })
        }),
        (number(), namespace(), tokens(), option::of(any::<bool>())).prop_map(
            |(request_id, prefix, tokens, forward)| {
                let parameters = Parameters { forward, ..tokens };
                ControlMessage::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters })
            }
        ),
        (number(), track(), number(), publish_parameters(), properties()).prop_map(
            |(request_id, track, track_alias, parameters, properties)| {
                ControlMessage::Publish(Publish { request_id, track, track_alias, parameters, properties })
            }
        ),
        fetch(),
    ]
}

fn answers() -> impl Strategy<Value = ControlMessage> {
    let done_code = any::<prop::sample::Index>().prop_map(|index| *index.get(PublishDoneCode::ALL));
    prop_oneof![
        (number(), accepted_parameters(), properties()).prop_map(|(track_alias, parameters, properties)| {
            ControlMessage::SubscribeOk(SubscribeOk { track_alias, parameters, properties })
        }),
        (request_ok_parameters(), properties())
            .prop_map(|(parameters, properties)| ControlMessage::RequestOk(RequestOk { parameters, properties })),
        request_error(),
        namespace().prop_map(|suffix| ControlMessage::Namespace(NamespaceFound { suffix })),
        namespace().prop_map(|suffix| ControlMessage::NamespaceDone(NamespaceDone { suffix })),
        (done_code, option::of(number()), "[ -~]{0,40}").prop_map(|(code, stream_count, reason)| {
            // 2^62 - 1 is how draft-18 says "unknown", so it is no count.
            let stream_count = stream_count.filter(|&count| count < (1 << 62) - 1);
            ControlMessage::PublishDone(PublishDone { code, stream_count, reason })
        }),
        (namespace(), bytes(40))
            .prop_map(|(suffix, name)| ControlMessage::PublishBlocked(PublishBlocked { suffix, name })),
        (any::<bool>(), end_location(), properties()).prop_map(|(end_of_track, end, properties)| {
            let parameters = Parameters::default();
            ControlMessage::FetchOk(FetchOk { end_of_track, end, parameters, properties })
        }),
        ("[!-~]{0,60}", number(), option::of(number())).prop_map(|(new_session_uri, timeout_ms, request_id)| {
            ControlMessage::Goaway(Goaway { new_session_uri, timeout_ms, request_id })
        }),
    ]
}

/// Any control message within the draft's limits.
pub fn message() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![1 => setup(), 4 => requests(), 4 => answers()]
}

pub fn subgroup_header() -> impl Strategy<Value = SubgroupHeader> {
    let subgroup =
        prop_oneof![Just(SubgroupId::Zero), Just(SubgroupId::FirstObject), number().prop_map(SubgroupId::Explicit)];
    (number(), number(), subgroup, option::of(any::<u8>()), any::<[bool; 3]>()).prop_map(
        |(track_alias, group, subgroup, priority, [properties, end_of_group, first_object])| SubgroupHeader {
            track_alias,
            group,
            subgroup,
            priority,
            properties,
            end_of_group,
            first_object,
        },
    )
}

/// A whole subgroup stream: a header, and objects with rising ids that fit it.
pub fn subgroup() -> impl Strategy<Value = (SubgroupHeader, Vec<SubgroupObject>)> {
    let status =
        prop_oneof![Just(ObjectStatus::Normal), Just(ObjectStatus::EndOfGroup), Just(ObjectStatus::EndOfTrack)];
    let object = (0u64..1000, status, encoded_properties(), bytes(300));
    (subgroup_header(), vec(object, 0..8)).prop_map(|(header, objects)| {
        let mut next_id = 0;
        let objects = objects.into_iter().map(|(gap, status, properties, payload)| {
            let id = next_id + gap;
            next_id = id + 1;
            let status = if payload.is_empty() { status } else { ObjectStatus::Normal };
            let may_have = header.properties && status == ObjectStatus::Normal;
            let properties = if may_have { properties } else { Bytes::new() };
            SubgroupObject { id, status, properties, payload }
        });
        let objects = objects.collect();
        (header, objects)
    })
}

/// The bytes of [`subgroup`].
pub fn encode_subgroup(header: &SubgroupHeader, objects: &[SubgroupObject]) -> Vec<u8> {
    let mut out = Vec::new();
    header.encode(Draft::D18, &mut out);
    let mut previous = None;
    for object in objects {
        let delta = object_id_delta(previous, object.id).unwrap();
        let properties = header.properties.then_some(object.properties.as_ref());
        encode_object_head(Draft::D18, delta, properties, object.payload.len(), object.status, &mut out);
        out.extend_from_slice(&object.payload);
        previous = Some(object.id);
    }
    out
}

/// A whole fetch stream in the order that comes with it.
pub fn fetch_stream() -> impl Strategy<Value = (GroupOrder, Vec<FetchItem>)> {
    let step = (0u64..3, 0u64..5, option::of(0u64..4), any::<u8>(), encoded_properties(), bytes(300), 0u8..10);
    (group_order(), number(), vec(step, 0..10)).prop_map(|(order, request_id, steps)| {
        let mut items = vec![FetchItem::Header(FetchHeader { request_id })];
        let mut place = Location { group: 1000, object: 0 };
        for (group_step, gap, subgroup, priority, properties, payload, kind) in steps {
            place = if group_step > 0 {
                let group = match order {
                    GroupOrder::Ascending => place.group + group_step,
                    GroupOrder::Descending => place.group - group_step,
                };
                Location { group, object: gap }
            } else {
                Location { group: place.group, object: place.object + 1 + gap }
            };
            items.push(match kind {
                0 => FetchItem::EndOfRange(MissingRange::NonExistent, place),
                1 => FetchItem::EndOfRange(MissingRange::Unknown, place),
                _ => FetchItem::Object(FetchObjectHead { location: place, subgroup, priority, properties }, payload),
            });
        }
        (order, items)
    })
}

/// The bytes of [`fetch_stream`].
pub fn encode_fetch(order: GroupOrder, items: &[FetchItem]) -> Vec<u8> {
    encode_fetch_with(order, items, &[])
}

/// The same with more bytes behind the end of each missing range.
pub fn encode_fetch_with(order: GroupOrder, items: &[FetchItem], behind_range: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = FetchWriter::new(Draft::D18, order);
    for item in items {
        match item {
            FetchItem::Header(header) => header.encode(&mut out),
            FetchItem::Object(head, payload) => {
                writer.object_head(head, payload.len(), &mut out).unwrap();
                out.extend_from_slice(payload);
            }
            FetchItem::EndOfRange(range, last) => {
                writer.end_of_range(*range, *last, &mut out).unwrap();
                out.extend_from_slice(behind_range);
            }
        }
    }
    out
}

pub fn datagram() -> impl Strategy<Value = ObjectDatagram> {
    let body = prop_oneof![
        (bytes(200), any::<bool>()).prop_map(|(payload, end_of_group)| DatagramBody::Payload { payload, end_of_group }),
        Just(DatagramBody::Status(ObjectStatus::Normal)),
        Just(DatagramBody::Status(ObjectStatus::EndOfGroup)),
        Just(DatagramBody::Status(ObjectStatus::EndOfTrack)),
    ];
    let place = (number(), number(), number());
    (place, option::of(any::<u8>()), encoded_properties(), body).prop_map(
        |((track_alias, group, object), priority, properties, body)| {
            let an_end = matches!(body, DatagramBody::Status(status) if status != ObjectStatus::Normal);
            let properties = if an_end { Bytes::new() } else { properties };
            ObjectDatagram { track_alias, group, object, priority, properties, body }
        },
    )
}
