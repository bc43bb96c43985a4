use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use streams_contract::{ShardsSizes, shards_workspace};
use streams_relay_core::relay::{
    CachedObject, Dir, Directory, Draft, Location, Namespace, RelayConfig, Resource, SessionConfig, SessionId,
    SigningKey, StreamId, Transport,
};
use streams_relay_core::wire::{ControlMessage, Parameters, Setup, Subscribe};

use super::*;

const HOME: usize = 0;
const AWAY: usize = 1;

/// Two shards' ends of one workspace.
fn two() -> (Links, Links, Folder) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let unique = format!("streams-links-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = Folder(std::env::temp_dir().join(unique));
    std::fs::create_dir(&folder.0).unwrap();
    let sizes = ShardsSizes { media_len: 1 << 22, ask_len: 1 << 22, ..ShardsSizes::default() };
    let shards = shards_workspace(2, sizes).create(folder.0.join("shards.1")).unwrap();
    let mailboxes = || (0..2).map(|_| Mailbox::new().unwrap()).collect();
    (Links::join(&shards, HOME, mailboxes()).unwrap(), Links::join(&shards, AWAY, mailboxes()).unwrap(), folder)
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(track: &str) -> FullTrackName {
    FullTrackName::new(Namespace::new(["test"]).unwrap(), track).unwrap()
}

fn answer(track: &str, link_id: LinkId, replay_len: usize) -> RelayEvent {
    let payload = Bytes::from(vec![7; 1 << 20]);
    let object = |object| CachedObject { group: 1, object, payload: payload.clone(), end_of_group: false };
    RelayEvent::AnswerShard {
        shard: AWAY,
        name: name(track),
        link_id,
        priority: 1,
        pinned: false,
        largest: Some(Location::new(1, 0)),
        replay: (0..replay_len as u64 >> 20).map(object).collect(),
    }
}

fn object(link_id: LinkId, object: u64) -> RelayEvent {
    RelayEvent::ShardObject { link_id, group: 1, object, payload: Bytes::from_static(b"x"), end_of_group: false }
}

struct Nobody;

impl Directory for Nobody {
    fn resource(&self, _id: &str) -> Option<Resource> {
        None
    }

    fn signing_key(&self, _kid: &str) -> Option<SigningKey> {
        None
    }

    fn publish_key_ok(&self, _id: &str, _key: &str, _unix_now_ms: u64) -> bool {
        false
    }
}

/// A relay with a viewer of a track of HOME.
fn watching(now: Instant, track: &str) -> Relay {
    let mut relay = Relay::new(RelayConfig { open: true, ..RelayConfig::default() });
    relay.remote_namespace_up(now, name(track).namespace, HOME);
    let session = SessionId(1);
    let (peer, draft) = ("192.0.2.1:5000".parse().unwrap(), Draft::D18);
    let config = SessionConfig { draft, transport: Transport::WebTransport, path: None, origin: None, peer };
    relay.session_open(now, session, config);
    let subscribe = Subscribe { request_id: 0, track: name(track), parameters: Parameters::default() };
    let messages = [
        (StreamId(2), Dir::Uni, ControlMessage::Setup(Setup::default())),
        (StreamId(0), Dir::Bidi, ControlMessage::Subscribe(subscribe)),
    ];
    for (stream, dir, message) in messages {
        let mut wire = Vec::new();
        message.encode(draft, &mut wire).unwrap();
        relay.stream_data(now, &Nobody, session, stream, dir, &wire, false);
    }
    relay
}

/// Hands what the relay wants of other shards to the links; gives the number of tracks asked for.
fn carry(links: &mut Links, relay: &mut Relay) -> usize {
    let mut asked = 0;
    while let Some(event) = relay.poll_event() {
        asked += usize::from(matches!(event, RelayEvent::AskShard { .. }));
        links.handle(event, 0);
    }
    links.flush();
    asked
}

#[test]
fn objects_that_pass_before_their_answer_is_read_come_with_another_replay() {
    for late in [false, true] {
        let (mut home, mut away, _folder) = two();
        let now = Instant::now();
        let mut relay = watching(now, "t");
        assert_eq!(carry(&mut away, &mut relay), 1);
        home.handle(answer("t", LinkId(4), 0), 0);
        if late {
            home.handle(object(LinkId(4), 1), 0);
            away.poll(now, &mut relay);
        }
        home.flush();
        away.poll(now, &mut relay);
        // Asked again behind the replay, and only when something may be missing; nothing is held for that.
        assert_eq!(carry(&mut away, &mut relay), usize::from(late));
        home.handle(object(LinkId(4), 2), 0);
        away.poll(now, &mut relay);
        assert_eq!((away.stats.media_received, away.stats.media_overrun), (1, 0));
    }
}

#[test]
fn a_shard_that_does_not_read_is_answered_but_sent_no_replay_without_end() {
    let (mut home, mut away, _folder) = two();
    let now = Instant::now();
    for track in 0..10 {
        home.handle(answer(&format!("t{track}"), LinkId(track * 2), 32 << 20), 0);
    }
    let peer = home.peers[AWAY].as_ref().unwrap();
    assert!(peer.backlog_len <= BACKLOG_LEN_MAX, "{} bytes", peer.backlog_len);
    home.handle(RelayEvent::ShardDone { shards: vec![AWAY], link_id: LinkId(0), status: PublishDone::TrackEnded }, 0);
    // Each one is answered in the end, with its whole replay or by word that there is no room now.
    let (mut accepted, mut busy, mut filled, mut done) = (0, 0, 0, 0);
    let peer = away.peers[HOME].as_mut().unwrap();
    let mut wire = Vec::new();
    while home.flush() || done == 0 {
        while let Polled::Message { .. } = peer.ask_in.poll(&mut wire) {
            match Ask::decode(&wire).unwrap() {
                Ask::Accepted(_) => accepted += 1,
                Ask::Filled { .. } => filled += 1,
                Ask::Busy(_) => busy += 1,
                Ask::Done { .. } => done += 1,
                _ => {}
            }
        }
        assert!(now.elapsed() < Duration::from_secs(30));
    }
    assert_eq!((accepted, filled, busy, done), (3, 3, 7, 1));
}

#[test]
fn a_question_that_waits_is_not_asked_twice() {
    let (mut home, ..) = two();
    let ask = || RelayEvent::AskShard { shard: AWAY, name: name("t") };
    let drop = || RelayEvent::DropShard { shard: AWAY, name: name("t") };
    for event in [ask(), ask(), drop(), drop(), ask(), RelayEvent::AskShard { shard: AWAY, name: name("u") }, ask()] {
        home.handle(event, 0);
    }
    let peer = home.peers[AWAY].as_ref().unwrap();
    let waiting: Vec<_> = peer.backlog.iter().map(|wire| Ask::decode(wire).unwrap()).collect();
    let subscribe = |track| Ask::Subscribe(name(track));
    assert_eq!(waiting, [subscribe("t"), Ask::Unsubscribe(name("t")), subscribe("t"), subscribe("u")]);
}
