//! Ring of payload bytes, sized apart from the mcache that points into it.
//!
//! ```text
//! byte 0    header 128 B   magic, data_len, frag_len_max
//! byte 128  reserved 128 B absolute byte position up to which the producer has written or is writing
//! byte 256  data           data_len bytes, a power of two, in chunks of 64 B
//! ```
//!
//! Positions are absolute: they only grow, and position p lies at byte p mod data_len. A payload is contiguous and starts at
//! a chunk; when less than frag_len_max is left before the end (behind the watermark) the producer goes on at the beginning.
//!
//! **Where a frag carries its position.** In the `chunk` field of its metadata: the low 32 bits of position / 64. Counted back
//! from `reserved_pos` that is unambiguous for 256 GiB of writing, and no line lives so long (`mcache::DEPTH_MAX`). As data_len
//! is a power of two, the same field masked is the payload's place, so it costs neither a byte nor a store.
//!
//! **Reserving ahead.** Each store of `reserved_pos` costs both cores a cache line, so the producer reserves a sixteenth of the
//! ring more than it needs and stores again only when that is used up. Readers then believe in that much less of the ring:
//! `capacity` is what is left.
//!
//! **What protects a payload.** Its line may still stand while its bytes are already being overwritten, because this ring may be
//! the smaller one. So the producer first stores `reserved_pos` (relaxed), fences (release), then stores the payload words
//! (relaxed). A reader copies the words, fences (acquire), and believes them if `reserved_pos` is then at most data_len beyond
//! the frag's position: had it seen one word of a later payload, it would see that payload's reservation too.

use crate::payload;
use crate::region::{Region, WORD};
use crate::sync::{Ordering, fence, load_acquire};

/// Unit of placement.
pub(crate) const CHUNK: u64 = 64;
/// Largest payload of one frag: its length field is 16 bits wide.
pub(crate) const FRAG_LEN_MAX: u64 = 65_535;
/// Largest ring: 4 GiB, a quarter of a hundredth of what chunk numbers span.
pub(crate) const DATA_LEN_MAX: u64 = 1 << 32;

/// Part of the ring that is reserved ahead.
const AHEAD_DEN: u64 = 16;

const MAGIC: u64 = u64::from_le_bytes(*b"STRMdcac");
const WORD_MAGIC: usize = 0;
const WORD_DATA_LEN: usize = 1;
const WORD_FRAG_LEN_MAX: usize = 2;
const WORD_RESERVED: usize = 16;
const WORD_DATA: usize = 32;

const _: () = assert!(WORD_RESERVED * WORD == 128 && WORD_DATA * WORD == 256 && (CHUNK as usize).is_multiple_of(WORD));

/// Why a payload could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The producer has written, or is writing, over it.
    Overrun,
    /// The metadata points outside of what the producer can have written.
    Malformed,
}

/// A joined dcache.
#[derive(Debug, Clone)]
pub(crate) struct Dcache {
    region: Region,
    data_len: u64,
    frag_len_max: u64,
    ahead: u64,
}

/// Where a producer stands: all that it needs to know of its ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    /// End of the last payload.
    pub(crate) next: u64,
    /// Copy of `reserved_pos`.
    reserved: u64,
}

impl Dcache {
    /// Bytes of a dcache with `data_len` bytes of payload.
    pub(crate) const fn footprint(data_len: u64) -> u64 {
        (WORD_DATA * WORD) as u64 + data_len
    }

    /// The first argument that is out of range: its name, value and range.
    pub(crate) fn check(data_len: u64, frag_len_max: u64) -> Result<(), (&'static str, u64, &'static str)> {
        if !(1..=FRAG_LEN_MAX).contains(&frag_len_max) {
            return Err(("frag_len_max", frag_len_max, "1 to 65535"));
        }
        // Two frags: one being written never overwrites the whole of the one before.
        if !data_len.is_power_of_two() || data_len > DATA_LEN_MAX || data_len < 2 * round_up(frag_len_max) {
            return Err(("data_len", data_len, "a power of two from twice frag_len_max to 4 GiB"));
        }
        Ok(())
    }

