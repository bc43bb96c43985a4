//! The memory that AF_XDP frames live in, and which frame belongs to whom.
//!
//! ```text
//!   | receive frames ... | send frames of shard 0 ... | send frames of shard 1 ... |
//! ```
//!
//! One UMEM serves one queue: of one shard, or of all shards when they share the queue. A frame has one owner at each moment: the
//! kernel, while it is in the fill or tx ring or between them and the rx or completion ring, else the shard that took it out.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::net::sockopt::set_xdp_umem_reg;
use rustix::net::xdp::{XdpUmemReg, XdpUmemRegFlags};

/// Bytes of a frame. The kernel keeps 256 in front of a received packet (XDP_PACKET_HEADROOM), so packets of a 1500-byte MTU
/// fit with a VLAN tag.
pub(super) const FRAME_LEN: usize = 2_048;
const HUGE_PAGE_LEN: usize = 2 << 20;

/// The frames of one queue.
pub(super) struct Umem {
    memory: NonNull<u8>,
    len: usize,
    huge: bool,
    receive_frames: usize,
    send_frames: usize,
}

// SAFETY: the memory is shared by design; who may touch which frame is told by the rings, and `frame` and `frame_mut` leave that
// duty to their callers.
unsafe impl Send for Umem {}
// SAFETY: as above; `&Umem` gives no access that needs more.
unsafe impl Sync for Umem {}

impl Umem {
    /// Memory for `receive_frames`, and `send_frames` for each of `shards`. Huge pages when the machine has them free.
    pub(super) fn new(receive_frames: usize, send_frames: usize, shards: usize) -> io::Result<Self> {
        let frames = receive_frames + send_frames * shards;
        let len = (frames * FRAME_LEN).next_multiple_of(HUGE_PAGE_LEN);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        let map = |flags| {
            // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, flags) }
        };
        let (memory, huge) = match map(flags | MapFlags::HUGETLB) {
            Ok(memory) => (memory, true),
            Err(_) => (map(flags)?, false),
        };
        let memory = NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("memory was mapped at address 0"))?;
        Ok(Self { memory, len, huge, receive_frames, send_frames })
    }

    /// Whether it lies in huge pages.
    pub(super) fn is_huge(&self) -> bool {
        self.huge
    }

    /// Makes it the socket's memory.
    pub(super) fn register(&self, socket: impl AsFd) -> io::Result<()> {
        let registration = XdpUmemReg {
            addr: self.memory.as_ptr().expose_provenance() as u64,
            len: self.len as u64,
            chunk_size: FRAME_LEN as u32,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        Ok(set_xdp_umem_reg(socket, registration)?)
    }

    /// The frames to receive into.
    pub(super) fn receive_frames(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.receive_frames).map(|frame| (frame * FRAME_LEN) as u64)
    }

    /// The frames that a shard sends from; `shard` counts from the first that shares this memory.
    pub(super) fn send_frames(&self, shard: usize) -> impl Iterator<Item = u64> + use<> {
        let first = self.receive_frames + shard * self.send_frames;
        (first..first + self.send_frames).map(|frame| (frame * FRAME_LEN) as u64)
    }

    /// The shard whose frame this is; `None` for receive frames.
    pub(super) fn sender_of(&self, address: u64) -> Option<usize> {
        let frame = (address / FRAME_LEN as u64) as usize;
        frame.checked_sub(self.receive_frames).map(|frame| frame / self.send_frames.max(1))
    }

    /// Bytes `start..start + len`, `None` when they do not lie within one frame.
    ///
    /// # Safety
    /// The caller owns the frame, and nobody writes to it while the slice lives.
    pub(super) unsafe fn frame(&self, start: u64, len: usize) -> Option<&[u8]> {
        let start = self.checked(start, len)?;
        // SAFETY: inside the mapping, which is initialised (the kernel zeroes it) and lives as long as `self`; the caller
        // keeps everybody from writing.
        Some(unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), len) })
    }

    /// The same for writing.
    ///
    /// # Safety
    /// The caller owns the frame, and nobody else reads or writes it while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn frame_mut(&self, start: u64, len: usize) -> Option<&mut [u8]> {
        let start = self.checked(start, len)?;
        // SAFETY: inside the mapping, which lives as long as `self`; the caller keeps everybody else away.
        Some(unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(start), len) })
    }

    fn checked(&self, start: u64, len: usize) -> Option<usize> {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(len)?;
        let within_one = len > 0 && start / FRAME_LEN == (end - 1) / FRAME_LEN;
        (within_one && end <= self.len).then_some(start)
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; the sockets that use it hold their own reference to its pages.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.len) };
    }
}

/// The start of the frame that an address lies in.
pub(super) fn frame_start(address: u64) -> u64 {
    address & !(FRAME_LEN as u64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_one_owner_and_no_slice_crosses_a_frame() {
        let umem = Umem::new(8, 4, 3).unwrap();
        let frames: Vec<u64> =
            umem.receive_frames().chain((0..3).flat_map(|shard| umem.send_frames(shard).collect::<Vec<_>>())).collect();
        let distinct: std::collections::BTreeSet<u64> = frames.iter().copied().collect();
        assert_eq!((frames.len(), distinct.len()), (20, 20));
        assert!(umem.receive_frames().all(|frame| umem.sender_of(frame).is_none()));
        for shard in 0..3 {
            assert!(umem.send_frames(shard).all(|frame| umem.sender_of(frame + 100) == Some(shard)));
        }
        // SAFETY: nobody else has this memory.
        unsafe {
            assert!(umem.frame(0, FRAME_LEN).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)));
            assert!(umem.frame(1, FRAME_LEN).is_none() && umem.frame(0, 0).is_none());
            assert!(umem.frame(u64::MAX, 2).is_none() && umem.frame(umem.len as u64, 1).is_none());
            umem.frame_mut(FRAME_LEN as u64, 4).unwrap().copy_from_slice(b"abcd");
            assert_eq!(umem.frame(FRAME_LEN as u64, 4), Some(&b"abcd"[..]));
        }
        assert_eq!(frame_start(FRAME_LEN as u64 + 256), FRAME_LEN as u64);
    }
}
