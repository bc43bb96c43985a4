//! The few links on which nothing may be lost: the writer goes no further than its consumers' credits.

use crate::dcache;
use crate::fctl::{Demand, Fctl};
use crate::fseq::Fseq;
use crate::link::{Link, LinkWriter, len_of};
use crate::link_reader::{LinkReader, Polled, ReaderStats};
use crate::payload::Source;

/// Why a reliable writer did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// A consumer has not caught up; nothing was published. Try again later, or `publish_over` when it is known to be away.
    #[error("a consumer of the link has yet to catch up; try again later")]
    NoCredit,
    /// The message can never be published.
    #[error("message of {len} bytes is over the link's limit of {max} bytes; split it")]
    TooLong {
        /// Length offered.
        len: usize,
        /// Longest message.
        max: usize,
    },
}

/// Writer of a reliable link. Its consumers are fixed when it is made; with none it is never full.
#[derive(Debug)]
pub struct ReliableWriter {
    writer: LinkWriter,
    fctl: Fctl,
}

impl ReliableWriter {
    pub(crate) fn new(link: Link, consumers: &[Fseq]) -> ReliableWriter {
        let writer = LinkWriter::new(link);
        let fctl = Fctl::new(consumers, writer.seq(), writer.position());
        ReliableWriter { writer, fctl }
    }

    /// Sets the time of publication of what follows, as `LinkWriter::set_now_us` does.
    #[inline]
    pub fn set_now_us(&mut self, now_us: u32) {
        self.writer.set_now_us(now_us);
    }

    /// Publishes one message, all of it or nothing, and gives the sequence number after it.
    ///
    /// # Errors
    /// `NoCredit`: with hysteresis, until two thirds of the link are free. `TooLong`: over `message_len_max()`.
    #[inline]
    pub fn try_publish(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> Result<u64, Full> {
        self.admit(payload.len())?;
        Ok(self.writer.message(sig, tsorig_us, payload.len(), Source::whole(payload)))
    }

    /// The same for a message that lies in several places.
    #[inline]
    pub fn try_publish_parts(&mut self, sig: u64, tsorig_us: u32, parts: &[&[u8]]) -> Result<u64, Full> {
        let len = len_of(parts);
        self.admit(len)?;
        Ok(self.writer.message(sig, tsorig_us, len, Source::new(parts)))
    }

    /// Publishes without asking for credit, for consumers known to be away: what they had not read may be overwritten; their
    /// readers will see and count an overrun.
    pub fn publish_over(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> u64 {
        self.writer.publish(sig, tsorig_us, payload)
    }

    /// Number of the next frag.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.writer.seq()
    }

    /// Longest message, bytes.
    pub fn message_len_max(&self) -> usize {
        self.writer.message_len_max()
    }

    /// Whether a message of `len` bytes may be published now.
    #[inline]
    fn admit(&mut self, len: usize) -> Result<(), Full> {
        if len > self.writer.message_len_max() {
            return Err(Full::TooLong { len, max: self.writer.message_len_max() });
        }
        let position = self.writer.position();
        let (frags, end) = self.writer.link().extent(position, len);
        let demand = Demand { seq: self.writer.seq(), frags, position, end };
        if self.fctl.admits(demand, self.writer.link()) { Ok(()) } else { Err(Full::NoCredit) }
    }
}

/// Part of a ring after which a reader that is busy gives back what it has read: well under the third that the writer keeps
/// in use while it waits.
const GIVE_BACK_DEN: u64 = 8;

/// Reader of a reliable link. Its fseq tells the writer what may be overwritten: at once when there is nothing more to read,
/// else after an eighth of the link, and on drop. A reader that is killed is followed by one that starts at the fseq, so up to
/// an eighth of the link can come twice.
#[derive(Debug)]
pub struct ReliableReader {
    reader: LinkReader,
    fseq: Fseq,
    told: u64,
    bytes_since: u64,
}

impl ReliableReader {
    pub(crate) fn new(link: Link, fseq: Fseq) -> ReliableReader {
        let (seq0, position) = (link.mcache.seq0(), link.mcache.position());
        // A position outside of this link's life is left from an earlier one: begin at the beginning.
        let told = fseq.get();
        let seq = if told.wrapping_sub(seq0) <= position.wrapping_sub(seq0) { told } else { seq0 };
        fseq.publish(seq);
        ReliableReader { reader: LinkReader::new(link, seq), fseq, told: seq, bytes_since: 0 }
    }

    /// Takes the next message into `out`. `Overrun` and `Skipped` come only after `publish_over` or from a killed writer.
    #[inline]
    pub fn poll(&mut self, out: &mut Vec<u8>) -> Polled {
        let polled = self.reader.poll(|_| true, out);
        match polled {
            Polled::Empty => self.give_back(),
            Polled::Message { .. } => {
                self.bytes_since = self.bytes_since.saturating_add(dcache::round_up(out.len() as u64));
                let link = self.reader.link();
                if self.reader.seq().wrapping_sub(self.told) > link.mcache.depth() / GIVE_BACK_DEN
                    || self.bytes_since > link.dcache.data_len() / GIVE_BACK_DEN
                {
                    self.give_back();
                }
            }
            Polled::Skipped | Polled::Overrun { .. } => self.give_back(),
        }
        polled
    }

    /// Leaves out what was published before: a reader that begins a new life and knows the writer's state from elsewhere.
    pub fn skip_backlog(&mut self) {
        let newest = self.reader.link().mcache.position();
        self.reader.skip_to(newest);
        self.give_back();
    }

    /// Number of the next frag this reader wants.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.reader.seq()
    }

    /// What this reader has counted.
    pub fn stats(&self) -> ReaderStats {
        self.reader.stats()
    }

    #[inline]
    fn give_back(&mut self) {
        if self.told != self.reader.settled() {
            self.told = self.reader.settled();
            self.bytes_since = 0;
            self.fseq.publish(self.told);
        }
    }
}

impl Drop for ReliableReader {
    fn drop(&mut self) {
        self.give_back();
    }
}
