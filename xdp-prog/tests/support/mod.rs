//! Shared by the tests of the programs: steering, connection ids, and one run of the XDP program over one frame.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod netns;
pub mod packet;

use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;
use streams_xdp_prog::{Counters, Metadata, PortClass, SteerProgram, Steering, SteeringMode, XdpError, cid_mask};

pub const QUIC_PORT: u16 = 4433;
pub const SRT_PORT: u16 = 9710;
pub const WEBRTC_PORT: u16 = 8189;

/// `linux/if_xdp.h`
const XDP_RX_RING: libc::c_int = 2;

/// Four shards, epoch 5, the ports above.
pub fn steering(mode: SteeringMode) -> Steering {
    Steering {
        mode,
        shards: 4,
        cid_epoch: 5,
        cid_mask_key: *b"\x00\xffmask key \x80\x7f\x01~\xfe",
        ports: vec![(QUIC_PORT, PortClass::Quic), (SRT_PORT, PortClass::Srt), (WEBRTC_PORT, PortClass::WebRtc)],
        addresses: Vec::new(),
    }
}

/// Repeatable bytes (SplitMix64), so that a failure can be run again.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// A connection id of ours for `shard`, which need not exist; its MAC is random.
pub fn cid_of(steering: &Steering, shard: u8, random: &mut Random) -> [u8; 16] {
    let mut cid: [u8; 16] = random.bytes();
    cid[0] = (cid[0] & 0x1f) | (steering.cid_epoch << 5);
    let nonce: [u8; 8] = cid[2..10].try_into().expect("eight bytes");
    cid[1] = shard ^ cid_mask(&steering.cid_mask_key, &nonce);
    cid
}

