//! Playback tokens: every request checks them alike, and expiry or revocation ends the session.

mod sim;

use std::time::Duration;

use serde_json::json;
use sim::{ClientId, Link, Net, START_S, Shards, claims, forged, live, namespace, payload, signed, token, track};
use streams_relay_core::client::{Client, ClientConfig, ClientEvent, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, RelayEvent, TrackConfig, Transport};
use streams_relay_core::wire::{EndLocation, GroupOrder, Location, RequestErrorCode};

const UNAUTHORIZED: u64 = 0x2;
const INVALID_PATH: u64 = 0x8;
const EXPIRED_AUTH_TOKEN: u64 = 0x18;

fn world() -> Net {
    let mut net = Net::new(sim::seed(20), Shards(1), RelayConfig::default());
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 10, pinned: true };
    let catalog = net.relays[0].track_open(net.now, track(live(), ".catalog"), config);
    net.relays[0].object(net.now, catalog, 5, 0, payload(5, 0, 100), true);
    net
}

fn catalog() -> SubscribeRequest {
    SubscribeRequest::live(track(live(), ".catalog"))
}

type Ask = fn(&mut Client, Option<&str>) -> RequestId;

/// One request of each kind that reads.
fn requests() -> Vec<(&'static str, Ask)> {
    vec![
        ("SUBSCRIBE", |client, token| {
            let token = token.map(str::to_owned);
            client.subscribe(SubscribeRequest { join: Join::NextObject, token, ..catalog() })
        }),
        ("FETCH", |client, token| {
            client.fetch(FetchRequest {
                track: track(live(), ".catalog"),
                start: Location::new(5, 0),
                end: EndLocation { group: 5, last_object: None },
                order: GroupOrder::Ascending,
                priority: 128,
                token: token.map(str::to_owned),
            })
        }),
        ("TRACK_STATUS", |client, token| client.track_status(track(live(), ".catalog"), token)),
        ("SUBSCRIBE_NAMESPACE", |client, token| client.watch_namespaces(live(), token)),
        ("SUBSCRIBE_TRACKS", |client, token| client.watch_tracks(live(), token)),
    ]
}

/// Bad tokens, and the code that each closes the session with.
fn bad_tokens() -> Vec<(&'static str, String, u64)> {
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims("lv_1", 600);
        claims[name] = value;
        signed("ed", &claims)
    };
    let expired = json!({"iss": "org_a", "sub": "lv_1", "aud": "playback", "iat": START_S - 100, "exp": START_S - 10});
    vec![
        ("not a token", "nonsense".to_owned(), UNAUTHORIZED),
        ("forged", forged("ed", &claims("lv_1", 600)), UNAUTHORIZED),
        ("unknown key", signed("nobody", &claims("lv_1", 600)), UNAUTHORIZED),
        ("revoked key", signed("revoked", &claims("lv_1", 600)), UNAUTHORIZED),
        ("key of another org", signed("other_org", &claims("lv_1", 600)), UNAUTHORIZED),
        ("another resource", signed("ed", &claims("lv_2", 600)), UNAUTHORIZED),
        ("another audience", with("aud", json!("upload")), UNAUTHORIZED),
        ("another issuer", with("iss", json!("org_b")), UNAUTHORIZED),
        ("too long a life", with("exp", json!(START_S + 90_000)), UNAUTHORIZED),
        ("not valid yet", with("nbf", json!(START_S + 60)), UNAUTHORIZED),
        ("another network", with("ip", json!(["198.51.100.0/24"])), UNAUTHORIZED),
        (
            "another page",
            with("origins", json!(["https://other.example", "https://player.example:8443"])),
            UNAUTHORIZED,
        ),
        ("expired", signed("ed", &expired), EXPIRED_AUTH_TOKEN),
    ]
}

#[test]
fn a_good_token_opens_every_kind_of_request() {
    for (kind, request) in requests() {
        let mut net = world();
        let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
        let request = request(net.client(viewer), None);
        net.run(Duration::from_millis(200));
        assert!(net.record(viewer).accepted(request).is_some(), "{kind}: {:?}", net.record(viewer));
        assert_eq!(net.record(viewer).closed(), None, "{kind}");
    }
}

