//! The endpoint against a real quiche client, over wires in memory.

mod admission;
mod datagrams;
mod floods;
mod mtu;
mod paths;
mod streams;
mod webtransport;
mod windows;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quiche::{ConnectionId, RecvInfo, Shutdown};
use streams_relay_core::relay::{Pumped, Transmit};

use super::config::{ALPN, SEND_PAYLOAD_LEN_MAX};
use super::*;
use crate::backend::{PacketBackend, Sent};

const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4433))
}

fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 5000))
}

/// What the endpoint sends, packet by packet.
struct Wire {
    frame: Vec<u8>,
    packets: Vec<(SocketAddr, Vec<u8>)>,
}

impl PacketBackend for Wire {
    fn recv(&mut self, _sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        Ok(0)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        datagrams
    }

    fn frame(&mut self, _to: SocketAddr) -> &mut [u8] {
        &mut self.frame
    }

    fn train_len_max(&self) -> usize {
        self.frame.len()
    }

    fn train_packets_max(&self) -> usize {
        64
    }

    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent> {
        self.packets.extend(self.frame[..len].chunks(segment_len).map(|packet| (to, packet.to_vec())));
        Ok(Sent::Done)
    }

    fn flush(&mut self) -> io::Result<Sent> {
        Ok(Sent::Done)
    }

    fn local_addr(&self) -> SocketAddr {
        server()
    }
}

#[derive(Default)]
struct Record {
    opened: Vec<SessionId>,
    stopped: Vec<(u64, u64)>,
    /// Streams of the peer that ended, and bytes of all.
    ended: Vec<u64>,
    bytes: usize,
    datagrams: Vec<Vec<u8>>,
    closed: usize,
    /// Sessions that were asked for what they have to send.
    pumped: Vec<SessionId>,
    /// What the relay would say of every session.
    may_publish: bool,
    in_use: bool,
}

impl SessionSink for Record {
    fn session_open(&mut self, session: SessionId, _config: SessionConfig) {
        self.opened.push(session);
    }

    fn stream_data(&mut self, _session: SessionId, stream: StreamId, _dir: Dir, data: &[u8], fin: bool) {
        self.bytes += data.len();
        if fin {
            self.ended.push(stream.0);
        }
    }

    fn stream_reset(&mut self, _session: SessionId, stream: StreamId, _code: u64) {
        self.ended.push(stream.0);
    }

    fn stream_stopped(&mut self, _session: SessionId, stream: StreamId, code: u64) {
        self.stopped.push((stream.0, code));
    }

    fn datagram(&mut self, _session: SessionId, data: &[u8]) {
        self.datagrams.push(data.to_vec());
    }

    fn session_closed(&mut self, _session: SessionId) {
        self.closed += 1;
    }

    fn may_publish(&mut self, _session: SessionId) -> bool {
        self.may_publish
    }

    fn in_use(&mut self, _session: SessionId) -> bool {
        self.in_use
    }

    fn pump(&mut self, session: SessionId, _io: &mut dyn Transmit) -> Pumped {
        self.pumped.push(session);
        Pumped { more: false }
    }
}

/// An endpoint and one client of it, whose socket `client()` a NAT shows as `nat`.
struct World {
    endpoint: Endpoint,
    nat: SocketAddr,
    /// The client's packets, as they went.
    sent: Vec<Vec<u8>>,
    wire: Wire,
    record: Record,
    client: quiche::Connection,
    /// Longer packets of the endpoint are lost.
    mtu: usize,
    now: Instant,
}

impl World {
    fn new(alpn: &[u8]) -> Self {
        let mut world = Self::before_handshake(alpn, EndpointLimits::default());
        world.exchange();
        assert!(world.client.is_established());
        world
    }

    fn before_handshake(alpn: &[u8], limits: EndpointLimits) -> Self {
        let limits = EndpointLimits { setup_timeout: SETUP_TIMEOUT, ..limits };
        let tokens = RetryTokens::new(&[4; 32]);
        let endpoint = Endpoint::new(0, &tls_files(), ids().into(), tokens, limits).expect("an endpoint");
        let wire = Wire { frame: vec![0; 65_507], packets: Vec::new() };
        let (client, nat, record) = (connect(alpn, [5; 16]), client(), Record::default());
        Self { endpoint, nat, sent: Vec::new(), wire, record, client, mtu: usize::MAX, now: Instant::now() }
    }

    /// Another client's first flight and the answer to it.
    fn connect(&mut self, alpn: &[u8]) -> quiche::Connection {
        let mut first = std::mem::replace(&mut self.client, connect(alpn, [6; 16]));
        self.exchange();
        std::mem::swap(&mut first, &mut self.client);
        first
    }

