//! No wake of a hosted shard is lost or late, whatever brings it.
//!
//! The shard has nothing that would wake it besides: housekeeping comes once an hour, and there are no spare timers. A wake that
//! is lost is so missed for good.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use glommio::executor;
use rustix::fs::{OFlags, fcntl_setfl};

use super::executor::{core_of, make};
use super::files::guarded;
use super::tests::{ENTRIES, plane, settings};
use super::{HostedListener, HostedStream, Mailbox, sleep_until};
use crate::backend::{PacketBackend, Sent};
use crate::edge::admission::PlaceLimits;

/// Wakes of one run.
const WAKES: u32 = 20_000;
/// None is later.
const LATE_MAX: Duration = Duration::from_millis(50);
/// A wake that did not come by then is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Gaps between wakes go up to 2^12 us and are as often short as long.
const GAP_EXPONENT_MAX: f64 = 12.0;
const HOUR: Duration = Duration::from_secs(3_600);
const PLACES: PlaceLimits = PlaceLimits { unpublished_max: 4, unpublished_address_max: 4, publishing_max: 4 };

/// What wakes the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// On the kernel's socket.
    Datagram,
    /// On another descriptor of the backend, as AF_XDP has: a pipe stands in for it.
    Frame,
    /// Another shard's.
    Bell,
    /// Bytes for an edge task.
    Tcp,
    /// Of an edge task.
    Timer,
    /// A rename by the blocking thread.
    File,
}

const KINDS: [Kind; 6] = [Kind::Datagram, Kind::Frame, Kind::Bell, Kind::Tcp, Kind::Timer, Kind::File];

/// The shard noticed something at `at`, and the edge knows itself since when it was due.
struct Noticed {
    kind: Kind,
    since: Option<Instant>,
    at: Instant,
}

/// A backend that tells of whatever its turns find.
struct Probe {
    socket: UdpSocket,
    pipe: PipeReader,
    bell: Arc<AtomicBool>,
    noticed: Sender<Noticed>,
    frame: [u8; 1],
}

impl Probe {
    fn tell(&self, kind: Kind) {
        // The test has failed already when nobody listens.
        let _ = self.noticed.send(Noticed { kind, since: None, at: Instant::now() });
    }
}

impl PacketBackend for Probe {
    fn recv(&mut self, _: &mut dyn FnMut(&[u8], SocketAddr)) -> std::io::Result<usize> {
        let mut found = 0;
        let mut buffer = [0; 16];
        while self.socket.recv(&mut buffer).is_ok() {
            self.tell(Kind::Datagram);
            found += 1;
        }
        while self.pipe.read(&mut buffer[..1]).is_ok_and(|len| len == 1) {
            self.tell(Kind::Frame);
            found += 1;
        }
        if self.bell.swap(false, Ordering::SeqCst) {
            self.tell(Kind::Bell);
            found += 1;
        }
        Ok(found)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        datagrams
    }

    fn frame(&mut self, _: SocketAddr) -> &mut [u8] {
        &mut self.frame
    }

    fn train_len_max(&self) -> usize {
        1
    }

    fn train_packets_max(&self) -> usize {
        1
    }

    fn send_train(&mut self, _: SocketAddr, _: usize, _: usize) -> std::io::Result<Sent> {
        Ok(Sent::Done)
    }

    fn flush(&mut self) -> std::io::Result<Sent> {
        Ok(Sent::Done)
    }

    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }
}

/// An edge task that does what it is told by bytes: a kind, then microseconds.
async fn guest(listener: HostedListener, noticed: Sender<Noticed>, mut file: [PathBuf; 2]) {
    let stream = HostedStream::new(listener.accept().await.unwrap().0).unwrap();
    let mut order = [0; 5];
    loop {
        let mut had = 0;
        while had < order.len() {
            match stream.read(&mut order[had..], Instant::now() + HOUR).await {
                Ok(0) | Err(_) => return,
                Ok(len) => had += len,
            }
        }
        let kind = KINDS[usize::from(order[0])];
        let mut since = None;
        match kind {
            Kind::Timer => {
                let [_, micros @ ..] = order;
                let due = Instant::now() + Duration::from_micros(u32::from_ne_bytes(micros).into());
                sleep_until(due).await;
                since = Some(due);
            }
            Kind::File => {
                since = Some(Instant::now());
                let [from, to] = file.clone();
                guarded(executor().spawn_blocking(move || std::fs::rename(from, to).unwrap())).await;
                file.reverse();
            }
            _ => {}
        }
        let _ = noticed.send(Noticed { kind, since, at: Instant::now() });
    }
}