/// Says by name that a test did not run. Not by `eprintln!`, whose output the test harness hides when a test passes.
pub fn did_not_run(test: &str, why: &str) {
    let line = format!("{test} did not run: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// `None`, said aloud, where the rights are missing.
pub fn with_rights<T>(test: &str, result: Result<T, XdpError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(XdpError::NoRights) => {
            did_not_run(test, "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// An AF_XDP socket with a receive ring, bound to nothing: enough to sit in the map, so that a redirect can be told from a
/// pass. `BPF_PROG_TEST_RUN` stops before it would deliver.
pub fn unbound_xsk() -> OwnedFd {
    // SAFETY: a plain system call; the descriptor is checked and has no other owner.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0, "AF_XDP socket: {}", std::io::Error::last_os_error());
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let entries: u32 = 64;
    // SAFETY: the option's value is a u32 that lives during the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, XDP_RX_RING, (&raw const entries).cast(), 4) };
    assert_eq!(result, 0, "XDP_RX_RING: {}", std::io::Error::last_os_error());
    socket
}

/// How a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Pass,
    NoSocket,
    UdpLength,
    TooShort,
    FixedBit,
    CidLength,
    NoMetadata,
    Redirected { index: usize, metadata: Metadata, wrong_shard: bool },
}

/// The loaded program with sockets at the first `shards` indices.
pub struct Bench {
    pub program: SteerProgram,
    pub steering: Steering,
    sockets: Vec<OwnedFd>,
}

impl Bench {
    pub fn new(test: &str, steering: Steering) -> Option<Self> {
        let program = with_rights(test, SteerProgram::load(&steering))?;
        let sockets: Vec<OwnedFd> = (0..steering.shards).map(|_| unbound_xsk()).collect();
        for (index, socket) in (0..).zip(&sockets) {
            program.set_socket(index, socket.as_fd()).expect("an XSK with a ring");
        }
        Some(Self { program, steering, sockets })
    }

    /// Closes the socket of one shard.
    pub fn close(&mut self, index: usize) {
        self.sockets.swap_remove(index);
        // The others keep their places in the map; which descriptor is whose does not matter for unbound sockets.
    }

    pub fn run(&self, frame: &[u8]) -> End {
        self.run_with_foreign_metadata(&[], frame)
    }

    /// Runs the program over `frame` behind metadata that somebody else wrote. Checks on the way that the frame comes out
    /// unchanged, that verdict and counters agree, and that the frame was counted once.
    pub fn run_with_foreign_metadata(&self, foreign: &[u8], frame: &[u8]) -> End {
        let before = self.program.counters().expect("counters");
        let (verdict, metadata_len, out) = test_run(&self.program, foreign, frame);
        let after = self.program.counters().expect("counters");
        assert_eq!(after.rx, before.rx + 1);
        let (first, rest) = out[metadata_len..].split_at(out.len() - metadata_len - frame.len());
        assert_eq!(rest, frame, "the frame itself is never written to");

        let ends: Vec<End> = [
            (End::Pass, after.pass - before.pass),
            (End::NoSocket, after.no_socket - before.no_socket),
            (End::UdpLength, after.malformed_udp_length - before.malformed_udp_length),
            (End::TooShort, after.malformed_too_short - before.malformed_too_short),
            (End::FixedBit, after.malformed_fixed_bit - before.malformed_fixed_bit),
            (End::CidLength, after.malformed_cid_length - before.malformed_cid_length),
            (End::NoMetadata, after.no_metadata - before.no_metadata),
        ]
        .into_iter()
        .filter_map(|(end, count)| (count != 0).then_some(end))
        .chain(redirect(&before, &after, first))
        .collect();
        let [end] = ends[..] else { panic!("one end a frame, not {ends:?}") };
        let expected = match end {
            End::Pass | End::NoSocket | End::NoMetadata => libbpf_sys::XDP_PASS,
            End::Redirected { .. } => libbpf_sys::XDP_REDIRECT,
            _ => libbpf_sys::XDP_DROP,
        };
        assert_eq!(verdict, expected, "{end:?}");
        assert_eq!(out[..metadata_len], *foreign, "what others put before the frame stays");
        if !matches!(end, End::Redirected { .. }) {
            assert!(first.is_empty(), "{end:?} leaves the frame as it came");
        }
        end
    }
}

fn redirect(before: &Counters, after: &Counters, first: &[u8]) -> Option<End> {
    let differ = |&index: &usize| after.redirected[index] != before.redirected[index];
    let index = (0..after.redirected.len()).find(differ)?;
    let metadata = Metadata::parse(first).expect("metadata of ours");
    Some(End::Redirected { index, metadata, wrong_shard: after.wrong_shard != before.wrong_shard })
}

/// Verdict, bytes of others' metadata before the packet, metadata and packet.
fn test_run(program: &SteerProgram, foreign: &[u8], frame: &[u8]) -> (u32, usize, Vec<u8>) {
    let input = [foreign, frame].concat();
    let mut output = vec![0u8; input.len() + 256];
    let context_in =
        libbpf_sys::xdp_md { data: foreign.len() as u32, data_end: input.len() as u32, ..Default::default() };
    let mut context_out = libbpf_sys::xdp_md::default();
    // SAFETY: all bits zero is a value of this struct of integers and pointers.
    let mut options: libbpf_sys::bpf_test_run_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of_val(&options) as libbpf_sys::size_t;
    options.data_in = input.as_ptr().cast();
    options.data_size_in = input.len() as u32;
    options.data_out = output.as_mut_ptr().cast();
    options.data_size_out = output.len() as u32;
    options.ctx_in = (&raw const context_in).cast();
    options.ctx_size_in = size_of_val(&context_in) as u32;
    options.ctx_out = (&raw mut context_out).cast();
    options.ctx_size_out = size_of_val(&context_out) as u32;
    // SAFETY: every pointer in `options` is to memory that lives during the call, with its length beside it.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_fd().as_raw_fd(), &raw mut options) };
    assert_eq!(result, 0, "BPF_PROG_TEST_RUN of {} bytes: {}", frame.len(), std::io::Error::from_raw_os_error(-result));
    // The kernel gives metadata and frame in one piece, and says in the context where the frame starts.
    output.truncate(options.data_size_out as usize);
    (options.retval, context_out.data as usize, output)
}