    fn session(&self) -> SessionId {
        *self.record.opened.first().expect("a session")
    }

    /// The client's packets to the endpoint. `true` when there was one.
    fn up(&mut self) -> bool {
        let mut any = false;
        let mut packet = [0; 1500];
        while let Ok((len, info)) = self.client.send(&mut packet) {
            let from = if info.from == client() { self.nat } else { info.from };
            self.sent.push(packet[..len].to_vec());
            assert_eq!(self.arrive(&mut packet[..len], from), None);
            any = true;
        }
        any
    }

    /// One datagram reaches the endpoint.
    fn arrive(&mut self, datagram: &mut [u8], from: SocketAddr) -> Option<Toss> {
        let arrival = Arrival { from, to: server() };
        self.endpoint.datagram(self.now, datagram, arrival, &mut self.wire, &mut self.record)
    }

    /// One flush; which sessions were asked for what they have to send.
    fn flush(&mut self) -> Vec<SessionId> {
        self.record.pumped.clear();
        self.endpoint.flush(self.now, &mut self.wire, &mut self.record).expect("the wire takes all");
        std::mem::take(&mut self.record.pumped)
    }

    /// The endpoint's packets to the client. What goes to an address that is not (or no longer) the client's is lost.
    fn down(&mut self) -> bool {
        let packets = std::mem::take(&mut self.wire.packets);
        for (to, mut packet) in packets.iter().cloned() {
            let inside = if to == self.nat { client() } else { to };
            if inside == client() && to != self.nat || packet.len() > self.mtu {
                continue;
            }
            let _ = self.client.recv(&mut packet, RecvInfo { from: server(), to: inside });
        }
        !packets.is_empty()
    }

    /// Both ways until nobody has anything to say.
    fn exchange(&mut self) {
        loop {
            let up = self.up();
            while self.endpoint.wants_flush() {
                self.flush();
            }
            if !self.down() && !up {
                return;
            }
        }
    }

    fn pump(&mut self, step: impl FnOnce(&mut dyn Transmit) -> bool) -> bool {
        let session = self.session();
        let pumped = self.endpoint.pump(self.now, session, |io| Pumped { more: step(io) });
        pumped.expect("the session is there").more
    }

    fn read_all(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let mut total = 0;
        for id in self.client.readable() {
            while let Ok((len, fin)) = self.client.stream_recv(id, &mut buffer) {
                total += len;
                if fin {
                    break;
                }
            }
        }
        total
    }

    /// Brings `len` bytes of a new stream to the client and does something when half of them are there.
    fn media(&mut self, len: usize, middle: impl FnOnce(&mut Self)) {
        let (mut stream, mut sent) = (None, 0);
        self.half(&mut stream, &mut sent, len / 2);
        middle(self);
        self.half(&mut stream, &mut sent, len);
    }

    fn half(&mut self, stream: &mut Option<StreamId>, sent: &mut usize, until: usize) {
        let (from, mut got) = (*sent, 0);
        for _ in 0..10_000 {
            self.pump(|io| {
                let id = *stream.get_or_insert_with(|| io.open_uni().expect("a stream"));
                *sent += io.write(id, &vec![7; until - *sent], false).expect("open");
                *sent < until
            });
            self.exchange();
            got += self.read_all();
            if got == until - from {
                return;
            }
        }
        panic!("{got} of {} bytes came", until - from);
    }
}

fn ids() -> cid::CidScheme {
    cid::CidScheme::new(&[7; 16], &[9; 32], 3).expect("keys have the right length")
}

fn connect(alpn: &[u8], id: [u8; 16]) -> quiche::Connection {
    connect_from(client(), alpn, id)
}

fn connect_from(from: SocketAddr, alpn: &[u8], id: [u8; 16]) -> quiche::Connection {
    let id = ConnectionId::from_ref(&id);
    quiche::connect(None, &id, from, server(), &mut client_config(alpn)).expect("a client")
}

fn client_config(alpn: &[u8]) -> quiche::Config {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
    config.set_application_protos(&[alpn]).expect("an ALPN");
    config.verify_peer(false);
    config.set_initial_max_data(1 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_stream_data_bidi_remote(1 << 16);
    config.set_initial_max_stream_data_bidi_local(1 << 16);
    config.set_initial_max_streams_uni(64);
    config.set_initial_max_streams_bidi(16);
    config.set_active_connection_id_limit(8);
    config.enable_dgram(true, 8, 8);
    config
}

fn tls_files() -> TlsFiles {
    let folder = std::env::temp_dir().join(format!("streams-endpoint-{}", std::process::id()));
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    // Tests of one process share the folder: whoever comes first makes it, whole before it has its name.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::create_dir_all(&folder).expect("a folder");
    write_once(&certificate, &key, &made);
    TlsFiles { certificate, key }
}

fn write_once(certificate: &PathBuf, key: &PathBuf, made: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::fs::write(certificate, made.cert.pem()).expect("written");
        std::fs::write(key, made.signing_key.serialize_pem()).expect("written");
    });
}

