//! The endpoint against a real quiche client, over wires in memory.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quiche::{ConnectionId, RecvInfo, Shutdown};
use streams_relay_core::relay::{Pumped, Transmit};

use super::config::ALPN;
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
    packets: Vec<Vec<u8>>,
}

impl PacketBackend for Wire {
    fn recv(&mut self, _sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        Ok(0)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        datagrams
    }

    fn frame(&mut self) -> &mut [u8] {
        &mut self.frame
    }

    fn train_len_max(&self) -> usize {
        self.frame.len()
    }

    fn train_packets_max(&self) -> usize {
        64
    }

    fn send_train(&mut self, _to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent> {
        self.packets.extend(self.frame[..len].chunks(segment_len).map(<[u8]>::to_vec));
        Ok(Sent::Done)
    }

    fn flush(&mut self) -> io::Result<Sent> {
        Ok(Sent::Done)
    }

    fn local_addr(&self) -> SocketAddr {
        server()
    }

    fn wake_fd(&self) -> Option<RawFd> {
        None
    }
}

#[derive(Default)]
struct Record {
    opened: Vec<SessionId>,
    stopped: Vec<(u64, u64)>,
    /// Streams of the peer that ended, and bytes of all.
    ended: Vec<u64>,
    bytes: usize,
    closed: usize,
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

    fn datagram(&mut self, _session: SessionId, _data: &[u8]) {}

    fn session_closed(&mut self, _session: SessionId) {
        self.closed += 1;
    }
}

/// An endpoint and one client of it.
struct World {
    endpoint: Endpoint,
    wire: Wire,
    record: Record,
    client: quiche::Connection,
    now: Instant,
}

impl World {
    fn new(alpn: &[u8]) -> Self {
        let now = Instant::now();
        let ids = cid::CidScheme::new(&[7; 16], &[9; 32], 3).expect("keys have the right length");
        let limits = EndpointLimits { setup_timeout: SETUP_TIMEOUT, ..EndpointLimits::default() };
        let endpoint = Endpoint::new(0, &tls_files(), ids.into(), limits).expect("an endpoint");
        let client = connect(alpn, [5; 16]);
        let wire = Wire { frame: vec![0; 65_507], packets: Vec::new() };
        let mut world = Self { endpoint, wire, record: Record::default(), client, now };
        world.exchange();
        assert!(world.client.is_established());
        world
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
        while let Ok((len, _)) = self.client.send(&mut packet) {
            let arrival = Arrival { from: client(), to: server() };
            let toss = self.endpoint.datagram(self.now, &mut packet[..len], arrival, &mut self.wire, &mut self.record);
            assert_eq!(toss, None);
            any = true;
        }
        any
    }

    /// One flush; which sessions asked to be pumped.
    fn flush(&mut self) -> Vec<SessionId> {
        let mut writable = Vec::new();
        self.endpoint.flush(self.now, &mut self.wire, &mut self.record, &mut writable).expect("the wire takes all");
        writable
    }

    /// The endpoint's packets to the client.
    fn down(&mut self) -> bool {
        let packets = std::mem::take(&mut self.wire.packets);
        for mut packet in packets.iter().cloned() {
            let _ = self.client.recv(&mut packet, RecvInfo { from: server(), to: client() });
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

    fn read_all(&mut self) {
        let mut buffer = [0; 4096];
        for id in self.client.readable() {
            while self.client.stream_recv(id, &mut buffer).is_ok_and(|(len, fin)| len > 0 && !fin) {}
        }
    }
}

fn connect(alpn: &[u8], id: [u8; 16]) -> quiche::Connection {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
    config.set_application_protos(&[alpn]).expect("an ALPN");
    config.verify_peer(false);
    config.set_initial_max_data(1 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_stream_data_bidi_remote(1 << 16);
    config.set_initial_max_stream_data_bidi_local(1 << 16);
    config.set_initial_max_streams_uni(16);
    config.set_initial_max_streams_bidi(16);
    let id = ConnectionId::from_ref(&id);
    quiche::connect(None, &id, client(), server(), &mut config).expect("a client")
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
