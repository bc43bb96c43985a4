//! The world: shards joined by their links, clients joined to shards by pipes, and one clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::client::{Client, ClientConfig, ClientEvent};
use streams_relay_core::relay::{CachedObject, LinkId, PublishDone};
use streams_relay_core::relay::{
    Dir, Draft, FullTrackName, Location, Namespace, Relay, RelayConfig, RelayEvent, SessionConfig, SessionId, StreamId,
    Transport,
};

use super::pipe::{Link, Packet, Pipe};
use super::record::Record;
use super::tables::{START_S, Tables};

/// Time between two looks at what moved although nothing arrived (rates refill).
const TICK: Duration = Duration::from_millis(5);
/// How long a message takes from shard to shard.
const SHARD_LATENCY: Duration = Duration::from_micros(200);

/// How many shards the engine has.
pub struct Shards(pub usize);

/// A client in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// A client and its session.
pub struct Peer {
    pub client: Client,
    pub record: Record,
    pub up: Pipe,
    pub down: Pipe,
    pub shard: usize,
    session: SessionId,
    gone: bool,
}

/// What one shard sends another.
#[derive(Clone, Debug)]
enum Crossing {
    Subscribe(FullTrackName),
    Unsubscribe(FullTrackName),
    Accepted { name: FullTrackName, link_id: LinkId, priority: u8, pinned: bool, largest: Option<Location> },
    Refused { name: FullTrackName, code: u64, reason: String },
    Busy(FullTrackName),
    Object { link_id: LinkId, object: CachedObject },
    Filled { link_id: LinkId },
    Done { link_id: LinkId, status: PublishDone },
    Lost,
    Message(Bytes),
    NamespaceUp(Namespace),
    NamespaceDown(Namespace),
}

pub struct Net {
    pub now: Instant,
    start: Instant,
    pub tables: Tables,
    pub relays: Vec<Relay>,
    pub peers: Vec<Peer>,
    /// Events of the relays that the world does not act on itself.
    pub log: Vec<(usize, RelayEvent)>,
    crossings: BTreeMap<(Instant, u64), (usize, usize, Crossing)>,
    sequence: u64,
    /// Shards whose media readers lose everything for now.
    pub overrun: BTreeSet<(usize, usize)>,
    /// How much longer a replay takes than what else shards say.
    pub replay_latency: Duration,
    /// As many of the next replays lose their end.
    pub ends_lost: usize,
    /// As many of the next replays have no room.
    pub busy: usize,
    seed: u64,
    /// Where clients that join from now on come from.
    pub peer: SocketAddr,
    pending: VecDeque<SessionId>,
}

impl Net {
    pub fn new(seed: u64, shards: Shards, config: RelayConfig) -> Self {
        let now = Instant::now();
        let relays = (0..shards.0).map(|_| Relay::new(config.clone())).collect();
        let mut net = Self {
            now,
            start: now,
            tables: Tables::default(),
            relays,
            peers: Vec::new(),
            log: Vec::new(),
            crossings: BTreeMap::new(),
            sequence: 0,
            overrun: BTreeSet::new(),
            replay_latency: Duration::ZERO,
            ends_lost: 0,
            busy: 0,
            seed,
            peer: SocketAddr::from(([192, 0, 2, 7], 40_000)),
            pending: VecDeque::new(),
        };
        let unix_ms = net.unix_ms();
        net.relays.iter_mut().for_each(|relay| relay.set_time(unix_ms));
        net
    }

    /// One open relay.
    pub fn open(seed: u64) -> Self {
        Self::new(seed, Shards(1), RelayConfig { open: true, ..RelayConfig::default() })
    }

    pub fn unix_ms(&self) -> u64 {
        START_S * 1000 + u64::try_from(self.now.duration_since(self.start).as_millis()).unwrap()
    }

    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    /// Joins a client to a shard.
    pub fn join(&mut self, shard: usize, path: &str, link: Link) -> ClientId {
        self.join_with(shard, link, ClientConfig { path: path.to_owned(), ..ClientConfig::default() })
    }