#[test]
fn a_good_token_may_come_with_the_request_or_with_setup() {
    let mut net = world();
    let viewer = net.join(0, "/playback/lv_1", Link::default());
    let good = Some(token("lv_1", 600));
    let request = net.client(viewer).subscribe(SubscribeRequest { token: good.clone(), ..catalog() });
    let config = ClientConfig { path: "/playback/lv_1".to_owned(), token: good, ..ClientConfig::default() };
    let other = net.join_with(0, Link::default(), config);
    let other_request = net.client(other).subscribe(catalog());
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).places(request), [(5, 0)]);
    assert_eq!(net.record(other).places(other_request), [(5, 0)]);
}

#[test]
fn a_bad_token_closes_the_session_whatever_it_asks_for() {
    for (fault, bad, code) in bad_tokens() {
        for (kind, request) in requests() {
            for transport in [Transport::Quic, Transport::WebTransport] {
                let mut net = world();
                let path = format!("/playback/lv_1?tok={bad}");
                let viewer =
                    net.join_with(0, Link::default(), ClientConfig { path, transport, ..ClientConfig::default() });
                request(net.client(viewer), None);
                net.run(Duration::from_millis(200));
                let (closed, reason) = net.record(viewer).closed().unwrap_or_else(|| panic!("{fault}, {kind}: open"));
                assert_eq!(closed, code, "{fault}, {kind}, {reason}");
                assert!(reason.starts_with("auth_failed"), "{fault}, {kind}: {reason}");
                assert!(!reason.contains(&bad), "{fault}, {kind}: {reason}");
            }
        }
    }
}

#[test]
fn a_request_without_any_token_closes_the_session() {
    for (kind, request) in requests() {
        let mut net = world();
        let viewer = net.join(0, "/playback/lv_1", Link::default());
        request(net.client(viewer), None);
        net.run(Duration::from_millis(200));
        let (code, reason) = net.record(viewer).closed().unwrap();
        assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{kind}: {reason}");
    }
}

#[test]
fn a_disabled_resource_is_refused_and_one_that_gets_disabled_is_cut() {
    let mut net = world();
    let viewer = net.join(0, &format!("/playback/lv_off?tok={}", token("lv_off", 600)), Link::default());
    net.client(viewer).track_status(track(namespace(&["stream", "org_a", "lv_off"]), ".catalog"), None);
    let watching = net.join(0, &format!("/playback/pb_1?tok={}", token("pb_1", 600)), Link::default());
    net.client(watching).subscribe(catalog());
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).closed().unwrap().0, UNAUTHORIZED);
    assert_eq!(net.record(watching).closed(), None);
    net.relays[0].resource_disabled(net.now, "lv_1");
    net.run(Duration::from_millis(200));
    let (code, reason) = net.record(watching).closed().unwrap();
    assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{reason}");
}

#[test]
fn a_session_ends_when_its_token_does_and_not_before() {
    let mut net = world();
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 30)), Link::default());
    let request = net.client(viewer).subscribe(catalog());
    net.run(Duration::from_millis(100));
    let expires = net.record(viewer).events.iter().find_map(|event| match event {
        ClientEvent::Accepted { request: id, expires_ms, .. } if *id == request => *expires_ms,
        _ => None,
    });
    assert!((29_800..=30_000).contains(&expires.unwrap()), "{expires:?}");
    net.run(Duration::from_millis(29_800));
    assert_eq!(net.record(viewer).closed(), None);
    net.run(Duration::from_millis(200));
    let (code, reason) = net.record(viewer).closed().unwrap();
    assert_eq!((code, reason), (EXPIRED_AUTH_TOKEN, "auth_failed: the token is expired"));
}

#[test]
fn a_fresh_token_extends_a_session() {
    let mut net = world();
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 30)), Link::default());
    let request = net.client(viewer).subscribe(catalog());
    net.run(Duration::from_secs(20));
    net.client(viewer).refresh_token(request, &token("lv_1", 90));
    net.run(Duration::from_secs(40));
    assert_eq!(net.record(viewer).closed(), None);
    net.run(Duration::from_secs(31));
    assert_eq!(net.record(viewer).closed().unwrap().0, EXPIRED_AUTH_TOKEN);
}

