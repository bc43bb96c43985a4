//! Which frame of the shared memory belongs to whom.
//!
//! ```text
//!   | receive frames ... | send frames of shard 0 ... | send frames of shard 1 ... | spare, up to whole huge pages |
//! ```
//!
//! One UMEM serves one queue: of one shard, or of all shards when they share the queue. A frame has one owner at each moment: the
//! kernel, while it is in the fill or tx ring or between them and the rx or completion ring, else the shard that took it out.

use std::error::Error;
use std::io;
use std::num::NonZeroU32;
use std::slice;

use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem};

use super::queue::RingSizes;

/// Bytes of a frame. The kernel keeps 256 in front of a packet (XDP_PACKET_HEADROOM), so packets of a 1500-byte MTU fit with a
/// VLAN tag and the packet program's metadata.
pub(super) const FRAME_LEN: usize = 2_048;
/// Of these the shard has so many for headers and payload.
pub(super) const DATA_LEN: usize = FRAME_LEN - 256;
const HUGE_PAGE_FRAMES: u32 = (2 << 20) / FRAME_LEN as u32;

/// The frames of one queue.
pub(super) struct Frames {
    pub(super) umem: Umem,
    huge: bool,
    count: usize,
    receive: usize,
    send: usize,
}

/// Those that nobody has yet.
pub(super) struct Unowned {
    pub(super) receive: Vec<FrameDesc>,
    /// By shard.
    pub(super) send: Vec<Vec<FrameDesc>>,
}

impl Frames {
    /// Memory for the receive frames, and the send frames of each of `shards`. Huge pages when the machine has them free.
    pub(super) fn new(sizes: RingSizes, shards: usize) -> io::Result<(Self, Unowned)> {
        let (receive, send) = (sizes.fill as usize, sizes.send_frames as usize);
        let wanted = u32::try_from(receive + send * shards).map_err(io::Error::other)?;
        let count = wanted.checked_next_multiple_of(HUGE_PAGE_FRAMES).and_then(NonZeroU32::new);
        let count = count.ok_or_else(|| io::Error::other("a queue without frames"))?;
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(FRAME_LEN as u32).map_err(io::Error::other)?)
            .fill_queue_size(QueueSize::new(sizes.fill).map_err(io::Error::other)?)
            .comp_queue_size(QueueSize::new(sizes.completion).map_err(io::Error::other)?)
            .build()
            .map_err(io::Error::other)?;
        let (umem, descriptors, huge) = match Umem::new(config, count, true) {
            Ok((umem, descriptors)) => (umem, descriptors, true),
            Err(_) => {
                let (umem, descriptors) = Umem::new(config, count, false).map_err(|error| system_error(&error))?;
                (umem, descriptors, false)
            }
        };
        let mut descriptors = descriptors.into_iter();
        let mut take = |frames: usize| descriptors.by_ref().take(frames).collect::<Vec<_>>();
        let unowned = Unowned { receive: take(receive), send: (0..shards).map(|_| take(send)).collect() };
        Ok((Self { umem, huge, count: count.get() as usize, receive, send }, unowned))
    }

    /// Whether they lie in huge pages.
    pub(super) fn is_huge(&self) -> bool {
        self.huge
    }

    /// The shard whose frame this is; `None` for receive frames.
    pub(super) fn sender_of(&self, frame: &FrameDesc) -> Option<usize> {
        let index = frame.addr() / FRAME_LEN;
        index.checked_sub(self.receive).map(|index| index / self.send.max(1))
    }

    /// What the kernel put into a frame; `None` when it does not lie within one.
    ///
    /// # Safety
    /// The caller took the frame out of the rx ring, and has not given it back while the slice lives.
    pub(super) unsafe fn received(&self, frame: &FrameDesc) -> Option<&[u8]> {
        let end = (frame.addr() % FRAME_LEN).checked_add(frame.lengths().data())?;
        let within_one = frame.addr() / FRAME_LEN < self.count && end <= FRAME_LEN;
        // SAFETY: inside the UMEM and one frame, which nobody else touches by the caller's promise.
        within_one.then(|| unsafe { self.umem.data(frame) }.contents())
    }

    /// The first `len` bytes of a frame, DATA_LEN at most, for writing. They are what is sent of it.
    ///
    /// # Safety
    /// The frame is one of this memory and out of every ring, and this is the only slice of it.
    pub(super) unsafe fn writable<'a>(&'a self, frame: &'a mut FrameDesc, len: usize) -> &'a mut [u8] {
        // SAFETY: by the caller's promise.
        let mut data = unsafe { self.umem.data_mut(frame) };
        data.cursor().set_pos(len);
        let bytes = data.contents_mut();
        // SAFETY: the same bytes for as long as memory and descriptor are borrowed; xsk-rs lends them only as long as its
        // handle, which ends here.
        unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) }
    }
}

/// What the kernel said, out of an error of xsk-rs.
pub(super) fn system_error(error: &(impl Error + 'static)) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_frame_has_one_owner_and_no_slice_crosses_a_frame() {
        let sizes = RingSizes { fill: 8, rx: 8, tx: 8, completion: 8, send_frames: 4 };
        let (frames, Unowned { receive, mut send }) = match Frames::new(sizes, 3) {
            Ok(made) => made,
            Err(error) => {
                eprintln!("NOT RUN: every_frame_has_one_owner_and_no_slice_crosses_a_frame: {error}");
                return;
            }
        };
        let starts: Vec<usize> = receive.iter().chain(send.iter().flatten()).map(FrameDesc::addr).collect();
        let distinct: BTreeSet<usize> = starts.iter().map(|start| start / FRAME_LEN).collect();
        assert_eq!((starts.len(), distinct.len()), (20, 20));
        assert!(receive.iter().all(|frame| frames.sender_of(frame).is_none()));
        for (shard, owned) in send.iter().enumerate() {
            assert!(owned.iter().all(|frame| frames.sender_of(frame) == Some(shard)));
        }
        let frame = &mut send[2][3];
        // SAFETY: nobody else has this memory.
        unsafe {
            assert_eq!(frames.writable(frame, DATA_LEN + 1).len(), DATA_LEN, "no further than the frame");
            frames.writable(frame, 4).copy_from_slice(b"abcd");
            assert_eq!(frames.received(frame), Some(&b"abcd"[..]));
            let nowhere = FrameDesc::default();
            assert_eq!(frames.received(&nowhere), Some(&[][..]), "an empty packet is one");
        }
    }
}
