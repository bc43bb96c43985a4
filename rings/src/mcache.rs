//! Ring of frag metadata; the producer never waits.
//!
//! ```text
//! byte 0    header 128 B   magic, depth, seq0
//! byte 128  position 128 B next sequence number of the producer, in a line pair of its own
//! byte 256  depth x 32 B   line of frag `seq` = seq mod depth
//!
//! line      0 seq u64 | 8 sig u64 | 16 chunk u32 | 20 sz u16 | 22 ctl u16 | 24 tsorig u32 | 28 tspub u32
//! ```
//!
//! `seq` of a line is its commit word. Publishing frag S stores S-1 (a value nobody waits for on this line, as depth > 1),
//! then the body, then S; that frees frag S-depth in the same step. A reader takes seq, body, seq again, and after using what
//! the body points at looks at seq once more. The four words of a line are stored each at once, so a line holds at most a mix
//! of two frags, and the seq word tells.

use crate::region::Region;
use crate::sync::{AtomicU64, Ordering, fence, load_acquire};

/// First frag of a message.
pub(crate) const CTL_SOM: u16 = 1;
/// Last frag of a message.
pub(crate) const CTL_EOM: u16 = 2;

/// Smallest depth: two lines are needed for S-1 to be unambiguous.
pub(crate) const DEPTH_MIN: u64 = 2;
/// Largest depth. With frags under 64 KiB the frags of a ring span under 8 GiB of dcache positions, far below the 256 GiB at
/// which the 32-bit chunk number comes round.
pub(crate) const DEPTH_MAX: u64 = 65_536;

const MAGIC: u64 = u64::from_le_bytes(*b"STRMmcac");
const WORD_MAGIC: usize = 0;
const WORD_DEPTH: usize = 1;
const WORD_SEQ0: usize = 2;
const WORD_POSITION: usize = 16;
const WORD_LINES: usize = 32;
const LINE_WORDS: usize = 4;

/// Metadata of one frag, in the order it has in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FragMeta {
    pub(crate) seq: u64,
    /// Meaning is the application's; lets a reader pass a frag by without touching its payload.
    pub(crate) sig: u64,
    /// Low 32 bits of the payload's absolute position in 64-B chunks (see `dcache`).
    pub(crate) chunk: u32,
    /// Payload bytes.
    pub(crate) sz: u16,
    pub(crate) ctl: u16,
    /// Microseconds when the message's cause arose, as the caller says.
    pub(crate) tsorig_us: u32,
    /// Microseconds at publication.
    pub(crate) tspub_us: u32,
}

const _: () = assert!(size_of::<FragMeta>() == 32 && size_of::<FragMeta>() == LINE_WORDS * 8);
const _: () = assert!(std::mem::offset_of!(FragMeta, sig) == 8 && std::mem::offset_of!(FragMeta, chunk) == 16);
const _: () = assert!(std::mem::offset_of!(FragMeta, sz) == 20 && std::mem::offset_of!(FragMeta, ctl) == 22);
const _: () =
    assert!(std::mem::offset_of!(FragMeta, tsorig_us) == 24 && std::mem::offset_of!(FragMeta, tspub_us) == 28);
const _: () = assert!(WORD_POSITION * 8 == 128 && WORD_LINES * 8 == 256);

/// What a line holds for a reader that waits for a certain frag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The frag, whole.
    Ready(FragMeta),
    /// The producer is not there yet.
    NotYet,
    /// The producer has written a later frag here.
    Overrun,
}

/// A joined mcache.
#[derive(Debug, Clone)]
pub(crate) struct Mcache {
    region: Region,
    mask: u64,
    seq0: u64,
}

impl Mcache {
    /// Bytes of an mcache with `depth` lines.
    pub(crate) const fn footprint(depth: u64) -> u64 {
        (WORD_LINES as u64 + depth * LINE_WORDS as u64) * 8
    }