/// The test's ends of everything.
struct Driver {
    datagrams: UdpSocket,
    frames: PipeWriter,
    bell: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    edge: TcpStream,
    noticed: Receiver<Noticed>,
    /// `/proc/self/task/<thread>/schedstat` of the shard.
    schedstat: PathBuf,
    random: u64,
}

impl Driver {
    /// xorshift64*, which is enough to tell runs apart and to repeat one.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn gap(&mut self) -> Duration {
        let exponent = (self.random() >> 11) as f64 / (1u64 << 53) as f64 * GAP_EXPONENT_MAX;
        Duration::from_micros(exponent.exp2() as u64)
    }

    fn wake(&mut self, kind: Kind) -> Instant {
        let micros = u32::try_from(self.gap().as_micros()).unwrap();
        let now = Instant::now();
        match kind {
            Kind::Datagram => {
                self.datagrams.send(&[1]).unwrap();
            }
            Kind::Frame => {
                self.frames.write_all(&[1]).unwrap();
            }
            Kind::Bell => {
                self.bell.store(true, Ordering::SeqCst);
                self.mailbox.wake();
            }
            Kind::Tcp | Kind::Timer | Kind::File => {
                let at = KINDS.iter().position(|one| *one == kind).unwrap();
                let mut order = vec![u8::try_from(at).unwrap()];
                order.extend_from_slice(&micros.to_ne_bytes());
                self.edge.write_all(&order).unwrap();
            }
        }
        now
    }

    /// How long the shard's thread stood ready while its core was given to others, and so did this one.
    fn kept_waiting(&self) -> Duration {
        let of = |path: &std::path::Path| -> u64 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
        };
        Duration::from_nanos(of(&self.schedstat) + of("/proc/thread-self/schedstat".as_ref()))
    }

    /// One to three kinds at once; the latest of them.
    fn round(&mut self, at: u32) -> Vec<(Kind, Duration)> {
        std::thread::sleep(self.gap());
        let count = [1, 1, 2, 3][(self.random() >> 32) as usize % 4];
        let first = (self.random() >> 32) as usize;
        let kinds: Vec<Kind> = (0..count).map(|nth| KINDS[(first + nth * 5) % KINDS.len()]).collect();
        let before = self.kept_waiting();
        let sent: Vec<(Kind, Instant)> = kinds.iter().map(|kind| (*kind, self.wake(*kind))).collect();
        let mut late = Vec::new();
        while late.len() < sent.len() {
            let Ok(Noticed { kind, since, at: noticed_at }) = self.noticed.recv_timeout(PATIENCE) else {
                panic!("a wake is lost: round {at}, {kinds:?} of which {late:?} came");
            };
            let since = since.or_else(|| sent.iter().find(|one| one.0 == kind).map(|one| one.1));
            let lateness = noticed_at.saturating_duration_since(since.expect("what was not sent did not come"));
            late.push((kind, lateness));
        }
        // A machine that gave the core to somebody else is no host that forgot.
        let kept = self.kept_waiting().saturating_sub(before);
        late.into_iter().map(|(kind, lateness)| (kind, lateness.saturating_sub(kept))).collect()
    }
}

