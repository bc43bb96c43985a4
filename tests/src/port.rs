//! A packet socket on one interface: whole Ethernet frames in and out.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg, send,
    setsockopt, socket, sockopt,
};

/// The largest MTU of a testbed (9000), an Ethernet header, and room to see that a frame is longer.
pub const FRAME_LEN_MAX: usize = 9216;

/// Some 14,000 frames: 140 ms of the 100,000 a second that one core moves, so that a pause of the scheduler loses none.
const RECEIVE_BUFFER_LEN: usize = 32 << 20;

/// `PACKET_OUTGOING` of packet(7): what this machine itself sends on the interface.
const PACKET_OUTGOING: u8 = 4;

/// One interface.
pub struct Port {
    name: String,
    index: usize,
    socket: OwnedFd,
    overflowed: u32,
}

impl Port {
    /// Takes every frame that arrives on `name` from now on.
    pub fn open(name: &str) -> Result<Self, String> {
        let link = link_address(name)?;
        let failed = |what: &str, error: Errno| format!("cannot {what} for {name}: {error}; is this root?");
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .map_err(|error| failed("open a packet socket", error))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_LEN)
            .map_err(|error| failed("enlarge the receive buffer", error))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|error| failed("count overflows", error))?;
        bind(socket.as_raw_fd(), &link).map_err(|error| failed("bind the packet socket", error))?;
        Ok(Self { name: name.to_owned(), index: link.ifindex(), socket, overflowed: 0 })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Frames that the socket's buffer had no room for, as the newest frame told.
    pub fn overflowed(&self) -> u32 {
        self.overflowed
    }

    /// The next frame, if one is there.
    pub fn receive<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Errno> {
        loop {
            let mut control = cmsg_space!(u32);
            let mut parts = [IoSliceMut::new(buffer)];
            let received =
                match recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
                    Ok(received) => received,
                    Err(Errno::EAGAIN) => return Ok(None),
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Err(error),
                };
            if let Some(ControlMessageOwned::RxqOvfl(frames)) = received.cmsgs()?.next() {
                self.overflowed = frames;
            }
            let (len, from) = (received.bytes, received.address);
            // Between its opening and its binding the socket takes the frames of every interface.
            if from.is_some_and(|from| from.ifindex() == self.index && from.pkttype() != PACKET_OUTGOING) {
                return Ok(Some(buffer.get(..len).unwrap_or_default()));
            }
        }
    }

    /// Sends a frame; the kernel picks the transmit queue by the hash of its flow.
    pub fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether an error says that the interface is down or no more.
pub fn interface_is_gone(error: Errno) -> bool {
    matches!(error, Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV)
}

/// What names an interface to bind(2).
fn link_address(name: &str) -> Result<LinkAddr, String> {
    let mut all = getifaddrs().map_err(|error| format!("cannot list the interfaces: {error}"))?;
    let found =
        all.find_map(|one| (one.interface_name == name).then(|| one.address?.as_link_addr().copied()).flatten());
    found.ok_or_else(|| format!("there is no interface {name}"))
}