    /// Lays out an empty ring whose first frag will be `seq0`. Every line looks like the frag one depth before its first.
    pub(crate) fn init(region: &Region, depth: u64, seq0: u64) {
        let (mut seq, end) = (seq0, seq0.wrapping_add(depth));
        while seq != end {
            let line = WORD_LINES + ((seq & (depth - 1)) as usize) * LINE_WORDS;
            region.word(line).store(seq.wrapping_sub(depth), Ordering::Relaxed);
            seq = seq.wrapping_add(1);
        }
        region.word(WORD_DEPTH).store(depth, Ordering::Relaxed);
        region.word(WORD_SEQ0).store(seq0, Ordering::Relaxed);
        region.word(WORD_POSITION).store(seq0, Ordering::Relaxed);
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    /// Checks the header against the footprint. Depth and seq0 are copied here and never read from shared memory again.
    pub(crate) fn join(region: Region) -> Result<Mcache, &'static str> {
        let words = region.words();
        let [magic, depth, seq0] = [WORD_MAGIC, WORD_DEPTH, WORD_SEQ0].map(|i| words.get(i).map(load_acquire));
        if magic != Some(MAGIC) {
            return Err("magic is wrong");
        }
        let (Some(depth), Some(seq0)) = (depth, seq0) else { return Err("too short for a header") };
        if !(DEPTH_MIN..=DEPTH_MAX).contains(&depth) || !depth.is_power_of_two() {
            return Err("depth is no power of two in 2 to 65536");
        }
        if words.len() as u64 * 8 != Self::footprint(depth) {
            return Err("size does not fit the depth");
        }
        Ok(Mcache { region, mask: depth - 1, seq0 })
    }

    pub(crate) fn depth(&self) -> u64 {
        self.mask + 1
    }

    /// First sequence number of this ring's life.
    pub(crate) fn seq0(&self) -> u64 {
        self.seq0
    }

    /// Where the producer says it is: the number of the frag it will publish next.
    pub(crate) fn position(&self) -> u64 {
        load_acquire(self.region.word(WORD_POSITION))
    }

    /// Where a producer that takes this ring over goes on. One killed between committing a line and telling its position has
    /// published that line: readers may have it already.
    pub(crate) fn recover_position(&self) -> u64 {
        let mut seq = self.position();
        for _ in 0..self.depth() {
            if load_acquire(&self.line(seq)[0]) != seq {
                break;
            }
            seq = seq.wrapping_add(1);
        }
        seq
    }

    /// Publishes a frag; `meta.seq` is the producer's next number.
    #[inline(always)]
    pub(crate) fn publish(&self, meta: &FragMeta) {
        let place = u64::from(meta.chunk) | u64::from(meta.sz) << 32 | u64::from(meta.ctl) << 48;
        let times = u64::from(meta.tsorig_us) | u64::from(meta.tspub_us) << 32;
        let lines = self.lines();
        let [commit, sig_word, place_word, times_word] = &lines[(meta.seq & self.mask) as usize];
        commit.store(meta.seq.wrapping_sub(1), Ordering::Relaxed);
        // Whoever sees a word of the new body also sees that the old frag is gone.
        fence(Ordering::Release);
        sig_word.store(meta.sig, Ordering::Relaxed);
        place_word.store(place, Ordering::Relaxed);
        times_word.store(times, Ordering::Relaxed);
        commit.store(meta.seq, Ordering::Release);
        self.region.word(WORD_POSITION).store(meta.seq.wrapping_add(1), Ordering::Release);
        if let Some([ahead, ..]) = lines.get((meta.seq.wrapping_add(CLAIM_AHEAD) & self.mask) as usize) {
            claim(ahead);
        }
    }

    /// Reads the line of frag `seq`.
    #[inline(always)]
    pub(crate) fn read(&self, seq: u64) -> Line {
        let [commit, sig, place, times] = self.line(seq);
        let before = load_acquire(commit);
        if before != seq {
            // Wrap-safe: the sign of the difference tells who is ahead.
            return if before.wrapping_sub(seq).cast_signed() > 0 { Line::Overrun } else { Line::NotYet };
        }
        let [sig, place, times] = [sig, place, times].map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if commit.load(Ordering::Relaxed) != seq {
            return Line::Overrun;
        }
        Line::Ready(FragMeta {
            seq,
            sig,
            chunk: place as u32,
            sz: (place >> 32) as u16,
            ctl: (place >> 48) as u16,
            tsorig_us: times as u32,
            tspub_us: (times >> 32) as u32,
        })
    }

    /// Whether the line still holds frag `seq`; to be asked after an acquire fence that follows the reads in question.
    #[inline(always)]
    pub(crate) fn still_there(&self, seq: u64) -> bool {
        self.line(seq)[0].load(Ordering::Relaxed) == seq
    }

    /// Chunk number of a frag that this producer has published and not yet overwritten.
    pub(crate) fn own_chunk(&self, seq: u64) -> u32 {
        self.line(seq)[2].load(Ordering::Relaxed) as u32
    }

