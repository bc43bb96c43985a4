//! A link: one mcache and one dcache, one writer, any number of readers that the writer does not know.

use crate::dcache::{self, Dcache};
use crate::mcache::{CTL_EOM, CTL_SOM, FragMeta, Mcache};
use crate::payload::Source;

/// Both rings of a link and the limits that follow from them.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) mcache: Mcache,
    pub(crate) dcache: Dcache,
    /// Most frags of one message: so many that a whole message stays readable in a ring that is written no further, with as
    /// much again free for the reader's delay.
    pub(crate) frags_max: u64,
    /// Longest message, bytes.
    pub(crate) message_len_max: usize,
}

impl Link {
    pub(crate) fn new(mcache: Mcache, dcache: Dcache) -> Link {
        let by_bytes = dcache.data_len() / 2 / dcache::round_up(dcache.frag_len_max());
        let frags_max = by_bytes.min(mcache.depth() / 2);
        let message_len_max = usize::try_from(frags_max * dcache.frag_len_max()).unwrap_or(usize::MAX);
        Link { mcache, dcache, frags_max, message_len_max }
    }

    /// Frags of a message of `len` bytes (an empty one is one frag), and the byte position after it.
    #[inline]
    pub(crate) fn extent(&self, position: u64, len: usize) -> (u64, u64) {
        match len as u64 {
            0 => (1, position),
            len if len <= self.dcache.frag_len_max() => (1, self.dcache.place(position, len).1),
            len => self.extent_of_many(position, len),
        }
    }

    fn extent_of_many(&self, position: u64, len: u64) -> (u64, u64) {
        let (mut end, mut left, mut frags) = (position, len, 0);
        while left > 0 {
            let now = left.min(self.dcache.frag_len_max());
            end = self.dcache.place(end, now).1;
            left -= now;
            frags += 1;
        }
        (frags, end)
    }
}

/// Writer of an unreliable link: never waits, never fails; a reader that is too slow loses.
///
/// One at a time writes a link. A writer that takes over from a dead one goes on behind its last frag; a message that the
/// dead one left without its end is discarded and counted by the readers.
#[derive(Debug)]
pub struct LinkWriter {
    link: Link,
    seq: u64,
    position: dcache::Position,
    now_us: Option<u32>,
    refused: u64,
}

impl LinkWriter {
    pub(crate) fn new(link: Link) -> LinkWriter {
        let (seq, position) = (link.mcache.recover_position(), link.dcache.recover_position());
        LinkWriter { link, seq, position, now_us: None, refused: 0 }
    }

    /// Sets the time of publication (`tspub_us`) of what follows. Told once a turn, as reading the clock costs more than
    /// publishing; until it is told for the first time, `tspub_us` is `tsorig_us`.
    #[inline]
    pub fn set_now_us(&mut self, now_us: u32) {
        self.now_us = Some(now_us);
    }

    /// Publishes one message and gives the sequence number after it. One longer than `message_len_max()` is dropped and
    /// counted in `refused()`.
    #[inline]
    pub fn publish(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> u64 {
        self.message(sig, tsorig_us, payload.len(), Source::whole(payload))
    }

    /// The same for a message that lies in several places.
    #[inline]
    pub fn publish_parts(&mut self, sig: u64, tsorig_us: u32, parts: &[&[u8]]) -> u64 {
        self.message(sig, tsorig_us, len_of(parts), Source::new(parts))
    }

    /// Number of the next frag. A message takes as many numbers as it has frags.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Longest message, bytes: half of what both rings hold.
    pub fn message_len_max(&self) -> usize {
        self.link.message_len_max
    }

    /// Messages dropped for being longer than that.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Absolute byte position in the dcache.
    pub(crate) fn position(&self) -> u64 {
        self.position.next
    }

    /// Publishes `len` bytes, all that `source` holds.
    #[inline]
    pub(crate) fn message(&mut self, sig: u64, tsorig_us: u32, len: usize, source: Source<'_>) -> u64 {
        if len == 0 {
            self.commit(sig, tsorig_us, CTL_SOM | CTL_EOM, dcache::chunk_number(self.position.next), 0);
        } else if len as u64 <= self.link.dcache.frag_len_max() {
            let chunk = self.payload(len, &mut { source });
            self.commit(sig, tsorig_us, CTL_SOM | CTL_EOM, chunk, len);
        } else {
            self.frags(sig, tsorig_us, len, source);
        }
        self.seq
    }

    #[cold]
    fn frags(&mut self, sig: u64, tsorig_us: u32, len: usize, mut source: Source<'_>) {
        if len > self.link.message_len_max {
            self.refused += 1;
            return;
        }
        let (mut left, mut ctl) = (len, CTL_SOM);
        while left > 0 {
            let now = left.min(self.link.dcache.frag_len_max() as usize);
            left -= now;
            let chunk = self.payload(now, &mut source);
            self.commit(sig, tsorig_us, if left == 0 { ctl | CTL_EOM } else { ctl }, chunk, now);
            ctl = 0;
        }
    }

    /// Writes a payload and gives its place. Not inlined: a frag without one is then a dozen instructions.
    #[inline(never)]
    fn payload(&mut self, len: usize, source: &mut Source<'_>) -> u32 {
        self.link.dcache.write(&mut self.position, len, source)
    }

    #[inline]
    fn commit(&mut self, sig: u64, tsorig_us: u32, ctl: u16, chunk: u32, len: usize) {
        let tspub_us = self.now_us.unwrap_or(tsorig_us);
        self.link.mcache.publish(&FragMeta { seq: self.seq, sig, chunk, sz: len as u16, ctl, tsorig_us, tspub_us });
        self.seq = self.seq.wrapping_add(1);
    }
}

/// Bytes in all parts.
#[inline]
pub(crate) fn len_of(parts: &[&[u8]]) -> usize {
    parts.iter().fold(0, |len, part| len.saturating_add(part.len()))
}
