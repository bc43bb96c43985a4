//! Each request stands on the token that allowed it, and ends with it.

mod sim;

use std::time::Duration;

use serde_json::{Value, json};
use sim::{ClientId, Link, Net, START_S, Shards, claims, forged, live, namespace, payload, signed, token, track};
use streams_relay_core::client::{ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, TrackConfig, TrackId};
use streams_relay_core::wire::{AuthToken, Parameters, PublishDoneCode, RequestErrorCode};

const UNAUTHORIZED: u64 = 0x2;
const EXPIRED_AUTH_TOKEN: u64 = 0x18;

/// A live input with a picture and sound.
fn world() -> (Net, [TrackId; 2]) {
    let mut net = Net::new(sim::seed(31), Shards(1), RelayConfig::default());
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 10, pinned: false };
    let tracks = ["video/720p", "audio"].map(|name| net.relays[0].track_open(net.now, track(live(), name), config));
    let second = net.tables.keys["ed"].clone();
    net.tables.keys.insert("ed_2".to_owned(), second);
    (net, tracks)
}

/// A token for some renditions only.
fn only(kid: &str, renditions: &[&str], ttl_s: u64) -> String {
    let mut claims = claims("lv_1", ttl_s);
    claims["renditions"] = json!(renditions);
    signed(kid, &claims)
}

fn subscribe(net: &mut Net, viewer: ClientId, name: &str, token: Option<&str>) -> RequestId {
    let wanted = SubscribeRequest { token: token.map(str::to_owned), ..SubscribeRequest::live(track(live(), name)) };
    let request = net.client(viewer).subscribe(wanted);
    net.run(Duration::from_millis(100));
    request
}

/// Publishes a group of both tracks, and tells which requests got something of it.
fn reach(net: &mut Net, tracks: [TrackId; 2], group: u64, viewer: ClientId, requests: &[RequestId]) -> Vec<bool> {
    for track in tracks {
        net.relays[0].object(net.now, track, group, 0, payload(group, 0, 50), true);
    }
    net.run(Duration::from_millis(100));
    requests.iter().map(|request| net.record(viewer).places(*request).contains(&(group, 0))).collect()
}

fn join(net: &mut Net, token: &str) -> ClientId {
    net.join(0, &format!("/playback/lv_1?tok={token}"), Link::default())
}

#[test]
fn a_token_for_other_renditions_ends_the_subscriptions_of_the_one_it_replaces() {
    let (mut net, tracks) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let (video, audio) = (subscribe(&mut net, viewer, "video/720p", None), subscribe(&mut net, viewer, "audio", None));
    assert_eq!(reach(&mut net, tracks, 1, viewer, &[video, audio]), [true, true]);
    net.client(viewer).refresh_token(audio, &only("ed", &["audio"], 600));
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).done(video).map(|(code, ..)| code), Some(PublishDoneCode::Unauthorized));
    assert_eq!(reach(&mut net, tracks, 2, viewer, &[video, audio]), [false, true]);
    assert_eq!(net.record(viewer).closed(), None);
}

#[test]
fn an_update_with_a_token_that_does_not_allow_its_own_track_fails() {
    let (mut net, tracks) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let (video, audio) = (subscribe(&mut net, viewer, "video/720p", None), subscribe(&mut net, viewer, "audio", None));
    net.client(viewer).refresh_token(video, &only("ed", &["audio"], 600));
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).done(video).map(|(code, ..)| code), Some(PublishDoneCode::UpdateFailed));
    assert_eq!(reach(&mut net, tracks, 1, viewer, &[video, audio]), [false, true]);
}

#[test]
fn a_subscription_ends_with_its_own_token_while_others_go_on() {
    let (mut net, tracks) = world();
    let viewer = join(&mut net, &only("ed", &["video/720p"], 30));
    let video = subscribe(&mut net, viewer, "video/720p", None);
    let audio = subscribe(&mut net, viewer, "audio", Some(&only("ed", &["audio"], 90)));
    assert_eq!(reach(&mut net, tracks, 1, viewer, &[video, audio]), [true, true]);
    net.run(Duration::from_secs(30));
    assert_eq!(net.record(viewer).done(video).map(|(code, ..)| code), Some(PublishDoneCode::Expired));
    assert_eq!(reach(&mut net, tracks, 2, viewer, &[video, audio]), [false, true]);
    assert_eq!(net.record(viewer).closed(), None);
    net.run(Duration::from_secs(60));
    assert_eq!(net.record(viewer).closed().map(|(code, _)| code), Some(EXPIRED_AUTH_TOKEN));
}

