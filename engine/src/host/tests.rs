use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use streams_ingest::RtmpLimits;

use super::*;
use crate::backend::sink;
use crate::edge::admission::PlaceLimits;
use crate::embedded;

/// Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a session takes at a time.
const SLICE_LEN: u64 = 2_048;

/// Settings of a host whose RTMP listens at the address.
pub(crate) fn settings(places: PlaceLimits) -> (HostSettings, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rtmp =
        RtmpSettings { handshake_timeout: PATIENCE, idle_timeout: PATIENCE, places, limits: RtmpLimits::default() };
    let mailbox = Mailbox::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    (HostSettings { rtmp, listener, packets: Vec::new(), mailbox, stop }, address)
}

/// A host that the test turns by hand.
struct Turned {
    host: Host,
    rtmp: SocketAddr,
    _folder: embedded::tests::Folder,
}

impl Turned {
    fn new(name: &str, places: PlaceLimits) -> Self {
        let (embedded, folder) = embedded::tests::settings(name);
        let (backend, _wire) = sink(embedded.local, embedded.frames);
        let (settings, rtmp) = settings(places);
        let parts = embedded::parts(&embedded, Box::new(backend)).unwrap();
        Self { host: Host::new(parts, settings).unwrap(), rtmp, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.rtmp).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// One poll of one task at most; what it took of encoders' bytes.
    fn step(&mut self) -> u64 {
        let before = self.host.shard.borrow_mut().ingest_stats().bytes;
        self.host.reactor.look(Instant::now());
        self.host.executor.try_tick();
        self.host.shard.borrow_mut().ingest_stats().bytes - before
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.step();
        }
    }

    fn open(&self) -> u64 {
        self.host.shard.borrow_mut().ingest_stats().open
    }
}

fn is_closed(mut socket: &TcpStream) -> bool {
    match socket.read(&mut [0; 64]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn one_step_of_a_connection_takes_a_slice_and_the_others_have_their_turn_between() {
    let places = PlaceLimits { unpublished_max: 4, unpublished_address_max: 4, publishing_max: 4 };
    let mut turned = Turned::new("slices", places);
    // C0, C1, C2, then SET_CHUNK_SIZE 1 and 58 KB of messages without a byte, all at once.
    let mut bytes = vec![0; 1 + 2 * 1_536];
    bytes[0] = 3;
    bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0]);
    bytes.resize(60 << 10, 0xc6);
    let mut socket = turned.connect();
    socket.set_nonblocking(false).unwrap();
    let client = std::thread::spawn(move || {
        // The server may close before it has taken all.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let (mut total, mut most, deadline) = (0, 0, Instant::now() + PATIENCE);
    while total == 0 || turned.open() > 0 {
        assert!(Instant::now() < deadline, "the connection does not end");
        let taken = turned.step();
        (total, most) = (total + taken, most.max(taken));
    }
    drop(turned);
    client.join().unwrap();
    assert!(total >= SLICE_LEN, "it was read: {total}");
    assert!(most <= SLICE_LEN, "{most} bytes were taken at once");
}

#[test]
fn the_oldest_silent_connection_of_an_address_goes_for_a_newer_one() {
    let places = PlaceLimits { unpublished_max: 8, unpublished_address_max: 3, publishing_max: 1 };
    let mut turned = Turned::new("silent", places);
    let first: Vec<TcpStream> = (0..3).map(|_| turned.connect()).collect();
    turned.until("three are in", |turned| turned.open() == 3);
    let newer = [turned.connect(), turned.connect()];
    turned.until("the two oldest are closed", |_| first.iter().take(2).all(is_closed));
    turned.until("their tasks are gone", |turned| turned.open() == 3);
    assert!(!is_closed(&first[2]) && !newer.iter().any(is_closed));
    assert_eq!(turned.host.shard.borrow_mut().ingest_stats().refused, 2);
}
