//! From the wire of a veth pair with two queues to AF_XDP sockets, with metadata.

mod support;

use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use streams_xdp_prog::{AttachMode, Metadata, SteeringMode, XdpProgram};
use support::netns::Namespace;
use support::packet::{Packet, short};
use support::{QUIC_PORT, Random, cid_of, steering, with_rights};
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::{FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

const PATIENCE: Duration = Duration::from_secs(60);
const FLOWS: u16 = 64;
const FRAMES: u32 = 256;

/// One socket on one queue, with all its frames given to the kernel.
struct Receiver {
    umem: Umem,
    rx: RxQueue,
    _tx: TxQueue,
    _fill: FillQueue,
    _completion: xsk_rs::CompQueue,
}

impl Receiver {
    fn bind(interface: &str, queue: u32) -> Self {
        let count = NonZeroU32::new(FRAMES).expect("not zero");
        let (umem, frames) = Umem::new(UmemConfig::default(), count, false).expect("UMEM");
        let config = SocketConfig::builder()
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(BindFlags::XDP_COPY)
            .build();
        let interface: Interface = interface.parse().expect("a name");
        // SAFETY: the only socket on this UMEM and queue.
        let (tx, rx, rings) = unsafe { Socket::new(config, &umem, &interface, queue) }.expect("AF_XDP socket");
        let (mut fill, completion) = rings.expect("the first socket of its UMEM");
        // SAFETY: all frames belong to this UMEM and none is in use.
        assert_eq!(unsafe { fill.produce(&frames) }, frames.len());
        Self { umem, rx, _tx: tx, _fill: fill, _completion: completion }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }

    /// Metadata and frame of everything that has arrived. Frames are not given back: there are more than the test sends.
    fn receive(&mut self) -> Vec<(Option<Metadata>, Vec<u8>)> {
        let mut descriptors = [FrameDesc::default(); FRAMES as usize];
        // SAFETY: the descriptors are filled from the UMEM that the socket is bound to.
        let count = unsafe { self.rx.consume(&mut descriptors) };
        let read = |descriptor: &FrameDesc| {
            // SAFETY: the kernel gave us this frame, which nobody else uses until it is in the fill ring again.
            let data = unsafe { self.umem.data(descriptor) };
            let (first, frame) = data.contents().split_at(Metadata::LEN);
            (Metadata::parse(first), frame.to_vec())
        };
        descriptors[..count].iter().map(read).collect()
    }
}

/// Puts frames on the wire of an interface as they are.
fn send(interface: &str, frames: &[Vec<u8>]) {
    let name = std::ffi::CString::new(interface).expect("no NUL in a name");
    // SAFETY: plain system calls; the descriptor is checked and has no other owner, the name ends in NUL.
    let (socket, index) =
        unsafe { (libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0), libc::if_nametoindex(name.as_ptr())) };
    assert!(socket >= 0 && index > 0, "packet socket: {}", std::io::Error::last_os_error());
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all bits zero is a value of this struct of integers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    for frame in frames {
        let protocol: [u8; 2] = frame[12..14].try_into().expect("two bytes");
        address.sll_protocol = u16::from_ne_bytes(protocol);
        // SAFETY: frame and address live during the call, with their lengths beside them.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn what_is_redirected_arrives_with_its_metadata() {
    let test = "what_is_redirected_arrives_with_its_metadata";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    let mut steering = steering(SteeringMode::PerQueue);
    steering.shards = 2;
    let mut random = Random(1);
    let packets: Vec<Packet> = (0..FLOWS)
        .map(|flow| {
            let cid = cid_of(&steering, (flow % 2) as u8, &mut random);
            Packet::v4(QUIC_PORT, short(&cid)).with(|p| p.source.set_port(50000 + flow))
        })
        .collect();
    let foreign = Packet::v4(443, short(&[0xa0; 16]));
    namespace.run(|| {
        let Some(program) = with_rights(test, XdpProgram::attach("veth0", &steering, AttachMode::Native)) else {
            return;
        };
        let mut receivers = [Receiver::bind("veth0", 0), Receiver::bind("veth0", 1)];
        for (queue, receiver) in (0..).zip(&receivers) {
            program.set_socket(queue, receiver.fd()).expect("an AF_XDP socket");
        }
        let mut frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        frames.push(foreign.frame());
        send("veth1", &frames);

        let mut arrived: [Vec<(Option<Metadata>, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
        let start = Instant::now();
        // The foreign packet, sent last, is the one that is passed.
        while arrived.iter().map(Vec::len).sum::<usize>() < usize::from(FLOWS)
            || program.counters().expect("counters").pass == 0
        {
            assert!(start.elapsed() < PATIENCE, "{:?}", program.counters());
            for (arrived, receiver) in arrived.iter_mut().zip(&mut receivers) {
                arrived.extend(receiver.receive());
            }
        }
        let counters = program.counters().expect("counters");
        let lens = arrived.each_ref().map(|frames| frames.len() as u64);
        assert_eq!(&counters.redirected[..2], lens, "what was redirected is what arrived, by queue");
        assert!(lens.iter().all(|&len| len > 0), "64 flows use both queues: {lens:?}");
        assert_eq!((counters.malformed(), counters.no_socket, counters.no_metadata), (0, 0, 0));

        let mut wrong_shard = 0;
        for (queue, frames) in arrived.iter().enumerate() {
            for (metadata, frame) in frames {
                let packet = packets.iter().find(|packet| packet.frame() == *frame).expect("one of ours, unchanged");
                let metadata = metadata.expect("metadata in front of the frame");
                let owner = steering.owner(&packet.payload[1..17]);
                assert_eq!((metadata.owner, metadata.l4_offset, metadata.payload_len), (owner, 34, 57));
                wrong_shard += u64::from(owner != Some(queue as u8));
            }
        }
        assert_eq!(counters.wrong_shard, wrong_shard);
    });
}

#[test]
fn all_shards_on_queue_0_leave_the_frames_of_other_queues_to_the_kernel() {
    let test = "all_shards_on_queue_0_leave_the_frames_of_other_queues_to_the_kernel";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    let mut steering = steering(SteeringMode::SameQueue);
    steering.shards = 2;
    let mut random = Random(2);
    let mut flow = |flow| {
        let cid = cid_of(&steering, (flow % 2) as u8, &mut random);
        Packet::v6(QUIC_PORT, short(&cid)).with(|p| p.source.set_port(50000 + flow)).frame()
    };
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(&mut flow).collect();
    namespace.run(|| {
        let Some(program) = with_rights(test, XdpProgram::attach("veth0", &steering, AttachMode::Native)) else {
            return;
        };
        // Stands for both shards: which of two sockets on one queue gets a frame is the kernel's part.
        let mut receiver = Receiver::bind("veth0", 0);
        for shard in 0..2 {
            program.set_socket(shard, receiver.fd()).expect("an AF_XDP socket");
        }
        send("veth1", &frames);
        let mut arrived = Vec::new();
        let start = Instant::now();
        let counters = loop {
            assert!(start.elapsed() < PATIENCE, "{:?}", program.counters());
            arrived.extend(receiver.receive());
            let counters = program.counters().expect("counters");
            let seen = counters.redirected_total() + counters.no_socket;
            if seen == u64::from(FLOWS) && arrived.len() as u64 == counters.redirected_total() {
                break counters;
            }
        };
        assert!(counters.no_socket > 0, "64 flows use both queues: {counters:?}");
        let owned_by =
            |shard| arrived.iter().filter(|(found, _)| found.is_some_and(|m| m.owner == Some(shard))).count();
        assert_eq!(&counters.redirected[..2], [owned_by(0) as u64, owned_by(1) as u64]);
        assert_eq!(counters.wrong_shard, 0);
    });
}