#[test]
fn a_short_token_beside_a_long_one_ends_alone() {
    let (mut net, tracks) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let video = subscribe(&mut net, viewer, "video/720p", None);
    let audio = subscribe(&mut net, viewer, "audio", Some(&only("ed", &["audio"], 20)));
    net.run(Duration::from_secs(21));
    assert_eq!(reach(&mut net, tracks, 1, viewer, &[video, audio]), [true, false]);
    // What asks without a token stands on the one that is left.
    let again = subscribe(&mut net, viewer, "audio", None);
    assert_eq!(reach(&mut net, tracks, 2, viewer, &[video, again]), [true, true]);
}

#[test]
fn a_revoked_key_is_not_escaped_by_a_token_of_another() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &only("ed", &["video/720p"], 600));
    let other = join(&mut net, &only("ed_2", &["audio"], 600));
    subscribe(&mut net, viewer, "video/720p", None);
    subscribe(&mut net, viewer, "audio", Some(&only("ed_2", &["audio"], 900)));
    subscribe(&mut net, other, "audio", None);
    net.relays[0].revoke_key(net.now, "ed");
    net.run(Duration::from_millis(100));
    let (code, reason) = net.record(viewer).closed().expect("its video stands on the first key");
    assert_eq!((code, reason.starts_with("auth_failed")), (UNAUTHORIZED, true), "{reason}");
    assert_eq!(net.record(other).closed(), None);
}

#[test]
fn switching_off_the_id_that_a_token_names_ends_its_sessions() {
    let (mut net, _) = world();
    let (by_playback_id, by_input) = (join(&mut net, &token("pb_1", 600)), join(&mut net, &token("lv_1", 600)));
    for viewer in [by_playback_id, by_input] {
        subscribe(&mut net, viewer, "audio", None);
    }
    net.tables.resources.get_mut("pb_1").unwrap().enabled = false;
    net.relays[0].resource_disabled(net.now, "pb_1");
    net.run(Duration::from_millis(100));
    assert!(net.record(by_playback_id).closed().is_some());
    assert_eq!(net.record(by_input).closed(), None);
    let late = join(&mut net, &token("pb_1", 600));
    net.run(Duration::from_millis(100));
    assert!(net.record(late).closed().is_some());
}

#[test]
fn a_message_with_many_tokens_is_refused_before_any_is_looked_at() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let video = subscribe(&mut net, viewer, "video/720p", None);
    let two = |bad: &str| vec![AuthToken::playback(bad), AuthToken::playback(&token("lv_1", 700))];
    net.client(viewer).update(video, Parameters { auth_tokens: two("bad"), ..Parameters::default() });
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).closed(), None, "a good token beside a bad one");
    assert_eq!(net.relays[0].counters().tokens_refused, 1);
    let many = vec![AuthToken::playback("bad"); 480];
    net.client(viewer).update(video, Parameters { auth_tokens: many, ..Parameters::default() });
    net.run(Duration::from_millis(100));
    let expected = "auth_failed: one message shows 480 tokens; at most 2 are looked at";
    assert_eq!(net.record(viewer).closed(), Some((UNAUTHORIZED, expected)));
    assert_eq!(net.relays[0].counters().tokens_refused, 1);
}

#[test]
fn a_session_that_shows_bad_token_after_bad_token_is_closed() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let video = subscribe(&mut net, viewer, "video/720p", None);
    for n in 0..9 {
        assert_eq!(net.record(viewer).closed(), None, "after {n}");
        let bad = forged("ed", &claims("lv_1", 600 + n));
        let auth_tokens = vec![AuthToken::playback(&bad), AuthToken::playback(&token("lv_1", 600))];
        net.client(viewer).update(video, Parameters { auth_tokens, ..Parameters::default() });
        net.run(Duration::from_millis(100));
    }
    let expected = (UNAUTHORIZED, "auth_failed: more than 8 bad tokens in one session");
    assert_eq!(net.record(viewer).closed(), Some(expected));
}

fn counted(claim: &str, value: Value, most: u32) -> String {
    let mut claims = claims("lv_1", 600);
    claims["max_sessions"] = json!(most);
    claims[claim] = value;
    signed("ed", &claims)
}

