//! HTTP/3 framing read a byte at a time: Chromium sends a stream's prefix in a packet of its own.

use web_transport_proto::VarInt;

use super::webtransport::errors::H3_EXCESSIVE_LOAD;

/// A QUIC variable-length integer under construction. 8 bytes at most, so it needs no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialVarInt {
    bytes: [u8; 8],
    len: usize,
}

impl PartialVarInt {
    /// Takes bytes off the front of `input` until the integer is whole.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Option<u64> {
        while let Some((first, rest)) = input.split_first() {
            *input = rest;
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *first;
                self.len += 1;
            }
            // RFC 9000 §16: the first two bits are the binary logarithm of the length.
            if self.len == 1 << (self.bytes[0] >> 6) {
                let Self { bytes, len } = std::mem::take(self);
                return VarInt::decode(&mut bytes.get(..len)?).ok().map(VarInt::into_inner);
            }
        }
        None
    }
}

/// What to do with the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Gathered until it is whole.
    Keep,
    /// Handed on as it comes.
    Pass,
    /// Dropped: RFC 9114 §9 asks to ignore what is unknown, of any length.
    Skip,
}

/// What came off a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A frame that was kept: its payload.
    Frame(Vec<u8>),
    /// Some of the payload of a frame that is passed on.
    Part(&'a [u8]),
}

/// Splits a stream into HTTP/3 frames with bounded memory.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    kind: PartialVarInt,
    len: PartialVarInt,
    head: Option<u64>,
    /// What is to be done with the frame's payload, and how much of it is to come.
    body: Option<(Payload, u64)>,
    kept: Vec<u8>,
}

impl FrameReader {
    /// Largest payload kept. SETTINGS and HEADERS of a CONNECT with a 4 KiB token fit many times.
    pub(super) const KEPT_LEN_MAX: u64 = 16 << 10;

    /// A reader whose first frame type was taken off the stream already.
    pub(super) fn inside(kind: u64) -> Self {
        Self { head: Some(kind), ..Self::default() }
    }

    /// Takes bytes off `input` until there is something to look at. `payload` decides by a frame's type; its error, and
    /// H3_EXCESSIVE_LOAD for a frame that is too large to keep, is one of the connection.
    pub(super) fn feed<'a>(
        &mut self,
        input: &mut &'a [u8],
        payload: impl Fn(u64) -> Result<Payload, u64>,
    ) -> Result<Option<Piece<'a>>, u64> {
        loop {
            let (what, left) = match self.body {
                Some(body) => body,
                None => match self.head(input, &payload)? {
                    Some(body) => *self.body.insert(body),
                    None => return Ok(None),
                },
            };
            let (taken, rest) = input.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(input.len()));
            *input = rest;
            let left = left.saturating_sub(taken.len() as u64);
            self.body = (left > 0).then_some((what, left));
            match what {
                Payload::Keep => {
                    self.kept.extend_from_slice(taken);
                    if left == 0 {
                        return Ok(Some(Piece::Frame(std::mem::take(&mut self.kept))));
                    }
                }
                Payload::Pass if !taken.is_empty() => return Ok(Some(Piece::Part(taken))),
                Payload::Pass | Payload::Skip => {}
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Bytes of a frame that is not whole yet.
    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Type and length of the next frame.
    fn head(
        &mut self,
        input: &mut &[u8],
        payload: &impl Fn(u64) -> Result<Payload, u64>,
    ) -> Result<Option<(Payload, u64)>, u64> {
        if self.head.is_none() {
            self.head = self.kind.feed(input);
        }
        let Some(kind) = self.head else { return Ok(None) };
        let what = payload(kind)?;
        let Some(len) = self.len.feed(input) else { return Ok(None) };
        if what == Payload::Keep && len > Self::KEPT_LEN_MAX {
            return Err(H3_EXCESSIVE_LOAD);
        }
        self.head = None;
        Ok(Some((what, len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_whole_only_when_the_last_byte_came() {
        let mut partial = PartialVarInt::default();
        for (bytes, value) in [(&[0x25][..], 37), (&[0x40, 0x54], 0x54), (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333)] {
            for (index, byte) in bytes.iter().enumerate() {
                let one = [*byte];
                let got = partial.feed(&mut &one[..]);
                assert_eq!(got, (index + 1 == bytes.len()).then_some(value));
            }
        }
    }

    fn payload(kind: u64) -> Result<Payload, u64> {
        match kind {
            0x00 => Ok(Payload::Pass),
            0x01 | 0x04 => Ok(Payload::Keep),
            0x02 => Err(0x105),
            _ => Ok(Payload::Skip),
        }
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        // SETTINGS, HEADERS (empty), DATA, an unknown one, HEADERS.
        let wire = [0x04, 3, 1, 2, 3, 0x01, 0, 0x00, 2, 7, 8, 0x40, 0x21, 2, 9, 9, 0x01, 1, 5];
        for cut in 1..=wire.len() {
            let mut reader = FrameReader::default();
            let (mut frames, mut parts) = (Vec::new(), Vec::new());
            for chunk in wire.chunks(cut) {
                let mut input = chunk;
                while let Some(piece) = reader.feed(&mut input, payload).expect("known frames") {
                    match piece {
                        Piece::Frame(body) => frames.push(body),
                        Piece::Part(part) => parts.extend_from_slice(part),
                    }
                }
            }
            assert_eq!((frames, parts), (vec![vec![1, 2, 3], vec![], vec![5]], vec![7, 8]), "cut {cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_stored_and_an_unknown_one_is_skipped() {
        let mut input = &[0x01, 0x80, 0x01, 0x00, 0x00][..];
        assert_eq!(FrameReader::default().feed(&mut input, payload), Err(H3_EXCESSIVE_LOAD));
        let mut reader = FrameReader::default();
        let wire = [&[0x21, 0x80, 0x01, 0x00, 0x00][..], &[0; 65_536], &[0x01, 1, 6]].concat();
        assert_eq!(reader.feed(&mut &wire[..], payload), Ok(Some(Piece::Frame(vec![6]))));
        assert_eq!(reader.feed(&mut &[0x02][..], payload), Err(0x105), "told by its type alone");
    }
}
