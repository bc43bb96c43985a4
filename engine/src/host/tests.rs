use std::cell::Cell;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::yield_now;
use streams_ingest::{RtmpLimits, SrtFront, SrtLimits};

use super::plane::{DataPlane, Descriptors};
use super::time::pass;
use super::*;
use crate::backend::{PacketBackend, sink};
use crate::edge::admission::PlaceLimits;
use crate::edge::http::HttpSettings;
use crate::edge::rtmp::RtmpSettings;
use crate::edge::whip::WhipSettings;
use crate::embedded;

/// Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a session takes at a time.
const SLICE_LEN: u64 = 2_048;
/// Entries of an executor's rings.
pub(super) const ENTRIES: usize = 128;

/// Settings of a host whose RTMP listens at the address.
pub(crate) fn settings(places: PlaceLimits) -> (HostSettings, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rtmp =
        RtmpSettings { handshake_timeout: PATIENCE, idle_timeout: PATIENCE, places, limits: RtmpLimits::default() };
    let srt = SrtFront::new(SrtLimits::default(), Instant::now());
    let mailbox = Mailbox::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let http = HttpSettings { places, request_timeout: PATIENCE, idle_timeout: PATIENCE };
    let whip = WhipSettings {
        places,
        connect_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        public_address: None,
        ice_servers: Vec::new(),
    };
    let datagrams = || BoundSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let http_listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = EdgeSettings { rtmp, http, whip, srt };
    let rtmps = TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = EdgeSockets { rtmp: listener, rtmps, http: http_listener, webrtc: datagrams(), srt: datagrams() };
    (HostSettings { edge, sockets, packets: Vec::new(), mailbox, stop }, address)
}

/// Runs a task in an executor of its own, on any core.
pub(super) fn run<T>(task: impl Future<Output = T>) -> T {
    executor::make(0, None, ENTRIES).unwrap().run(task)
}

/// A data plane that is alone, to be made inside an executor.
pub(super) fn plane(
    name: String,
    backend: Box<dyn PacketBackend>,
    mut settings: HostSettings,
) -> (DataPlane, embedded::tests::Folder) {
    let (embedded, folder) = embedded::tests::settings(&name);
    let mut parts = embedded::parts(&embedded, backend).unwrap();
    // Whoever knows the shard knows its bell.
    parts.mailboxes = vec![settings.mailbox.clone()];
    let packets = std::mem::take(&mut settings.packets);
    let descriptors = Descriptors::new(packets, &settings.mailbox).unwrap();
    (DataPlane::new(parts, descriptors, settings).unwrap(), folder)
}

/// A host whose shard does not turn.
struct Still {
    plane: DataPlane,
    rtmp: SocketAddr,
    _folder: embedded::tests::Folder,
}

fn still(name: &str, places: PlaceLimits) -> Still {
    let (backend, _wire) = sink(SocketAddr::from(([192, 0, 2, 1], 4433)), 2);
    let (settings, rtmp) = settings(places);
    let (plane, folder) = plane(name.to_owned(), Box::new(backend), settings);
    Still { plane, rtmp, _folder: folder }
}

impl Still {
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.rtmp).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.plane.gate.next_slice();
            pass().await;
        }
    }

    fn open(&self) -> u64 {
        self.plane.shard.borrow_mut().ingest_stats().open
    }

    /// Calls `observe` with what the last poll of a task took of encoders' bytes, after each.
    fn observe(&self, mut observe: impl FnMut(u64) + 'static) {
        let (shard, mut before) = (self.plane.shard.clone(), 0);
        *self.plane.gate.observer.borrow_mut() = Some(Box::new(move || {
            let bytes = shard.borrow_mut().ingest_stats().bytes;
            observe(bytes - before);
            before = bytes;
        }));
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
    run(async {
        let places = PlaceLimits { unpublished_max: 4, unpublished_address_max: 4, publishing_max: 4 };
        let mut still = still("slices", places);
        // C0, C1, C2, then SET_CHUNK_SIZE 1 and 58 KB of messages without a byte, all at once.
        let mut bytes = vec![0; 1 + 2 * 1_536];
        bytes[0] = 3;
        bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0]);
        bytes.resize(60 << 10, 0xc6);
        let mut socket = still.connect();
        socket.set_nonblocking(false).unwrap();
        let client = std::thread::spawn(move || {
            // The server may close before it has taken all.
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let (total, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (all, largest) = (total.clone(), most.clone());
        still.observe(move |taken| {
            all.set(all.get() + taken);
            largest.set(largest.get().max(taken));
        });
        still.until("the connection ends", |still| total.get() > 0 && still.open() == 0).await;
        still.plane.edge.end().await;
        client.join().unwrap();
        assert!(total.get() >= SLICE_LEN, "it was read: {}", total.get());
        assert!(most.get() <= SLICE_LEN, "{} bytes were taken at once", most.get());
    });
}

#[test]
fn the_oldest_silent_connection_of_an_address_goes_for_a_newer_one() {
    run(async {
        let places = PlaceLimits { unpublished_max: 8, unpublished_address_max: 3, publishing_max: 1 };
        let mut still = still("silent", places);
        let first: Vec<TcpStream> = (0..3).map(|_| still.connect()).collect();
        still.until("three are in", |still| still.open() == 3).await;
        let newer = [still.connect(), still.connect()];
        still.until("the two oldest are closed", |_| first.iter().take(2).all(is_closed)).await;
        still.until("their tasks are gone", |still| still.open() == 3).await;
        assert!(!is_closed(&first[2]) && !newer.iter().any(is_closed));
        assert_eq!(still.plane.shard.borrow_mut().ingest_stats().refused, 2);
        still.plane.edge.end().await;
        assert_eq!(still.open(), 0, "tasks end with their shard");
    });
}

#[test]
fn a_task_that_is_always_ready_leaves_the_others_and_the_turn_their_share() {
    run(async {
        let places = PlaceLimits { unpublished_max: 4, unpublished_address_max: 4, publishing_max: 4 };
        let still = still("greedy", places);
        let polls = Rc::new(Cell::new(0));
        for _ in 0..2 {
            let polls = polls.clone();
            still.plane.edge.spawner.spawn(async move {
                loop {
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_micros(150) {
                        std::hint::spin_loop();
                    }
                    polls.set(polls.get() + 1);
                    yield_now().await;
                }
            });
        }
        for slice in 1..=20 {
            still.plane.gate.next_slice();
            pass().await;
            // The second poll begins within the slice of 200 us, the third does not.
            assert!((slice..=2 * slice).contains(&polls.get()), "{} polls in {slice} slices", polls.get());
        }
        still.plane.edge.end().await;
    });
}

#[test]
fn the_memory_limit_of_a_shard_is_no_lower_than_it_was() {
    let limit = || rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let before = limit();
    allow_rings(2).unwrap();
    assert_eq!(limit().current, limit().maximum);
    assert!(limit().maximum.is_none_or(|after| before.maximum.is_some_and(|before| after >= before)));
}