#[test]
fn a_stream_that_the_peer_stops_is_told_though_nothing_is_written_to_it() {
    let mut world = World::new(ALPN[0]);
    // A request of the client, answered and then quiet, as a subscription is.
    world.client.stream_send(0, b"subscribe", false).expect("sent");
    world.exchange();
    world.pump(|io| io.write(StreamId(0), b"ok", false).is_err());
    world.exchange();
    world.read_all();
    assert_eq!(world.record.stopped, []);
    world.client.stream_shutdown(0, Shutdown::Read, 7).expect("stopped");
    world.exchange();
    assert_eq!(world.record.stopped, [(0, 7)]);
}

#[test]
fn a_blocked_session_is_pumped_again_only_when_something_came() {
    let mut world = World::new(ALPN[0]);
    let mut stream = None;
    let blocked = world.pump(|io| {
        let id = io.open_uni().expect("a stream");
        stream = Some(id);
        io.write(id, &vec![0; 1 << 20], false).expect("open") < 1 << 20
    });
    assert!(blocked, "the congestion window of a fresh connection is smaller");
    for _ in 0..5 {
        assert_eq!(world.flush(), [], "no news from the peer, no room");
    }
    assert!(world.down());
    world.read_all();
    assert!(world.up(), "acknowledgements");
    assert_eq!(world.flush(), [world.session()]);
    assert_eq!(world.flush(), []);
    world.endpoint.wake(world.session());
    assert_eq!(world.flush(), [world.session()], "it was woken");
    world.endpoint.wake(SessionId(1));
    assert_eq!(world.flush(), [], "a session that is not there");
}

#[test]
fn streams_that_nobody_wants_give_their_credit_back() {
    let mut world = World::new(ALPN[0]);
    // The server grants 128 streams at a time.
    for number in 0..400 {
        let id = 2 + 4 * number;
        assert_eq!(world.client.stream_send(id, b"media", false), Ok(5), "stream {number}");
        world.exchange();
        world.pump(|io| {
            io.stop(StreamId(id), 3);
            false
        });
        world.exchange();
        assert!(world.client.stream_send(id, b"more", true).is_ok());
        world.exchange();
    }
    assert_eq!(world.record.ended.len(), 400);
}

#[test]
fn http3_without_a_session_is_closed_in_time() {
    let mut world = World::new(ALPN[1]);
    assert_eq!(world.record.opened, []);
    let due = world.endpoint.next_timeout().expect("a timer");
    assert!(due <= world.now + SETUP_TIMEOUT);
    world.now += SETUP_TIMEOUT - Duration::from_millis(1);
    world.endpoint.handle_timeouts(world.now, &mut world.record);
    world.exchange();
    assert!(!world.client.is_draining());
    world.now += Duration::from_millis(2);
    world.endpoint.handle_timeouts(world.now, &mut world.record);
    world.exchange();
    let error = world.client.peer_error().expect("closed by the server");
    assert_eq!((error.is_app, error.error_code), (true, 0x100));
}

#[test]
fn a_draining_endpoint_refuses_at_the_first_packet_and_keeps_who_is_there() {
    let mut world = World::new(ALPN[0]);
    world.endpoint.refuse_new();
    let refused = world.connect(ALPN[0]);
    assert!(!refused.is_established());
    let error = refused.peer_error().expect("told at once");
    assert_eq!((error.is_app, error.error_code), (false, 0x2));
    world.exchange();
    assert_eq!(world.client.peer_error(), None);
}

#[test]
fn limits_that_are_tuned_hold_from_then_on() {
    let mut world = World::new(ALPN[0]);
    let usual = EndpointLimits::default();
    let tuning =
        EndpointTuning { connections_max: 1, retry_half_open_min: usual.retry_half_open_min, visit_packets: 2 };
    world.endpoint.tune(tuning);
    world.pump(|io| {
        let id = io.open_uni().expect("a stream");
        io.write(id, &vec![0; 1 << 20], false).expect("open") < 1 << 20
    });
    world.flush();
    assert_eq!(world.wire.packets.len(), 2, "one visit");
    world.exchange();
    let before = world.endpoint.stats().refused;
    let late = world.connect(ALPN[0]);
    assert!(!late.is_established() && world.endpoint.stats().refused > before, "a second connection is one too many");
    world.endpoint.tune(EndpointTuning { connections_max: 2, ..tuning });
    assert!(world.connect(ALPN[0]).is_established());
}