/// Keeps the other core, or the only one, at work until it is dropped.
struct Load(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Load {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let cores = core_affinity::get_core_ids().unwrap_or_default();
            if let Some(core) = cores.last() {
                core_affinity::set_for_current(*core);
            }
            while !told.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// A hosted shard on the first core.
struct Hosted {
    driver: Driver,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

fn host(random: u64, housekeeping: Duration) -> Hosted {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.connect(socket.local_addr().unwrap()).unwrap();
    let (pipe, frames) = std::io::pipe().unwrap();
    fcntl_setfl(&pipe, OFlags::NONBLOCK).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    edge.set_nodelay(true).unwrap();
    let (tell, noticed) = channel();
    let (tell_thread, thread_id) = channel();
    let bell = Arc::new(AtomicBool::new(false));
    let (mut settings, _) = settings(PLACES);
    settings.packets = vec![socket.try_clone().unwrap().into(), pipe.try_clone().unwrap().into()];
    let (mailbox, stop) = (settings.mailbox.clone(), settings.stop.clone());
    let probe = Probe { socket, pipe, bell: bell.clone(), noticed: tell.clone(), frame: [0] };
    let thread = std::thread::spawn(move || {
        make(0, core_of(0), ENTRIES).unwrap().run(async move {
            let (plane, _folder) = plane(format!("wakes-{random}"), Box::new(probe), settings);
            plane.shard.borrow_mut().keep_house_every(housekeeping);
            let file = ["a", "b"].map(|name| std::env::temp_dir().join(format!("streams-wakes-{random}-{name}")));
            std::fs::write(&file[0], "").unwrap();
            plane.edge.spawner.spawn(guest(HostedListener::new(listener).unwrap(), tell, file.clone()));
            // From here on the shard is there.
            tell_thread.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            plane.run().await.unwrap();
            file.iter().for_each(|file| drop(std::fs::remove_file(file)));
        });
    });
    let schedstat = format!("/proc/self/task/{}/schedstat", thread_id.recv().unwrap()).into();
    let driver = Driver { datagrams, frames, bell, mailbox, edge, noticed, schedstat, random };
    Hosted { driver, stop, thread }
}

impl Hosted {
    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.driver.mailbox.wake();
        assert!(self.thread.join().is_ok());
    }
}

fn seed() -> u64 {
    let mut seed = [0; 8];
    std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut seed)).unwrap();
    u64::from_ne_bytes(seed) | 1
}

#[test]
fn every_wake_of_a_hosted_shard_comes_and_comes_in_time() {
    let seed = seed();
    println!("seed {seed}");
    let _load = Load::start();
    let mut hosted = host(seed, HOUR);
    let mut lateness = KINDS.map(|kind| (kind, Vec::new()));
    let (mut wakes, mut rounds) = (0, 0);
    while wakes < WAKES {
        for (kind, late) in hosted.driver.round(rounds) {
            assert!(late <= LATE_MAX, "{kind:?} was {late:?} late in round {rounds} of seed {seed}");
            lateness.iter_mut().find(|one| one.0 == kind).unwrap().1.push(late);
            wakes += 1;
        }
        rounds += 1;
    }
    for (kind, late) in &mut lateness {
        late.sort_unstable();
        let of = |percent: usize| late[late.len() * percent / 100];
        println!(
            "{kind:?}: {} wakes, p50 {:?}, p99 {:?}, latest {:?}",
            late.len(),
            of(50),
            of(99),
            late[late.len() - 1]
        );
        assert!(late.len() > WAKES as usize / 12, "every kind has its share");
    }
    hosted.end();
}

#[test]
fn a_hosted_shard_that_nothing_wakes_turns_when_it_is_due() {
    // What lies before the door without a ring is found by the next turn.
    let interval = Duration::from_millis(2);
    let hosted = host(seed(), interval);
    for _ in 0..200 {
        let before = hosted.driver.kept_waiting();
        hosted.driver.bell.store(true, Ordering::SeqCst);
        let stored = Instant::now();
        let noticed = hosted.driver.noticed.recv_timeout(PATIENCE).expect("the shard turns by itself");
        let late = noticed.at.saturating_duration_since(stored + interval);
        let kept = hosted.driver.kept_waiting().saturating_sub(before);
        assert!(late.saturating_sub(kept) <= LATE_MAX, "{late:?}, of which {kept:?} the core was away");
    }
    hosted.end();
}
