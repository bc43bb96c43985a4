//! The four rings that an AF_XDP socket shares with the kernel (`Documentation/networking/af_xdp.rst`).
//!
//! ```text
//!   fill:       we produce frames to receive into      rx: we consume received frames
//!   tx:         we produce frames to send              completion: we consume frames that were sent
//! ```
//!
//! Each has one producer and one consumer, a power of two of entries, and two free-running 32-bit positions. The kernel is the
//! other side and is trusted with the positions, as it wrote the memory to begin with; what an entry says is still checked by
//! who uses it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

/// A mapped ring with entries of `T`; a plain old data type of the kernel's ABI.
pub(super) struct Ring<T: Copy> {
    memory: NonNull<u8>,
    memory_len: usize,
    offsets: XdpRingOffset,
    mask: u32,
    /// Our own position, and the last one seen of the kernel's.
    ours: u32,
    theirs: u32,
    _entries: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone on our side of the ring, and every method that touches it takes `&mut self`
// (or reads an atomic).
unsafe impl<T: Copy + Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// Maps the ring that the kernel made with `len` entries at page offset `page` of the socket.
    pub(super) fn map(socket: impl AsFd, offsets: XdpRingOffset, len: u32, page: u64) -> io::Result<Self> {
        let memory_len = usize::try_from(offsets.desc).map_err(io::Error::other)? + len as usize * size_of::<T>();
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a fresh mapping at an address of the kernel's choice, which nothing else refers to.
        let memory =
            unsafe { mmap(std::ptr::null_mut(), memory_len, ProtFlags::READ | ProtFlags::WRITE, flags, socket, page) }?;
        let memory = NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("a ring was mapped at address 0"))?;
        Ok(Self { memory, memory_len, offsets, mask: len - 1, ours: 0, theirs: 0, _entries: PhantomData })
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the kernel put an aligned 32-bit word there, inside the mapping, which lives as long as `self`; both sides
        // access it atomically.
        unsafe { &*self.memory.as_ptr().add(offset as usize).cast::<AtomicU32>() }
    }

    fn entry(&self, position: u32) -> *mut T {
        let index = (position & self.mask) as usize;
        // SAFETY: the mask keeps the index below the number of entries, all of which lie inside the mapping.
        unsafe { self.memory.as_ptr().add(self.offsets.desc as usize).cast::<T>().add(index) }
    }

    /// Whether the kernel sleeps and has to be woken for this ring (fill and tx).
    pub(super) fn needs_wakeup(&self) -> bool {
        let flags = self.offsets.flags.map(|offset| self.word(offset).load(Ordering::Relaxed));
        // Kernels before 5.4 have no flags and are woken always.
        flags.is_none_or(|flags| flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0)
    }

    // ---- as a producer ---------------------------------------------------------------------------------------------

    /// Entries that may be produced now.
    pub(super) fn room(&mut self) -> u32 {
        let entries = self.mask + 1;
        let room = entries - self.ours.wrapping_sub(self.theirs);
        if room > 0 {
            return room;
        }
        self.theirs = self.word(self.offsets.consumer).load(Ordering::Acquire);
        entries - self.ours.wrapping_sub(self.theirs)
    }

    /// Writes an entry; `false` when the ring is full. The kernel sees it after [`Ring::submit`].
    pub(super) fn push(&mut self, value: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the entry at our position is ours until it is submitted; `room` has seen the kernel leave it.
        unsafe { self.entry(self.ours).write(value) };
        self.ours = self.ours.wrapping_add(1);
        true
    }

    /// Hands what was pushed to the kernel.
    pub(super) fn submit(&self) {
        self.word(self.offsets.producer).store(self.ours, Ordering::Release);
    }

    /// Entries that the kernel has not taken yet, exactly.
    pub(super) fn untaken(&mut self) -> u32 {
        self.theirs = self.word(self.offsets.consumer).load(Ordering::Acquire);
        self.ours.wrapping_sub(self.theirs)
    }

    // ---- as a consumer ---------------------------------------------------------------------------------------------

    /// The next entry, if there is one. The kernel may write its place again after [`Ring::release`].
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.ours == self.theirs {
            self.theirs = self.word(self.offsets.producer).load(Ordering::Acquire);
            if self.ours == self.theirs {
                return None;
            }
        }
        // SAFETY: the kernel has published this entry, and leaves it alone until it is released; `T` is plain data.
        let value = unsafe { self.entry(self.ours).read() };
        self.ours = self.ours.wrapping_add(1);
        Some(value)
    }

    /// Gives the places of popped entries back.
    pub(super) fn release(&self) {
        self.word(self.offsets.consumer).store(self.ours, Ordering::Release);
    }

    /// Entries that wait to be consumed, exactly.
    pub(super) fn waiting(&self) -> u32 {
        self.word(self.offsets.producer).load(Ordering::Acquire).wrapping_sub(self.ours)
    }
}

impl<T: Copy> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and no reference into it is left.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.memory_len) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Two rings over one file: ours, and a stand-in for the kernel's side that maps the same words with the roles swapped.
    fn pair(entries: u32) -> (Ring<u64>, Ring<u64>) {
        let memory = rustix::fs::memfd_create("ring", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(4096).unwrap();
        memory.write_at(&[0; 4096], 0).unwrap();
        let offsets = XdpRingOffset { producer: 0, consumer: 64, desc: 128, flags: Some(72) };
        let map = || Ring::map(&memory, offsets, entries, 0).unwrap();
        (map(), map())
    }

    #[test]
    fn entries_pass_in_order_and_a_full_ring_takes_no_more() {
        let (mut producer, mut consumer) = pair(4);
        let mut next = 0;
        for round in 0..10_000u64 {
            let mut pushed = 0;
            while producer.push(round * 10 + pushed) {
                pushed += 1;
            }
            assert_eq!(producer.room(), 0);
            assert_eq!(consumer.pop(), None, "nothing shows before it is submitted");
            producer.submit();
            assert_eq!(consumer.waiting(), 4);
            for index in 0..pushed {
                assert_eq!(consumer.pop(), Some(round * 10 + index));
                next += 1;
            }
            assert_eq!((consumer.pop(), producer.room()), (None, 0), "not free before it is released");
            assert_eq!(producer.untaken(), 4);
            consumer.release();
            assert_eq!((producer.untaken(), producer.room()), (0, 4));
        }
        assert_eq!(next, 40_000);
    }

    #[test]
    fn positions_wrap() {
        let (mut producer, mut consumer) = pair(2);
        for ring in [&mut producer, &mut consumer] {
            (ring.ours, ring.theirs) = (u32::MAX, u32::MAX);
        }
        producer.word(0).store(u32::MAX, Ordering::Relaxed);
        producer.word(64).store(u32::MAX, Ordering::Relaxed);
        for value in 0..8 {
            assert!(producer.push(value));
            producer.submit();
            assert_eq!(consumer.pop(), Some(value));
            consumer.release();
        }
    }

    #[test]
    fn the_wakeup_flag_is_read_from_the_ring() {
        let (producer, _consumer) = pair(2);
        assert!(!producer.needs_wakeup());
        producer.word(72).store(XdpRingFlags::XDP_RING_NEED_WAKEUP.bits(), Ordering::Relaxed);
        assert!(producer.needs_wakeup());
    }
}