    /// Lays out an empty ring; arguments have passed `check`.
    pub(crate) fn init(region: &Region, data_len: u64, frag_len_max: u64) {
        region.word(WORD_DATA_LEN).store(data_len, Ordering::Relaxed);
        region.word(WORD_FRAG_LEN_MAX).store(frag_len_max, Ordering::Relaxed);
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    /// Checks the header against the footprint. The sizes are copied here and never read from shared memory again.
    pub(crate) fn join(region: Region) -> Result<Dcache, &'static str> {
        let words = region.words();
        let header = [WORD_MAGIC, WORD_DATA_LEN, WORD_FRAG_LEN_MAX].map(|i| words.get(i).map(load_acquire));
        let [Some(magic), Some(data_len), Some(frag_len_max)] = header else { return Err("too short for a header") };
        if magic != MAGIC {
            return Err("magic is wrong");
        }
        Self::check(data_len, frag_len_max).map_err(|(what, _, _)| what)?;
        if words.len() as u64 * 8 != Self::footprint(data_len) {
            return Err("size does not fit data_len");
        }
        // Never so much that the longest message, half the ring and the skipped end, would overwrite itself.
        let ahead = (data_len / AHEAD_DEN).min(data_len / 2 - round_up(frag_len_max)) & !(CHUNK - 1);
        Ok(Dcache { region, data_len, frag_len_max, ahead })
    }

    pub(crate) fn data_len(&self) -> u64 {
        self.data_len
    }

    pub(crate) fn frag_len_max(&self) -> u64 {
        self.frag_len_max
    }

    /// Bytes behind the producer that it leaves untouched.
    pub(crate) fn capacity(&self) -> u64 {
        self.data_len - self.ahead
    }

    /// Position at which a producer that takes this ring over goes on: behind all that was ever reserved.
    pub(crate) fn recover_position(&self) -> Position {
        let reserved = round_up(load_acquire(self.region.word(WORD_RESERVED)));
        Position { next: reserved, reserved }
    }

    /// Where a payload of `len` bytes (1 to frag_len_max) goes when the producer stands at `position`: its start and end.
    #[inline]
    pub(crate) fn place(&self, position: u64, len: u64) -> (u64, u64) {
        let watermark = self.data_len - round_up(self.frag_len_max);
        let start = if position & (self.data_len - 1) > watermark {
            position.wrapping_add(self.data_len) & !(self.data_len - 1)
        } else {
            position
        };
        (start, start.wrapping_add(round_up(len)))
    }

    /// Writes the next `len` bytes (1 to frag_len_max) of `source` and gives their chunk number.
    #[inline]
    pub(crate) fn write(&self, position: &mut Position, len: usize, source: &mut payload::Source<'_>) -> u32 {
        let (start, end) = self.place(position.next, len as u64);
        if end.wrapping_sub(position.reserved).cast_signed() > 0 {
            position.reserved = end.wrapping_add(self.ahead);
            self.region.word(WORD_RESERVED).store(position.reserved, Ordering::Relaxed);
            // Whoever sees a word of this payload, or of a later one, also sees the reservation.
            fence(Ordering::Release);
        }
        let first = WORD_DATA + (start & (self.data_len - 1)) as usize / WORD;
        source.store(&self.region.words()[first..first + len.div_ceil(WORD)], len);
        position.next = end;
        chunk_number(start)
    }

    /// Appends a payload to `out` if the bytes are still its own after they were copied; otherwise `out` is as before.
    /// An acquire fence lies between the copy and the return, so that the caller may now recheck the frag's line.
    #[inline(never)]
    pub(crate) fn read(&self, chunk: u32, sz: u16, out: &mut Vec<u8>) -> Result<(), Lost> {
        let len = usize::from(sz);
        let offset = (u64::from(chunk) * CHUNK) & (self.data_len - 1);
        if u64::from(sz) > self.frag_len_max || offset > self.data_len - round_up(self.frag_len_max) {
            return Err(Lost::Malformed);
        }
        match self.behind(chunk) {
            behind if behind > self.data_len => return Err(Lost::Overrun),
            behind if behind < round_up(u64::from(sz)) => return Err(Lost::Malformed),
            _ => {}
        }
        let first = WORD_DATA + offset as usize / WORD;
        let Some(words) = self.region.words().get(first..first + len.div_ceil(WORD)) else {
            return Err(Lost::Malformed);
        };
        let kept = out.len();
        payload::load(words, len, out);
        fence(Ordering::Acquire);
        if self.behind(chunk) > self.data_len {
            out.truncate(kept);
            return Err(Lost::Overrun);
        }
        Ok(())
    }

    /// Bytes from the position a chunk number stands for up to `reserved_pos`.
    #[inline]
    fn behind(&self, chunk: u32) -> u64 {
        let reserved = load_acquire(self.region.word(WORD_RESERVED));
        u64::from(chunk_number(reserved).wrapping_sub(chunk)) * CHUNK
    }
}

/// The number a frag carries for a position.
#[inline]
pub(crate) const fn chunk_number(position: u64) -> u32 {
    (position / CHUNK) as u32
}