    pub fn join_with(&mut self, shard: usize, link: Link, config: ClientConfig) -> ClientId {
        let id = ClientId(self.peers.len());
        let session = SessionId(id.0 as u64);
        let path = (config.transport == Transport::WebTransport).then(|| config.path.clone());
        let peer = self.peer;
        let origin = path.is_some().then(|| "https://player.example".to_owned());
        let setup = SessionConfig { draft: Draft::D18, transport: config.transport, path, origin, peer };
        self.relays[shard].session_open(self.now, session, setup);
        let seed = self.seed.wrapping_mul(31).wrapping_add(id.0 as u64);
        self.peers.push(Peer {
            client: Client::new(config),
            record: Record::default(),
            up: Pipe::new(0, Link { rate: None, uni_max: u64::MAX, ..link }, seed, self.now),
            down: Pipe::new(1, link, !seed, self.now),
            shard,
            session,
            gone: false,
        });
        id
    }

    pub fn client(&mut self, id: ClientId) -> &mut Client {
        &mut self.peers[id.0].client
    }

    pub fn record(&self, id: ClientId) -> &Record {
        &self.peers[id.0].record
    }

    pub fn session(&self, id: ClientId) -> SessionId {
        self.peers[id.0].session
    }

    /// Bytes on a stream of the client that no client machine would send.
    pub fn inject(&mut self, id: ClientId, stream: u64, data: &[u8], fin: bool) {
        let peer = &self.peers[id.0];
        let dir = if stream & 2 == 0 { Dir::Bidi } else { Dir::Uni };
        let (shard, session) = (peer.shard, peer.session);
        self.relays[shard].stream_data(self.now, &self.tables, session, StreamId(stream), dir, data, fin);
    }

    /// The client's transport goes away without a word.
    pub fn vanish(&mut self, id: ClientId) {
        let peer = &mut self.peers[id.0];
        peer.gone = true;
        self.relays[peer.shard].session_closed(self.now, peer.session);
    }

