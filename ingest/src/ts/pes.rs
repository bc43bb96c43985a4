//! PES packets of one PID, put together from the payloads of its packets.
//!
//! **Ends.** A PES packet with a length ends where that says; one without (most video) ends where the next begins, a whole frame
//! later. A multiplexer fills its last packet up, as the next PES packet has to begin in one of its own: once that was seen to hold
//! for some packets in a row, the filled packet is believed to be the end, so that a picture need not wait for the next one.

use mpeg2ts_reader::packet::{ContinuityCounter, Packet};

/// Bytes of a PES packet's fixed header, in front of what its length counts.
const FIXED_LEN: usize = 6;
/// Bytes of payload of a packet that holds nothing else.
const FULL_PAYLOAD_LEN: usize = 184;
/// PES packets in a row that ended with a filled packet, and only there, before it is believed.
const TRUST_MIN: u32 = 4;

/// A whole PES packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pes {
    /// Header included.
    pub(super) bytes: Vec<u8>,
    /// Its first packet says that decoding can start here (`random_access_indicator`).
    pub(super) random_access: bool,
}

/// What one packet of the PID brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// A PES packet that is whole.
    pub(super) whole: Option<Pes>,
    /// A second one, when the packet began and ended it.
    pub(super) second: Option<Pes>,
    /// Packets are missing in front of this one.
    pub(super) gap: bool,
    /// A PES packet was given up: torn by a gap, or too long.
    pub(super) damaged: bool,
    /// The packet is a repetition.
    pub(super) repeated: bool,
}

/// Puts the PES packets of one PID together.
#[derive(Debug)]
pub(super) struct PesReader {
    len_max: usize,
    buffer: Vec<u8>,
    random_access: bool,
    /// A PES packet has begun and is neither whole nor given up.
    open: bool,
    counter: Option<ContinuityCounter>,
    /// The packet before was a repetition already.
    repeated: bool,
    /// A packet of the open PES packet was filled up, and no further one has come.
    filled: bool,
    /// PES packets in a row whose filled packet was their last.
    trust: u32,
    /// Where a filled packet was believed to be the end: nothing may follow it.
    ended_early: bool,
}

impl PesReader {
    /// A PES packet longer than `len_max` is given up.
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            len_max,
            buffer: Vec::new(),
            random_access: false,
            open: false,
            counter: None,
            repeated: false,
            filled: false,
            trust: 0,
            ended_early: false,
        }
    }

    /// The next packet of the PID.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> Progress {
        let mut progress = Progress::default();
        let announced = packet.adaptation_field().is_some_and(|field| field.discontinuity_indicator());
        let Some(payload) = packet.payload() else {
            // Without payload the counter stands still (§2.4.3.3).
            if announced {
                self.counter = None;
            }
            return progress;
        };
        let counter = packet.continuity_counter();
        if let Some(before) = self.counter.filter(|_| !announced) {
            if counter.count() == before.count() && !self.repeated {
                self.repeated = true;
                progress.repeated = true;
                return progress;
            }
            progress.gap = !counter.follows(before);
        }
        (self.counter, self.repeated) = (Some(counter), false);
        if progress.gap || packet.transport_error_indicator() {
            progress.damaged = self.give_up();
        }
        if packet.payload_unit_start_indicator() {
            self.end_at_next(&mut progress);
            self.begin(payload);
            self.random_access = packet.adaptation_field().is_some_and(|field| field.random_access_indicator());
        } else if self.open {
            self.buffer.extend_from_slice(payload);
            self.trust = if self.filled { 0 } else { self.trust };
        } else if self.ended_early {
            // It was not the end: this multiplexer fills packets up in the middle.
            (self.trust, self.ended_early, progress.damaged) = (0, false, true);
        }
        self.filled = payload.len() < FULL_PAYLOAD_LEN && !has_only_clock(packet, payload.len());
        if self.open && self.buffer.len() > self.len_max {
            progress.damaged = self.give_up() || progress.damaged;
        }
        if self.open && self.is_whole() {
            let slot = if progress.whole.is_none() { &mut progress.whole } else { &mut progress.second };
            *slot = Some(self.take());
        }
        progress
    }

    /// What is there counts as whole: the stream is over.
    pub(super) fn finish(&mut self) -> Option<Pes> {
        (self.open && declared_len(&self.buffer).is_none()).then(|| self.take())
    }

    fn begin(&mut self, payload: &[u8]) {
        (self.open, self.ended_early) = (true, false);
        self.buffer.extend_from_slice(payload);
    }

    /// A new PES packet begins, so the open one is over.
    fn end_at_next(&mut self, progress: &mut Progress) {
        if !self.open {
            return;
        }
        if declared_len(&self.buffer).is_some() {
            // It said that it would be longer.
            progress.damaged = self.give_up() || progress.damaged;
            return;
        }
        self.trust = if self.filled { self.trust.saturating_add(1) } else { self.trust };
        progress.whole = Some(self.take());
    }

    fn is_whole(&mut self) -> bool {
        match declared_len(&self.buffer) {
            Some(len) => {
                let whole = self.buffer.len() >= len;
                if whole {
                    self.buffer.truncate(len);
                }
                whole
            }
            None => {
                self.ended_early = self.filled && self.trust >= TRUST_MIN;
                self.ended_early
            }
        }
    }

    fn take(&mut self) -> Pes {
        self.open = false;
        // The next one is about as long.
        let next = Vec::with_capacity(self.buffer.len());
        Pes { bytes: std::mem::replace(&mut self.buffer, next), random_access: self.random_access }
    }

    fn give_up(&mut self) -> bool {
        let lost = self.open;
        (self.open, self.ended_early) = (false, false);
        self.buffer.clear();
        lost
    }
}

/// The whole length of a PES packet that says so.
fn declared_len(buffer: &[u8]) -> Option<usize> {
    match buffer {
        [_, _, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([*high, *low])) {
            0 => None,
            len => Some(len.saturating_add(FIXED_LEN)),
        },
        // Too short to say so: it may be any length.
        _ => Some(FIXED_LEN),
    }
}

/// The packet is short for its adaptation field alone, which is as long as what is in it: nothing was filled up.
fn has_only_clock(packet: &Packet<'_>, payload_len: usize) -> bool {
    /// Flags and a clock reference.
    const WITH_CLOCK_LEN: usize = 7;
    let Some(field) = packet.adaptation_field() else { return false };
    let len = FULL_PAYLOAD_LEN.saturating_sub(1).saturating_sub(payload_len);
    let needed = if field.pcr().is_ok() { WITH_CLOCK_LEN } else { 1 };
    len <= needed
}