    #[inline(always)]
    fn line(&self, seq: u64) -> &[AtomicU64; LINE_WORDS] {
        &self.lines()[(seq & self.mask) as usize]
    }

    #[inline(always)]
    fn lines(&self) -> &[[AtomicU64; LINE_WORDS]] {
        self.region.words()[WORD_LINES..].as_chunks().0
    }
}

/// Frags ahead of the current one whose line is asked for: long enough for the answer of another core to arrive.
const CLAIM_AHEAD: u64 = 16;

/// Asks for a line to be written soon, which a reader's core has had since the last round. A hint that costs nothing when wrong;
/// without it, the stores of a busy link wait for one line after the other.
#[inline(always)]
fn claim(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch reads and writes nothing and never faults; on a processor without it the code is a no-op.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) word.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = word;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::scratch;

    fn meta(seq: u64) -> FragMeta {
        FragMeta { seq, sig: seq ^ 0xabcd, chunk: 7, sz: 9, ctl: CTL_SOM | CTL_EOM, tsorig_us: 11, tspub_us: 13 }
    }

    fn ring(depth: u64, seq0: u64) -> Mcache {
        let region = scratch(Mcache::footprint(depth));
        Mcache::init(&region, depth, seq0);
        Mcache::join(region).expect("fresh ring")
    }

    #[test]
    fn a_frag_is_read_back_until_the_ring_comes_round() {
        let ring = ring(4, 100);
        assert_eq!(ring.read(100), Line::NotYet);
        for seq in 100..104 {
            ring.publish(&meta(seq));
            assert_eq!(ring.read(seq), Line::Ready(meta(seq)));
            assert_eq!(ring.position(), seq + 1);
        }
        assert_eq!(ring.read(100), Line::Ready(meta(100)));
        ring.publish(&meta(104));
        assert_eq!(ring.read(100), Line::Overrun);
        assert_eq!(ring.read(105), Line::NotYet);
    }

    #[test]
    fn sequence_numbers_wrap_around() {
        let first = u64::MAX - 2;
        let ring = ring(4, first);
        for i in 0..8u64 {
            let seq = first.wrapping_add(i);
            assert_eq!(ring.read(seq), Line::NotYet);
            ring.publish(&meta(seq));
            assert_eq!(ring.read(seq), Line::Ready(meta(seq)));
        }
        assert_eq!(ring.read(first), Line::Overrun);
    }

    #[test]
    fn memory_holds_the_documented_bytes() {
        let ring = ring(2, 6);
        let meta = FragMeta { seq: 7, sig: 2, chunk: 3, sz: 4, ctl: 5, tsorig_us: 6, tspub_us: 8 };
        ring.publish(&meta);
        let line: Vec<u8> =
            ring.region.words()[36..40].iter().flat_map(|w| w.load(Ordering::Relaxed).to_le_bytes()).collect();
        let expected = [7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 5, 0, 6, 0, 0, 0, 8, 0, 0, 0];
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_killed_half_way_is_not_there_yet_and_is_overwritten_by_the_next_producer() {
        let ring = ring(4, 0);
        ring.publish(&meta(0));
        ring.line(1)[0].store(0, Ordering::Relaxed);
        ring.line(1)[1].store(0xdead, Ordering::Relaxed);
        assert_eq!(ring.read(1), Line::NotYet);
        assert_eq!(ring.recover_position(), 1);
        ring.publish(&meta(1));
        assert_eq!(ring.read(1), Line::Ready(meta(1)));
    }

    #[test]
    fn a_producer_killed_before_telling_its_position_goes_on_behind_its_last_frag() {
        let ring = ring(4, 0);
        for seq in 0..3 {
            ring.publish(&meta(seq));
        }
        ring.region.word(WORD_POSITION).store(1, Ordering::Relaxed);
        assert_eq!(ring.recover_position(), 3);
    }

    #[test]
    fn a_damaged_header_is_refused() {
        for (word, value) in [(WORD_MAGIC, 1), (WORD_DEPTH, 3), (WORD_DEPTH, 8), (WORD_DEPTH, 0), (WORD_DEPTH, 1 << 40)]
        {
            let region = scratch(Mcache::footprint(4));
            Mcache::init(&region, 4, 0);
            region.word(word).store(value, Ordering::Relaxed);
            assert!(Mcache::join(region).is_err(), "word {word} = {value}");
        }
    }
}
