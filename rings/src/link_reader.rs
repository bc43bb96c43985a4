//! Reading a link: copy out, then check that what was copied was still there.

use crate::dcache::Lost;
use crate::link::Link;
use crate::mcache::{CTL_EOM, CTL_SOM, FragMeta, Line};
use crate::sync::{Ordering, fence};

/// First and last frag of a message in one.
const CTL_WHOLE: u16 = CTL_SOM | CTL_EOM;

/// What a poll found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Nothing more is there.
    Empty,
    /// `out` holds one whole message.
    Message {
        /// As published.
        sig: u64,
        /// Number of its first frag.
        seq: u64,
        /// As published: microseconds when the message's cause arose.
        tsorig_us: u32,
        /// Microseconds when its first frag was published.
        tspub_us: u32,
    },
    /// One frag was passed by: not wanted, the rest of a message that was lost, or malformed.
    Skipped,
    /// The writer was faster: `lost` frags will not be seen; the position is now the writer's.
    Overrun {
        /// Frags between the old position and the new one, and those of the message that was being put together.
        lost: u64,
    },
}

/// What a reader has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Messages delivered.
    pub messages: u64,
    /// Frags passed by because they were not wanted.
    pub unwanted: u64,
    /// Overruns.
    pub overruns: u64,
    /// Frags lost by overruns.
    pub lost_frags: u64,
    /// Messages discarded for want of a beginning or an end.
    pub broken_messages: u64,
    /// Frags whose metadata pointed astray: the writer is damaged or hostile.
    pub malformed_frags: u64,
}

/// What happens with the frags that follow the last first frag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assembly {
    /// A first frag is expected; others belong to a message whose beginning was not seen.
    Idle,
    /// The frags of an unwanted message, or the rest of a broken one, pass by.
    Passing,
    /// A message is being put together.
    Open { first: FragMeta, frags: u64 },
}

/// Reader of an unreliable link with a position of its own that nobody else sees. It starts at what is published next.
#[derive(Debug)]
pub struct LinkReader {
    link: Link,
    seq: u64,
    assembly: Assembly,
    /// Payload of the message being put together.
    partial: Vec<u8>,
    stats: ReaderStats,
}

impl LinkReader {
    pub(crate) fn new(link: Link, seq: u64) -> LinkReader {
        LinkReader { link, seq, assembly: Assembly::Passing, partial: Vec::new(), stats: ReaderStats::default() }
    }

    /// Takes the next message whose `sig` is wanted into `out`, which is cleared whenever something is put in. A frag that is
    /// not wanted costs no look at its payload and is one `Skipped`. Works off at most the frags of one message.
    #[inline]
    pub fn poll(&mut self, mut wanted: impl FnMut(u64) -> bool, out: &mut Vec<u8>) -> Polled {
        loop {
            let meta = match self.link.mcache.read(self.seq) {
                Line::Ready(meta) => meta,
                Line::NotYet => return Polled::Empty,
                Line::Overrun => return self.overrun(),
            };
            if meta.ctl & CTL_WHOLE == CTL_WHOLE {
                self.break_off();
                if wanted(meta.sig) {
                    return self.whole(&meta, out);
                }
                return self.pass_by(&meta, Assembly::Passing, |stats| stats.unwanted += 1);
            }
            if let Some(polled) = self.take(&meta, &mut wanted, out) {
                return polled;
            }
        }
    }