/// Bytes of whole chunks that hold `len` bytes.
#[inline]
pub(crate) const fn round_up(len: u64) -> u64 {
    len.wrapping_add(CHUNK - 1) & !(CHUNK - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::scratch;

    fn ring(data_len: u64, frag_len_max: u64) -> Dcache {
        let region = scratch(Dcache::footprint(data_len));
        Dcache::init(&region, data_len, frag_len_max);
        Dcache::join(region).expect("fresh ring")
    }

    fn put(ring: &Dcache, position: &mut Position, payload: &[u8]) -> u32 {
        ring.write(position, payload.len(), &mut payload::Source::whole(payload))
    }

    #[test]
    fn a_payload_stays_readable_until_its_bytes_are_reserved_again() {
        let ring = ring(256, 128);
        let mut position = ring.recover_position();
        let first = put(&ring, &mut position, &[1; 100]);
        let second = put(&ring, &mut position, &[2; 128]);
        let mut out = Vec::new();
        assert_eq!(ring.read(first, 100, &mut out), Ok(()));
        assert_eq!(out, [1; 100]);
        put(&ring, &mut position, &[3; 1]);
        out.clear();
        assert_eq!(ring.read(first, 100, &mut out), Err(Lost::Overrun));
        assert!(out.is_empty());
        assert_eq!(ring.read(second, 128, &mut out), Ok(()));
        assert_eq!(out, [2; 128]);
    }

    #[test]
    fn what_is_reserved_ahead_is_no_longer_believed() {
        let ring = ring(2_048, 64);
        assert_eq!(ring.capacity(), 2_048 - 128);
        let (mut position, mut out) = (ring.recover_position(), Vec::new());
        let first = put(&ring, &mut position, &[1; 64]);
        while position.next < ring.capacity() {
            put(&ring, &mut position, &[2; 64]);
        }
        assert_eq!(ring.read(first, 64, &mut out), Ok(()));
        put(&ring, &mut position, &[3; 64]);
        assert_eq!(ring.read(first, 64, &mut out), Err(Lost::Overrun));
        assert_eq!(out, [1; 64], "one of them was copied, and no byte of it is overwritten yet");
    }

    #[test]
    fn payloads_are_contiguous_and_start_before_the_watermark() {
        let ring = ring(1024, 200);
        let mut position = 0;
        for len in [200u64, 1, 64, 65, 199, 200, 128, 127, 3, 200].into_iter().cycle().take(500) {
            let (start, end) = ring.place(position, len);
            assert!(start % 1024 <= 1024 - 256 && start >= position && start - position < 256);
            assert!(start % 1024 + len <= 1024 && end - start < len + 64);
            position = end;
        }
    }

    #[test]
    fn metadata_that_points_astray_is_refused() {
        let ring = ring(256, 64);
        put(&ring, &mut ring.recover_position(), &[1; 64]);
        let mut out = Vec::new();
        for (chunk, sz) in [(0, 65), (0, u16::MAX), (1, 1)] {
            assert_eq!(ring.read(chunk, sz, &mut out), Err(Lost::Malformed), "chunk {chunk} sz {sz}");
        }
        // Ahead of all that was written: as if it lay almost 256 GiB behind.
        assert_eq!(ring.read(2, 64, &mut out), Err(Lost::Overrun));
        assert!(out.is_empty());
    }

    #[test]
    fn chunk_numbers_come_round_without_confusion() {
        let ring = ring(256, 64);
        ring.region.word(WORD_RESERVED).store((1 << 38) - 64, Ordering::Relaxed);
        let mut position = ring.recover_position();
        let chunk = put(&ring, &mut position, b"last of a round");
        assert_eq!((chunk, position.next), (u32::MAX, 1 << 38));
        let next = put(&ring, &mut position, b"first of the next");
        assert_eq!(next, 0);
        let mut out = Vec::new();
        assert_eq!(ring.read(chunk, 15, &mut out), Ok(()));
        assert_eq!(ring.read(next, 17, &mut out), Ok(()));
        assert_eq!(out, b"last of a roundfirst of the next");
    }

    #[test]
    fn sizes_out_of_range_are_named() {
        assert_eq!(Dcache::check(300, 64).map_err(|e| e.0), Err("data_len"));
        assert_eq!(Dcache::check(128, 65).map_err(|e| e.0), Err("data_len"));
        assert_eq!(Dcache::check(256, 0).map_err(|e| e.0), Err("frag_len_max"));
        assert_eq!(Dcache::check(1 << 20, 65_536).map_err(|e| e.0), Err("frag_len_max"));
        assert_eq!(Dcache::check(256, 128), Ok(()));
    }
}
