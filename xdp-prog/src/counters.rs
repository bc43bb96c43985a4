//! Sums of the programs' per-processor counters.

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::error::XdpError;
use crate::skel;

/// A struct of `bpf/contract.h` that consists of `u64` counters only.
///
/// # Safety
/// `Self` is `repr(C)`, without padding, and every bit pattern is a value of it.
unsafe trait Raw: Sized {}

// SAFETY: generated from the C struct, u64 and [u64; 256] in `repr(C)`.
unsafe impl Raw for skel::steer::types::steer_counters {}
// SAFETY: as above.
unsafe impl Raw for skel::reuseport::types::reuseport_counters {}

/// The value of entry 0 for every processor.
fn read<T: Raw>(map: &MapHandle) -> Result<Vec<T>, XdpError> {
    let cpus = map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).map_err(XdpError::Counters)?;
    let values = cpus.unwrap_or_default();
    let whole = values.iter().filter(|value| value.len() >= size_of::<T>());
    // SAFETY: the bytes are at least as many as T has, read without regard to alignment, and any pattern is a T.
    Ok(whole.map(|value| unsafe { value.as_ptr().cast::<T>().read_unaligned() }).collect())
}

fn add(sums: &mut Vec<u64>, values: &[u64]) {
    sums.resize(values.len(), 0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// What the XDP program did with the frames of its interface since it was loaded, over all processors.
///
/// `rx` is the sum of `pass`, the four `malformed_*`, `no_socket`, `no_metadata` and all of `redirected`, except for frames that were under
/// way while the counters were read. The kernel does not say when a redirected frame is lost (socket on another queue, fill
/// ring empty): compare `redirected` with what the sockets received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames seen.
    pub rx: u64,
    /// Frames that are none of ours, left to the kernel's stack.
    pub pass: u64,
    /// Dropped: the UDP length is below 8, or beyond the IP packet or the frame.
    pub malformed_udp_length: u64,
    /// Dropped: too short for the QUIC header it claims to have.
    pub malformed_too_short: u64,
    /// Dropped: a QUIC short header, or a long one of version 1 or 2, without the fixed bit.
    pub malformed_fixed_bit: u64,
    /// Dropped: a connection id of more than 20 bytes in QUIC version 1 or 2.
    pub malformed_cid_length: u64,
    /// Frames of ours that found no socket at their index, left to the kernel's stack.
    pub no_socket: u64,
    /// Frames of ours for whose metadata the driver has no room, left to the kernel's stack.
    pub no_metadata: u64,
    /// Redirected to another socket than that of the shard which the short header names: to be tossed.
    pub wrong_shard: u64,
    /// Redirected, by index of the socket; 256 entries.
    pub redirected: Vec<u64>,
}

impl Counters {
    pub(crate) fn read(map: &MapHandle) -> Result<Self, XdpError> {
        let mut sums = Self::default();
        for cpu in read::<skel::steer::types::steer_counters>(map)? {
            sums.rx += cpu.rx;
            sums.pass += cpu.pass;
            sums.malformed_udp_length += cpu.malformed_udp_length;
            sums.malformed_too_short += cpu.malformed_too_short;
            sums.malformed_fixed_bit += cpu.malformed_fixed_bit;
            sums.malformed_cid_length += cpu.malformed_cid_length;
            sums.no_socket += cpu.no_socket;
            sums.no_metadata += cpu.no_metadata;
            sums.wrong_shard += cpu.wrong_shard;
            add(&mut sums.redirected, &cpu.redirected);
        }
        Ok(sums)
    }

    /// All dropped frames.
    pub fn malformed(&self) -> u64 {
        self.malformed_udp_length + self.malformed_too_short + self.malformed_fixed_bit + self.malformed_cid_length
    }

    /// All redirected frames.
    pub fn redirected_total(&self) -> u64 {
        self.redirected.iter().sum()
    }
}

/// What the program of a SO_REUSEPORT group decided since it was attached, over all processors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReuseportCounters {
    /// Datagrams that name no owner: the kernel's hash of the 4-tuple chose the socket.
    pub hashed: u64,
    /// Datagrams whose owner's socket is gone: the kernel's hash chose.
    pub no_socket: u64,
    /// Datagrams given to the socket of the shard they name, by shard; 256 entries.
    pub selected: Vec<u64>,
}

impl ReuseportCounters {
    pub(crate) fn read(map: &MapHandle) -> Result<Self, XdpError> {
        let mut sums = Self::default();
        for cpu in read::<skel::reuseport::types::reuseport_counters>(map)? {
            sums.hashed += cpu.hashed;
            sums.no_socket += cpu.no_socket;
            add(&mut sums.selected, &cpu.selected);
        }
        Ok(sums)
    }
}
