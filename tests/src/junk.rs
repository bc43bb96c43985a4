//! Datagrams that no viewer sends, at any rate.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use crate::Namespace;

/// Length of a client's Initial (RFC 9000 §14.1).
pub const INITIAL_LEN: usize = 1_200;
/// Source ports of a flood: several, so that every queue and shard gets its share.
const SOCKETS: usize = 8;
/// Datagrams that are handed to the kernel at once.
const BATCH: usize = 32;
/// Datagrams of each kind that a flood keeps ready; each gets a fresh connection id before it leaves.
const READY: usize = 512;

/// Reproducible noise (xorshift, Marsaglia 2003).
pub struct Noise(u64);

impl Noise {
    /// From a seed, which is printed.
    pub fn new() -> Self {
        let seed = 0x9e37_79b9_7f4a_7c15u64;
        println!("seed {seed:#x}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// An Initial of QUIC version 1 that nobody can decrypt: ids of 8 and 0 bytes, no token, a length that fits.
    pub fn initial(&mut self) -> Vec<u8> {
        let mut junk = self.bytes(INITIAL_LEN);
        junk[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        junk[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
        junk
    }

    /// A short header with the fixed bit, as long as a packet of QUIC may be.
    pub fn short_header(&mut self) -> Vec<u8> {
        let len = 21 + (self.next() % 60) as usize;
        let mut junk = self.bytes(len);
        junk[0] = 0x40 | (junk[0] & 0x3f);
        junk
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

impl Default for Noise {
    fn default() -> Self {
        Self::new()
    }
}

/// Half junk Initials, half junk short headers of which every second one lacks the fixed bit, at a steady rate until it is ended.
pub struct Flood {
    ending: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    since: Instant,
    sending: JoinHandle<()>,
}

impl Flood {
    /// Begins to send `rate` datagrams a second out of a namespace.
    pub fn start(namespace: &Namespace, to: SocketAddr, rate: u64) -> Self {
        let bound = || UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        let sockets: Vec<UdpSocket> = namespace.inside(|| (0..SOCKETS).map(|_| bound()).collect());
        for socket in &sockets {
            socket.connect(to).expect("an address");
        }
        let (ending, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (asked, count) = (ending.clone(), sent.clone());
        let sending = std::thread::spawn(move || send(&sockets, rate, &asked, &count));
        Self { ending, sent, since: Instant::now(), sending }
    }

    /// Datagrams that the kernel took so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; datagrams sent, and in what time.
    pub fn end(self) -> (u64, Duration) {
        self.ending.store(true, Ordering::Relaxed);
        let lasted = self.since.elapsed();
        self.sending.join().expect("the flood went on");
        (self.sent.load(Ordering::Relaxed), lasted)
    }
}

fn send(sockets: &[UdpSocket], rate: u64, ending: &AtomicBool, sent: &AtomicU64) {
    /// What is due is looked at so often; a burst is a thousandth of the rate then.
    const PACE: Duration = Duration::from_millis(1);
    let mut noise = Noise::new();
    let mut initials: Vec<Vec<u8>> = (0..READY).map(|_| noise.initial()).collect();
    let mut shorts: Vec<Vec<u8>> = (0..READY).map(|_| noise.short_header()).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let (started, mut next) = (Instant::now(), 0usize);
    while !ending.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        if sent.load(Ordering::Relaxed) >= due {
            std::thread::sleep(PACE);
            continue;
        }
        for index in 0..BATCH / 2 {
            let place = (next + index) % READY;
            // Bytes of the connection id; of every second short header the fixed bit.
            initials[place][6..14].copy_from_slice(&noise.next().to_ne_bytes());
            shorts[place][1..9].copy_from_slice(&noise.next().to_ne_bytes());
            shorts[place][0] = if index % 2 == 0 { 0x40 } else { 0x00 } | (noise.next() as u8 & 0x3f);
        }
        let kinds =
            (0..BATCH / 2).map(|index| (next + index) % READY).flat_map(|place| [&initials[place], &shorts[place]]);
        let slices: Vec<[IoSlice<'_>; 1]> = kinds.map(|junk| [IoSlice::new(junk)]).collect();
        let socket = &sockets[next / (BATCH / 2) % sockets.len()];
        next += BATCH / 2;
        // A refusal comes of what an earlier one met (ICMP), and of a full queue: the next batch is tried.
        if let Ok(taken) = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, [None; BATCH], [], MsgFlags::empty()) {
            sent.fetch_add(taken.count() as u64, Ordering::Relaxed);
        }
    }
}