#[test]
fn as_many_sessions_as_a_token_allows_are_open_at_once() {
    // By its own id, and without one by key and subject: then another token for the same counts as well.
    let same = [counted("jti", json!("j1"), 2), counted("jti", json!("j1"), 2)];
    let nameless = [counted("nbf", json!(START_S), 2), counted("nbf", json!(START_S - 1), 2)];
    for [first, second] in [same, nameless] {
        let (mut net, _) = world();
        let viewers = [&first, &second].map(|token| join(&mut net, token));
        for viewer in viewers {
            subscribe(&mut net, viewer, "audio", None);
        }
        let late = join(&mut net, &second);
        let other = join(&mut net, &counted("jti", json!("another"), 1));
        net.run(Duration::from_millis(100));
        let expected =
            "auth_failed: all sessions that the token allows (max_sessions, 2) are open; close one of them first";
        assert_eq!(net.record(late).closed(), Some((UNAUTHORIZED, expected)));
        assert!(viewers.iter().chain([&other]).all(|viewer| net.record(*viewer).closed().is_none()));
        net.vanish(viewers[0]);
        let next = join(&mut net, &first);
        net.run(Duration::from_millis(100));
        assert_eq!(net.record(next).closed(), None, "a place that was left may be taken");
    }
}

#[test]
fn a_token_that_was_replaced_leaves_its_place() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &counted("jti", json!("first"), 1));
    let audio = subscribe(&mut net, viewer, "audio", None);
    net.client(viewer).refresh_token(audio, &counted("jti", json!("second"), 1));
    net.run(Duration::from_millis(100));
    let (first, second) =
        (join(&mut net, &counted("jti", json!("first"), 1)), join(&mut net, &counted("jti", json!("second"), 1)));
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).closed(), None);
    assert_eq!(net.record(first).closed(), None);
    assert!(net.record(second).closed().is_some());
}

#[test]
fn a_stranger_learns_neither_the_namespace_nor_whether_the_id_exists() {
    let root = namespace(&["stream"]);
    let offered = |net: &Net, viewer| {
        net.saw(viewer, |event| matches!(event, ClientEvent::NamespaceOffered(offered) if *offered != root))
    };
    let (mut net, _) = world();
    let answers = ["lv_1", "lv_off", "lv_nowhere"].map(|id| {
        let silent = net.join(0, &format!("/playback/{id}"), Link::default());
        let asking = net.join(0, &format!("/playback/{id}"), Link::default());
        let forger = net.join(0, &format!("/playback/{id}?tok={}", forged("ed", &claims(id, 600))), Link::default());
        let elsewhere = net.join(0, &format!("/playback/{id}?tok={}", token("lv_2", 600)), Link::default());
        net.client(asking).watch_namespaces(namespace(&["stream"]), None);
        net.run(Duration::from_millis(100));
        [silent, asking, forger, elsewhere].map(|viewer| {
            assert!(!offered(&net, viewer), "{id}");
            net.record(viewer).closed().map(|(code, reason)| (code, reason.to_owned()))
        })
    });
    assert_eq!([&answers[0], &answers[0]], [&answers[1], &answers[2]]);
    // The first grant tells it, whichever message brings it.
    let viewer = net.join(0, "/playback/pb_1", Link::default());
    net.client(viewer).watch_namespaces(namespace(&["stream"]), Some(&token("pb_1", 600)));
    net.run(Duration::from_millis(100));
    assert!(net.saw(viewer, |event| *event == ClientEvent::NamespaceOffered(live())));
}

#[test]
fn a_waiting_request_ends_with_its_token() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &only("ed", &["audio"], 600));
    let short = Some(only("ed", &["later"], 20));
    let rendezvous = Duration::from_secs(30);
    let wanted = SubscribeRequest { token: short, rendezvous, ..SubscribeRequest::live(track(live(), "later")) };
    let waiting = net.client(viewer).subscribe(wanted);
    let watch = net.client(viewer).watch_namespaces(live(), None);
    net.run(Duration::from_secs(21));
    assert_eq!(net.record(viewer).refusal(waiting), Some(RequestErrorCode::ExpiredAuthToken));
    assert!(net.record(viewer).accepted(watch).is_some());
    assert_eq!(net.record(viewer).closed(), None);
}

#[test]
fn the_transport_learns_who_may_publish() {
    let (mut net, _) = world();
    let viewer = join(&mut net, &token("lv_1", 600));
    let publisher = net.join(0, "/publish/lv_1?sk=key_1", Link::default());
    let stranger = net.join(0, "/publish/lv_1?sk=guess", Link::default());
    let publishes =
        |net: &Net| [viewer, publisher, stranger].map(|client| net.relays[0].session_publishes(net.session(client)));
    assert_eq!(publishes(&net), [false; 3], "before SETUP");
    net.run(Duration::from_millis(100));
    assert_eq!(publishes(&net), [false, true, false]);
}