    /// Runs until `duration` has passed.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        let mut stuck = 0;
        while self.now < end {
            // A deadline that is never dealt with would stop the clock.
            stuck = if self.next_event().is_some_and(|at| at <= self.now) { stuck + 1 } else { 0 };
            assert!(stuck < 1000, "time stands still: {}", self.deadlines());
            let next = self.next_event().unwrap_or(end).min(self.now + TICK).min(end);
            self.now = next.max(self.now + Duration::from_nanos(1));
            self.step();
        }
    }

    /// Runs until `done`, at most `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "it did not happen within {limit:?}");
            self.run(Duration::from_millis(5));
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let pipes = self.peers.iter().filter(|peer| !peer.gone);
        let pipes = pipes.flat_map(|peer| [peer.up.next_arrival(), peer.down.next_arrival()]).flatten().min();
        let crossing = self.crossings.first_key_value().map(|((at, _), _)| *at);
        let relays = self.relays.iter().filter_map(Relay::next_timeout).min();
        let clients = self.peers.iter().filter(|peer| !peer.gone).filter_map(|peer| peer.client.next_timeout()).min();
        [pipes, crossing, relays, clients].into_iter().flatten().min()
    }

    fn deadlines(&self) -> String {
        let since = |at: Option<Instant>| at.map(|at| at.duration_since(self.start));
        let relays: Vec<_> = self.relays.iter().map(|relay| since(relay.next_timeout())).collect();
        let clients: Vec<_> = self.peers.iter().map(|peer| since(peer.client.next_timeout())).collect();
        format!("now {:?}, relays {relays:?}, clients {clients:?}", self.elapsed())
    }

    fn step(&mut self) {
        let unix_ms = self.unix_ms();
        for relay in &mut self.relays {
            relay.handle_timeout(self.now, unix_ms, &self.tables);
        }
        while self.crossings.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            let (_, (from, to, crossing)) = self.crossings.pop_first().unwrap();
            self.cross(from, to, crossing);
        }
        for index in 0..self.peers.len() {
            self.arrive(index);
        }
        self.settle();
    }

    fn arrive(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.gone {
            return;
        }
        peer.up.advance(self.now);
        peer.down.advance(self.now);
        peer.client.handle_timeout(self.now);
        let relay = &mut self.relays[peer.shard];
        while let Some(packet) = peer.up.take_arrived(self.now) {
            match packet {
                Packet::Data { stream, dir, data, fin } => {
                    relay.stream_data(self.now, &self.tables, peer.session, stream, dir, &data, fin);
                }
                Packet::Reset { stream, code } => relay.stream_reset(self.now, peer.session, stream, code),
                Packet::Stop { stream, code } => {
                    peer.down.stopped.insert(stream, code);
                    relay.stream_stopped(self.now, peer.session, stream, code);
                }
                Packet::Close { .. } => {
                    peer.gone = true;
                    relay.session_closed(self.now, peer.session);
                    return;
                }
            }
        }
        while let Some(packet) = peer.down.take_arrived(self.now) {
            match packet {
                Packet::Data { stream, dir, data, fin } => peer.client.stream_data(self.now, stream, dir, &data, fin),
                Packet::Reset { stream, code } => peer.client.stream_reset(self.now, stream, code),
                Packet::Stop { stream, code } => {
                    peer.up.stopped.insert(stream, code);
                    peer.client.stream_stopped(self.now, stream, code);
                }
                Packet::Close { code, reason } => {
                    peer.client.transport_closed(code, &reason);
                    peer.gone = true;
                    relay.session_closed(self.now, peer.session);
                    break;
                }
            }
        }
        while let Some(event) = peer.client.poll_event() {
            peer.record.events.push(event);
        }
    }

    /// Lets everything that can be sent go out.
    fn settle(&mut self) {
        for peer in self.peers.iter_mut().filter(|peer| !peer.gone) {
            peer.up.advance(self.now);
            peer.down.advance(self.now);
            peer.client.pump(self.now, &mut peer.up);
        }
        for shard in 0..self.relays.len() {
            self.pending.extend(std::iter::from_fn(|| self.relays[shard].next_dirty()));
        }
        let mut waiting = VecDeque::new();
        for session in std::mem::take(&mut self.pending) {
            let peer = &mut self.peers[session.0 as usize];
            if peer.gone {
                continue;
            }
            let pumped = self.relays[peer.shard].pump(self.now, session, &mut peer.down);
            if pumped.more && !waiting.contains(&session) {
                waiting.push_back(session);
            }
        }
        self.pending = waiting;
        for shard in 0..self.relays.len() {
            while let Some(event) = self.relays[shard].poll_event() {
                self.act(shard, event);
            }
        }
    }

    /// What the engine would do with a relay's event.
    fn act(&mut self, from: usize, event: RelayEvent) {
        match event.clone() {
            RelayEvent::AskShard { shard, name } => self.send(from, shard, Crossing::Subscribe(name)),
            RelayEvent::DropShard { shard, name } => self.send(from, shard, Crossing::Unsubscribe(name)),
            RelayEvent::AnswerShard { shard, name, .. } if self.busy > 0 => {
                self.busy -= 1;
                self.send(from, shard, Crossing::Busy(name));
            }
            RelayEvent::AnswerShard { shard, name, link_id, priority, pinned, largest, replay } => {
                self.send(from, shard, Crossing::Accepted { name, link_id, priority, pinned, largest });
                let latency = SHARD_LATENCY + self.replay_latency;
                for object in replay {
                    self.send_after(latency, from, shard, Crossing::Object { link_id, object });
                }
                if self.ends_lost > 0 {
                    self.ends_lost -= 1;
                } else {
                    self.send_after(latency, from, shard, Crossing::Filled { link_id });
                }
            }
            RelayEvent::RefuseShard { shard, name, code, reason } => {
                self.send(from, shard, Crossing::Refused { name, code, reason });
            }
            RelayEvent::ShardObject { link_id, group, object, payload, end_of_group } => {
                let object = CachedObject { group, object, payload, end_of_group };
                for to in self.others(from) {
                    if !self.overrun.contains(&(from, to)) {
                        self.send(from, to, Crossing::Object { link_id, object: object.clone() });
                    }
                }
            }
            RelayEvent::ShardDone { shards, link_id, status } => {
                shards.into_iter().for_each(|to| self.send(from, to, Crossing::Done { link_id, status }));
            }
            RelayEvent::ShardMessage { shard, message } => self.send(from, shard, Crossing::Message(message)),
            RelayEvent::NamespaceUp(namespace) => {
                self.others(from).for_each(|to| self.send(from, to, Crossing::NamespaceUp(namespace.clone())));
            }
            RelayEvent::NamespaceDown(namespace) => {
                self.others(from).for_each(|to| self.send(from, to, Crossing::NamespaceDown(namespace.clone())));
            }
            RelayEvent::SessionReady { .. }
            | RelayEvent::SessionClose { .. }
            | RelayEvent::PublishReady { .. }
            | RelayEvent::PublishBegan { .. }
            | RelayEvent::PublishEnded { .. } => {}
        }
        if !matches!(event, RelayEvent::ShardObject { .. } | RelayEvent::ShardMessage { .. }) {
            self.log.push((from, event));
        }
    }

    fn others(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.relays.len()).filter(move |to| *to != from)
    }

    fn send(&mut self, from: usize, to: usize, crossing: Crossing) {
        self.send_after(SHARD_LATENCY, from, to, crossing);
    }

    fn send_after(&mut self, latency: Duration, from: usize, to: usize, crossing: Crossing) {
        self.sequence += 1;
        self.crossings.insert((self.now + latency, self.sequence), (from, to, crossing));
    }

    fn cross(&mut self, from: usize, to: usize, crossing: Crossing) {
        let (now, relay) = (self.now, &mut self.relays[to]);
        match crossing {
            Crossing::Subscribe(name) => relay.shard_subscribe(now, from, name),
            Crossing::Unsubscribe(name) => relay.shard_unsubscribe(now, from, name),
            Crossing::Accepted { name, link_id, priority, pinned, largest } => {
                relay.remote_accepted(now, from, name, link_id, priority, pinned, largest);
            }
            Crossing::Refused { name, code, reason } => relay.remote_refused(now, from, name, code, &reason),
            Crossing::Busy(name) => relay.remote_busy(now, from, name),
            Crossing::Object { link_id, object } => {
                let CachedObject { group, object, payload, end_of_group } = object;
                relay.remote_object(now, from, link_id, group, object, payload, end_of_group);
            }
            Crossing::Filled { link_id } => relay.remote_filled(now, from, link_id),
            Crossing::Done { link_id, status } => relay.remote_done(now, from, link_id, status),
            Crossing::Lost => relay.remote_lost(now, from),
            Crossing::Message(message) => relay.shard_message(now, from, &message),
            Crossing::NamespaceUp(namespace) => relay.remote_namespace_up(now, namespace, from),
            Crossing::NamespaceDown(namespace) => relay.remote_namespace_down(now, namespace, from),
        }
    }

    /// The engine brings a namespace up on its home shard and tells the others.
    pub fn namespace_up(&mut self, home: usize, namespace: Namespace) {
        self.relays[home].namespace_up(self.now, namespace.clone());
        self.others(home).for_each(|to| self.send(home, to, Crossing::NamespaceUp(namespace.clone())));
    }

    /// The readers of `from`'s media link on `to` lose what comes from now on, until told otherwise.
    pub fn lose_media(&mut self, from: usize, to: usize, lose: bool) {
        if lose {
            self.overrun.insert((from, to));
        } else if self.overrun.remove(&(from, to)) {
            self.send(from, to, Crossing::Lost);
        }
    }

    /// Whether any client event satisfies `wanted`.
    pub fn saw(&self, id: ClientId, wanted: impl Fn(&ClientEvent) -> bool) -> bool {
        self.record(id).events.iter().any(wanted)
    }
}

/// Puts a group of equally large objects into a local track.
pub fn group(net: &mut Net, shard: usize, track: streams_relay_core::relay::TrackId, id: u64, count: u64, len: usize) {
    for object in 0..count {
        let bytes: Bytes = super::payload(id, object, len);
        net.relays[shard].object(net.now, track, id, object, bytes, object + 1 == count);
    }
}