#[test]
fn a_revoked_key_cuts_its_sessions_and_no_others() {
    let mut net = world();
    let mut other_key = net.tables.keys["ed"].clone();
    other_key.revoked = false;
    net.tables.keys.insert("ed_2".to_owned(), other_key);
    let first = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let other = signed("ed_2", &claims("lv_1", 600));
    let second = net.join(0, &format!("/playback/lv_1?tok={other}"), Link::default());
    for viewer in [first, second] {
        net.client(viewer).subscribe(catalog());
    }
    net.run(Duration::from_millis(200));
    net.relays[0].revoke_key(net.now, "ed");
    net.run(Duration::from_millis(200));
    let (code, reason) = net.record(first).closed().unwrap();
    assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{reason}");
    assert_eq!(net.record(second).closed(), None);
}

#[test]
fn an_operator_can_end_a_session() {
    let mut net = world();
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    net.client(viewer).subscribe(catalog());
    net.run(Duration::from_millis(100));
    let session = net.session(viewer);
    net.relays[0].kick(net.now, session, 0x0, "kicked");
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).closed(), Some((0, "kicked")));
    let told = |(_, event): &(usize, RelayEvent)| matches!(event, RelayEvent::SessionClose { session: id, .. } if *id == session);
    assert!(net.log.iter().any(told));
}

#[test]
fn a_scoped_session_learns_its_namespace_and_sees_no_other() {
    let mut net = world();
    net.namespace_up(0, namespace(&["stream", "org_a", "lv_2"]));
    let viewer = net.join(0, &format!("/playback/pb_1?tok={}", token("pb_1", 600)), Link::default());
    net.run(Duration::from_millis(100));
    assert!(net.saw(viewer, |event| *event == ClientEvent::NamespaceOffered(live())));
    let other = track(namespace(&["stream", "org_a", "lv_2"]), ".catalog");
    let request = net.client(viewer).subscribe(SubscribeRequest::live(other));
    let watch = net.client(viewer).watch_namespaces(namespace(&["stream"]), None);
    let elsewhere = net.client(viewer).watch_namespaces(namespace(&["other"]), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::DoesNotExist));
    assert_eq!(net.record(viewer).refusal(elsewhere), Some(RequestErrorCode::DoesNotExist));
    let shown: Vec<_> =
        net.record(viewer).events.iter().filter(|event| matches!(event, ClientEvent::NamespaceUp(..))).collect();
    assert_eq!(shown, [&ClientEvent::NamespaceUp(watch, namespace(&["org_a", "lv_1"]))]);
}

#[test]
fn a_token_may_be_for_some_renditions_only() {
    let mut net = world();
    let config = TrackConfig { publisher_priority: 100, pinned: false };
    for name in ["video/720p", "video/360p", "video/360p.init"] {
        net.relays[0].track_open(net.now, track(live(), name), config);
    }
    let mut claims = claims("lv_1", 600);
    claims["renditions"] = json!(["video/360p"]);
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", signed("ed", &claims)), Link::default());
    let mut status = |name| net.client(viewer).track_status(track(live(), name), None);
    let (high, low) = (status("video/720p"), status("video/360p"));
    let (init, catalog) = (status("video/360p.init"), status(".catalog"));
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).refusal(high), Some(RequestErrorCode::Unauthorized));
    for allowed in [low, init, catalog] {
        assert!(net.record(viewer).accepted(allowed).is_some());
    }
    assert_eq!(net.record(viewer).closed(), None);
}

#[test]
fn a_playback_session_may_not_publish() {
    let mut net = world();
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let announced = net.client(viewer).announce(live());
    let published = net.client(viewer).publish(track(live(), "video/1p"), 1, None);
    net.run(Duration::from_millis(100));
    for request in [announced, published] {
        assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::Unauthorized));
    }
}