    /// Number of the next frag this reader wants.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Goes on with the frag of this number; a message being put together is given up.
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.assembly = Assembly::Passing;
        self.partial.clear();
        self.seq = seq;
    }

    /// What this reader has counted.
    pub fn stats(&self) -> ReaderStats {
        self.stats
    }

    /// Number of the first frag that has not been delivered or given up: a message being put together is not.
    #[inline]
    pub(crate) fn settled(&self) -> u64 {
        if let Assembly::Open { first, .. } = self.assembly { first.seq } else { self.seq }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Uses up one frag of several; `None`: more frags of the same message are needed.
    fn take(&mut self, meta: &FragMeta, wanted: &mut impl FnMut(u64) -> bool, out: &mut Vec<u8>) -> Option<Polled> {
        if meta.ctl & CTL_SOM != 0 {
            self.break_off();
            if !wanted(meta.sig) {
                return Some(self.pass_by(meta, Assembly::Passing, |stats| stats.unwanted += 1));
            }
            self.partial.clear();
            return self.part(meta, *meta, 1, out);
        }
        match self.assembly {
            Assembly::Open { first, frags } => self.part(meta, first, frags + 1, out),
            Assembly::Passing => Some(self.pass_by(meta, Assembly::Passing, |_| ())),
            Assembly::Idle => Some(self.pass_by(meta, Assembly::Passing, |stats| stats.broken_messages += 1)),
        }
    }

    /// A first frag has come: a message that is still open will have no end.
    #[inline]
    fn break_off(&mut self) {
        if let Assembly::Open { .. } = self.assembly {
            self.stats.broken_messages += 1;
        }
        self.assembly = Assembly::Idle;
    }

    /// A message of one frag goes straight to the caller.
    // Inlined, as is `deliver`: the answer then stays in registers.
    #[inline(always)]
    fn whole(&mut self, meta: &FragMeta, out: &mut Vec<u8>) -> Polled {
        out.clear();
        match self.copy(meta, out) {
            Ok(()) => self.deliver(meta, meta),
            Err(lost) => self.lose(meta, lost),
        }
    }

    /// Adds frag number `frags` of the message that began with `first`.
    fn part(&mut self, meta: &FragMeta, first: FragMeta, frags: u64, out: &mut Vec<u8>) -> Option<Polled> {
        if frags > self.link.frags_max {
            return Some(self.lose(meta, Lost::Malformed));
        }
        let mut partial = std::mem::take(&mut self.partial);
        let copied = self.copy(meta, &mut partial);
        self.partial = partial;
        if let Err(lost) = copied {
            self.assembly = Assembly::Open { first, frags: frags - 1 };
            return Some(self.lose(meta, lost));
        }
        if meta.ctl & CTL_EOM == 0 {
            self.assembly = Assembly::Open { first, frags };
            self.seq = self.seq.wrapping_add(1);
            return None;
        }
        out.clear();
        std::mem::swap(out, &mut self.partial);
        Some(self.deliver(meta, &first))
    }

    #[inline]
    fn copy(&self, meta: &FragMeta, into: &mut Vec<u8>) -> Result<(), Lost> {
        let kept = into.len();
        if meta.sz > 0 {
            self.link.dcache.read(meta.chunk, meta.sz, into)?;
        } else {
            fence(Ordering::Acquire);
        }
        if self.link.mcache.still_there(meta.seq) {
            return Ok(());
        }
        into.truncate(kept);
        Err(Lost::Overrun)
    }

    #[inline(always)]
    fn deliver(&mut self, last: &FragMeta, first: &FragMeta) -> Polled {
        self.seq = last.seq.wrapping_add(1);
        self.assembly = Assembly::Idle;
        self.stats.messages += 1;
        Polled::Message { sig: first.sig, seq: first.seq, tsorig_us: first.tsorig_us, tspub_us: first.tspub_us }
    }

    fn pass_by(&mut self, meta: &FragMeta, rest: Assembly, count: impl FnOnce(&mut ReaderStats)) -> Polled {
        count(&mut self.stats);
        self.assembly = if meta.ctl & CTL_EOM != 0 { Assembly::Idle } else { rest };
        self.seq = meta.seq.wrapping_add(1);
        Polled::Skipped
    }

    #[cold]
    fn lose(&mut self, meta: &FragMeta, lost: Lost) -> Polled {
        match lost {
            Lost::Overrun => self.overrun(),
            Lost::Malformed => self.pass_by(meta, Assembly::Passing, |stats| stats.malformed_frags += 1),
        }
    }

    /// Moves to the writer's position: whatever is older may be overwritten next.
    fn overrun(&mut self) -> Polled {
        let next = self.seq.wrapping_add(1);
        let told = self.link.mcache.position();
        // A position that does not lie ahead cannot be true; one frag is given up, so that there is progress.
        let ahead = told.wrapping_sub(next).cast_signed() > 0;
        let to = if ahead { told } else { next };
        let mut lost = to.wrapping_sub(self.seq);
        if let Assembly::Open { frags, .. } = self.assembly {
            lost = lost.saturating_add(frags);
            self.stats.broken_messages += 1;
        }
        self.assembly = Assembly::Passing;
        self.seq = to;
        self.stats.overruns += 1;
        self.stats.lost_frags = self.stats.lost_frags.saturating_add(lost);
        Polled::Overrun { lost }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::dcache::Dcache;
    use crate::link::LinkWriter;
    use crate::mcache::Mcache;
    use crate::payload::Source;
    use crate::testing::scratch;

    const EVERY: fn(u64) -> bool = |_| true;

    fn link() -> Link {
        let (mcache, dcache) = (scratch(Mcache::footprint(8)), scratch(Dcache::footprint(4_096)));
        Mcache::init(&mcache, 8, 1_000);
        Dcache::init(&dcache, 4_096, 100);
        Link::new(Mcache::join(mcache).expect("fresh"), Dcache::join(dcache).expect("fresh"))
    }

    /// Publishes one frag as a writer does that is killed after it.
    fn last_frag(link: &Link, sig: u64, ctl: u16, payload: &[u8]) {
        let seq = link.mcache.recover_position();
        let mut position = link.dcache.recover_position();
        let chunk = link.dcache.write(&mut position, payload.len(), &mut Source::whole(payload));
        let sz = payload.len() as u16;
        link.mcache.publish(&FragMeta { seq, sig, chunk, sz, ctl, tsorig_us: 0, tspub_us: 0 });
    }

    #[test]
    fn a_message_that_its_writer_did_not_end_is_discarded_when_the_next_begins() {
        let link = link();
        let mut reader = LinkReader::new(link.clone(), 1_000);
        last_frag(&link, 1, CTL_SOM, &[1; 100]);
        last_frag(&link, 1, 0, &[1; 100]);
        let mut out = b"untouched".to_vec();
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Empty);
        assert_eq!((&out[..], reader.settled()), (&b"untouched"[..], 1_000));
        LinkWriter::new(link).publish(2, 0, &[2; 150]);
        assert!(matches!(reader.poll(EVERY, &mut out), Polled::Message { sig: 2, seq: 1_002, .. }));
        assert_eq!(out, [2; 150]);
        assert_eq!((reader.stats().broken_messages, reader.settled()), (1, 1_004));
    }

    #[test]
    fn an_overrun_in_the_middle_of_a_message_discards_it_and_counts_its_frags() {
        let link = link();
        let mut reader = LinkReader::new(link.clone(), 1_000);
        last_frag(&link, 1, CTL_SOM, &[1; 100]);
        last_frag(&link, 1, 0, &[1; 100]);
        let mut out = Vec::new();
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Empty);
        for _ in 0..9 {
            last_frag(&link, 1, 0, &[1; 100]);
        }
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Overrun { lost: 11 });
        last_frag(&link, 1, CTL_EOM, &[1; 100]);
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Skipped);
        last_frag(&link, 2, CTL_SOM | CTL_EOM, b"next");
        assert!(matches!(reader.poll(EVERY, &mut out), Polled::Message { sig: 2, .. }));
        let stats = reader.stats();
        assert_eq!((stats.broken_messages, stats.lost_frags, stats.messages), (1, 11, 1));
    }

    #[test]
    fn a_message_without_end_is_cut_at_the_longest_there_can_be() {
        let link = link();
        let mut reader = LinkReader::new(link.clone(), 1_000);
        last_frag(&link, 1, CTL_SOM, &[1; 1]);
        let mut out = Vec::new();
        for _ in 1..link.frags_max {
            last_frag(&link, 1, 0, &[1; 1]);
        }
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Empty);
        last_frag(&link, 1, 0, &[1; 1]);
        assert_eq!(reader.poll(EVERY, &mut out), Polled::Skipped);
        assert_eq!(reader.stats().malformed_frags, 1);
    }

    #[test]
    fn metadata_that_points_astray_is_passed_by_and_counted() {
        let link = link();
        let mut reader = LinkReader::new(link.clone(), 1_000);
        let whole = CTL_SOM | CTL_EOM;
        last_frag(&link, 1, whole, b"right");
        for (seq, chunk, sz) in [(1_001, 0, u16::MAX), (1_002, 4, 65), (1_003, 63, 100)] {
            link.mcache.publish(&FragMeta { seq, sig: 2, chunk, sz, ctl: whole, tsorig_us: 0, tspub_us: 0 });
        }
        let mut out = Vec::new();
        assert!(matches!(reader.poll(EVERY, &mut out), Polled::Message { sig: 1, .. }));
        for _ in 0..3 {
            assert_eq!(reader.poll(EVERY, &mut out), Polled::Skipped);
        }
        assert_eq!((reader.stats().malformed_frags, reader.poll(EVERY, &mut out)), (3, Polled::Empty));
    }
}
