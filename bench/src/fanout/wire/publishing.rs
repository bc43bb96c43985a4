//! The publisher: a native MoQT session on the input's publish path, driven by the load's own loop.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use streams_relay_core::client::{Client, ClientConfig, ClientEvent, RequestId};
use streams_relay_core::wire::{FullTrackName, Namespace, RequestErrorCode};

use super::super::check::Object;
use super::super::joining::client_config;
use super::super::peer::Peer;
use super::broadcast::Broadcast;
use super::pace::Pace;
use super::sockets::{Buffers, Socket};
use crate::error::BenchError;
use crate::group::header;

/// The one track.
const TRACK: &str = "video";
/// Group ids go on from here, so that all of them take as many bytes.
const FIRST_GROUP: u64 = 1 << 20;
/// Connection id of the publisher.
const ID: [u8; 8] = [0xff; 8];

/// What is published.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of an object.
    pub object_len: usize,
    /// Objects a second.
    pub fps: u32,
    /// Objects a group.
    pub objects_a_group: u64,
}

/// The publisher's session.
pub struct Publishing {
    peer: Peer,
    socket: Socket,
    offer: Offer,
    shape: Shape,
    pace: Option<Pace>,
    /// What was published, and when.
    pub broadcast: Broadcast,
    /// Longest that an object was sent after it was due.
    pub late_max: Duration,
}

/// How far the relay is.
#[derive(Debug, Default)]
struct Offer {
    /// The namespace that it lets the session publish.
    namespace: Option<Namespace>,
    announced: Option<RequestId>,
    accepted: bool,
    /// Its subscription.
    follower: Option<RequestId>,
}

impl Offer {
    fn event(&mut self, session: &mut Client, event: ClientEvent) -> Result<(), BenchError> {
        match event {
            ClientEvent::NamespaceOffered(namespace) if self.namespace.is_none() => {
                self.announced = Some(session.announce(namespace.clone()));
                self.namespace = Some(namespace);
            }
            ClientEvent::Accepted { request, .. } if Some(request) == self.announced => self.accepted = true,
            ClientEvent::Refused { .. } => {
                return Err(BenchError::Protocol("the relay refuses the publisher's namespace"));
            }
            ClientEvent::SubscribeRequested { request, track, .. }
                if track.name.as_ref() == TRACK.as_bytes() && self.follower.is_none() =>
            {
                session.accept_subscribe(request, request.0, None);
                self.follower = Some(request);
            }
            ClientEvent::SubscribeRequested { request, .. } | ClientEvent::FetchRequested { request, .. } => {
                session.reject(request, RequestErrorCode::DoesNotExist, "there is one live track");
            }
            ClientEvent::Cancelled(request) if Some(request) == self.follower => {
                return Err(BenchError::Protocol("the relay no longer wants the track"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Publishing {
    /// A session that is about to shake hands.
    ///
    /// # Errors
    /// [`BenchError::Quic`], or there is no socket.
    pub fn new(server: SocketAddr, authority: &str, path: &str, shape: Shape) -> Result<Self, BenchError> {
        let socket = Socket::connect(server)?;
        let session =
            ClientConfig { path: path.to_owned(), authority: authority.to_owned(), ..ClientConfig::default() };
        let peer = Peer::new(&ID, socket.address()?, server, &mut client_config()?, Some(session))?;
        let (offer, broadcast) = (Offer::default(), Broadcast::new());
        Ok(Self { peer, socket, offer, shape, pace: None, broadcast, late_max: Duration::ZERO })
    }

    /// Its socket.
    pub fn socket(&self) -> &UdpSocket {
        self.socket.udp()
    }

    /// The track, once the relay lets it be published.
    pub fn track(&self) -> Option<FullTrackName> {
        let namespace = self.offer.namespace.as_ref().filter(|_| self.offer.accepted)?;
        FullTrackName::new(namespace.clone(), TRACK).ok()
    }

    /// Whether the relay follows the track.
    pub fn is_followed(&self) -> bool {
        self.offer.follower.is_some()
    }

    /// Packets of the publisher that were lost, and its round trip now: an engine that is overloaded takes them late, or not.
    pub fn path(&self) -> (usize, Duration) {
        let rtt = self.peer.quic.path_stats().next().map_or(Duration::ZERO, |path| path.rtt);
        (self.peer.quic.stats().lost, rtt)
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// The session ended.
    pub fn receive(&mut self, buffers: &mut Buffers) -> Result<(), BenchError> {
        let Self { peer, socket, offer, .. } = self;
        socket.receive(buffers, |packet| peer.take(packet, |session, event| offer.event(session, event)))?;
        Ok(())
    }

    /// Sends what there is to send. Tells how long until it has to be called.
    pub fn flush(&mut self) -> Option<Duration> {
        self.peer.tick();
        let socket = &self.socket;
        self.peer.send(|packet| socket.send(packet));
        let due = self.pace.as_ref().map(|pace| pace.due().saturating_duration_since(Instant::now()));
        self.peer.timeout().into_iter().chain(due).min()
    }

    /// Publishes from now on; the first object begins a group.
    pub fn begin(&mut self, now: Instant) {
        self.pace = Some(Pace::new(now, self.shape.fps));
    }

    /// Publishes nothing more.
    pub fn end(&mut self) {
        self.pace = None;
    }

    /// Publishes the objects that are due.
    pub fn publish(&mut self) {
        while let Some(late) = self.pace.as_mut().and_then(|pace| pace.take(Instant::now())) {
            self.late_max = self.late_max.max(late);
            self.object();
        }
    }

    fn object(&mut self) {
        let Shape { object_len, objects_a_group, .. } = self.shape;
        let number = self.broadcast.published();
        let (group, id) = (FIRST_GROUP + number / objects_a_group, number % objects_a_group);
        let last = id + 1 == objects_a_group;
        let object = Object::synthetic(group, id, object_len, last);
        let Some(follower) = self.offer.follower else { return };
        self.broadcast.publish(&object, Instant::now());
        self.peer.ask(|session| {
            if id == 0 {
                session.open_subgroup(follower, header(follower.0, group));
            }
            session.send_object(follower.0, group, 0, id, &[], &object.payload);
            if last {
                session.end_subgroup(follower.0, group, 0);
            }
        });
    }
}