#[test]
fn a_publish_session_keeps_to_its_own_namespace() {
    let mut net = world();
    let publisher = net.join(0, "/publish/lv_1?sk=key_1", Link::default());
    let own = net.client(publisher).announce(live());
    let other = net.client(publisher).announce(namespace(&["stream", "org_a", "lv_2"]));
    let stranger = net.join(0, "/publish/lv_1?sk=guess", Link::default());
    net.run(Duration::from_millis(100));
    assert!(net.record(publisher).accepted(own).is_some());
    assert_eq!(net.record(publisher).refusal(other), Some(RequestErrorCode::Unauthorized));
    let (code, reason) = net.record(stranger).closed().unwrap();
    assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{reason}");
    assert!(!reason.contains("guess"));
}

#[test]
fn other_paths_are_for_open_mode_only_and_never_reach_the_service() {
    let mut net = world();
    let stranger = net.join(0, "/anything", Link::default());
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(stranger).closed().unwrap().0, INVALID_PATH);

    let mut net = Net::open(21);
    net.namespace_up(0, live());
    let guest: ClientId = net.join(0, "/anything", Link::default());
    let request = net.client(guest).subscribe(catalog());
    let announced = net.client(guest).announce(live());
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(guest).refusal(request), Some(RequestErrorCode::DoesNotExist));
    assert_eq!(net.record(guest).refusal(announced), Some(RequestErrorCode::Unauthorized));
}

#[test]
fn a_session_that_asks_for_nothing_is_closed_after_ten_seconds() {
    let mut net = world();
    let idle = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let refused = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    net.client(refused).subscribe(SubscribeRequest::live(track(live(), "nothing")));
    net.run(Duration::from_millis(9_900));
    assert_eq!(net.record(idle).closed(), None);
    net.run(Duration::from_millis(200));
    assert!(net.record(idle).closed().is_some());
    assert!(net.record(refused).closed().is_some());
}

#[test]
fn a_token_for_a_page_lets_that_page_in_and_no_client_without_an_origin() {
    let mut claims = claims("lv_1", 600);
    claims["origins"] = json!(["https://Player.example", "https://other.example"]);
    let path = format!("/playback/lv_1?tok={}", signed("ed", &claims));
    let mut net = world();
    let page = ClientConfig { path: path.clone(), transport: Transport::WebTransport, ..ClientConfig::default() };
    let native = ClientConfig { path, transport: Transport::Quic, ..ClientConfig::default() };
    let (page, native) = (net.join_with(0, Link::default(), page), net.join_with(0, Link::default(), native));
    let request = net.client(page).subscribe(catalog());
    net.client(native).subscribe(catalog());
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(page).places(request), [(5, 0)]);
    let (code, reason) = net.record(native).closed().expect("no origin, no entry");
    assert_eq!(code, UNAUTHORIZED);
    assert!(reason.starts_with("auth_failed") && reason.contains("origin"), "{reason}");
}

#[test]
fn a_publisher_whose_key_is_rotated_away_or_whose_input_is_cut_is_closed() {
    let publisher = |net: &mut Net| net.join(0, "/publish/lv_1?sk=key_1", Link::default());
    let closed = |net: &mut Net, id| {
        net.run(Duration::from_millis(200));
        net.record(id).closed().map(|(code, reason)| (code, reason.to_owned()))
    };
    let mut net = world();
    let first = publisher(&mut net);
    net.run(Duration::from_millis(200));
    let unix_ms = net.unix_ms();
    net.relays[0].recheck_publishers(net.now, unix_ms, &net.tables);
    assert_eq!(closed(&mut net, first), None, "the key still counts");
    net.relays[0].disconnect_publishers(net.now, "lv_2", "cut by the operator");
    assert_eq!(closed(&mut net, first), None, "another input");
    net.relays[0].disconnect_publishers(net.now, "lv_1", "cut by the operator");
    assert_eq!(closed(&mut net, first), Some((UNAUTHORIZED, "cut by the operator".to_owned())));

    let second = publisher(&mut net);
    net.run(Duration::from_millis(200));
    net.tables.publish_keys.clear();
    let unix_ms = net.unix_ms();
    net.relays[0].recheck_publishers(net.now, unix_ms, &net.tables);
    let (code, reason) = closed(&mut net, second).expect("closed");
    assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{reason}");
}
