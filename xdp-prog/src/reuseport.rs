//! The program of a SO_REUSEPORT group, for the backend with kernel sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::counters::ReuseportCounters;
use crate::error::{SteeringError, XdpError};
use crate::load::{VerifierLog, key_words, silence_libbpf};
use crate::skel::reuseport::{OpenReuseportSkel, ReuseportSkelBuilder};
use crate::steering::Steering;

const NAME: &str = "reuseport";

/// Steers the datagrams of one SO_REUSEPORT group: short headers to the shard that their connection id names, everything else
/// by the kernel's hash of the 4-tuple.
///
/// The kernel keeps the program as long as the group has a socket; dropping this value only gives up the counters. A socket
/// that is closed leaves the table, and its shard's short headers are hashed from then on.
#[derive(Debug)]
pub struct ReuseportProgram {
    counters: MapHandle,
}

impl ReuseportProgram {
    /// Loads the program and attaches it to the group. `sockets[i]` is that of shard i; all are UDP, with SO_REUSEPORT, and
    /// bound to the same address and port. `mode`, `ports` and `addresses` of the steering have no meaning here.
    ///
    /// Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root); from Linux 5.19 on nothing later on this value does.
    pub fn attach(sockets: &[BorrowedFd<'_>], steering: &Steering) -> Result<Self, XdpError> {
        steering.check()?;
        if sockets.len() != usize::from(steering.shards) {
            return Err(SteeringError::Sockets { sockets: sockets.len(), shards: steering.shards }.into());
        }
        silence_libbpf();
        let mut storage = MaybeUninit::uninit();
        let mut open = ReuseportSkelBuilder::default().open(&mut storage).map_err(load_error)?;
        configure(&mut open, steering);
        let log = VerifierLog::keep(NAME, &mut open.progs.reuseport)?;
        let loaded = match open.load() {
            Ok(loaded) => loaded,
            Err(error) => return Err(log.explain(error)),
        };
        for (index, socket) in (0u32..).zip(sockets) {
            // The kernel takes a descriptor as 8 bytes here, and keeps the socket's cookie.
            let value = u64::from(socket.as_raw_fd().unsigned_abs()).to_ne_bytes();
            let result = loaded.maps.sockets.update(&index.to_ne_bytes(), &value, MapFlags::ANY);
            result.map_err(|source| XdpError::Socket {
                index,
                expected: "must be bound, UDP, with SO_REUSEPORT",
                source,
            })?;
        }
        if let Some(first) = sockets.first() {
            attach_to_group(*first, loaded.progs.reuseport.as_fd()).map_err(XdpError::Group)?;
        }
        Ok(Self { counters: MapHandle::try_from(&loaded.maps.counters).map_err(load_error)? })
    }

    /// What the program decided since it was attached.
    pub fn counters(&self) -> Result<ReuseportCounters, XdpError> {
        ReuseportCounters::read(&self.counters)
    }
}

fn configure(open: &mut OpenReuseportSkel<'_>, steering: &Steering) {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        let (key_low, key_high) = key_words(steering);
        rodata.config.key_low = key_low;
        rodata.config.key_high = key_high;
        rodata.config.shards = steering.shards.into();
        rodata.config.cid_epoch = steering.cid_epoch.into();
    }
}

fn load_error(source: libbpf_rs::Error) -> XdpError {
    XdpError::Load { program: NAME, source }
}

/// One socket stands for its whole group.
fn attach_to_group(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    // SAFETY: both descriptors are open, and the option's value is an int that lives during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_EBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
