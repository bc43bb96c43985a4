//! HTTP/3 framing read a byte at a time: Chromium sends a stream's prefix in a packet of its own.

use web_transport_proto::VarInt;

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

/// Splits a stream into HTTP/3 frames with bounded memory.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    kind: PartialVarInt,
    len: PartialVarInt,
    head: Option<u64>,
    left: Option<usize>,
    body: Vec<u8>,
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameTooLarge;

impl FrameReader {
    /// Largest frame kept. SETTINGS, HEADERS of a CONNECT with a 4 KiB token and close capsules fit many times.
    pub(super) const BODY_LEN_MAX: usize = 16 << 10;

    /// A reader whose first frame type was taken off the stream already.
    pub(super) fn inside(kind: u64) -> Self {
        Self { head: Some(kind), ..Self::default() }
    }

    /// Takes bytes off `input` until one frame is whole: (type, body).
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<(u64, Vec<u8>)>, FrameTooLarge> {
        if self.head.is_none() {
            self.head = self.kind.feed(input);
        }
        let Some(kind) = self.head else { return Ok(None) };
        if self.left.is_none() {
            let Some(len) = self.len.feed(input) else { return Ok(None) };
            let len = usize::try_from(len).ok().filter(|len| *len <= Self::BODY_LEN_MAX).ok_or(FrameTooLarge)?;
            self.left = Some(len);
        }
        let Some(left) = self.left else { return Ok(None) };
        let (taken, rest) = input.split_at(left.min(input.len()));
        self.body.extend_from_slice(taken);
        *input = rest;
        if taken.len() < left {
            self.left = Some(left - taken.len());
            return Ok(None);
        }
        self.head = None;
        self.left = None;
        Ok(Some((kind, std::mem::take(&mut self.body))))
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

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let wire = [0x04, 3, 1, 2, 3, 0x01, 0, 0x40, 0x21, 2, 9, 9];
        for cut in 1..wire.len() {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            for chunk in wire.chunks(cut) {
                let mut input = chunk;
                while let Some(frame) = reader.feed(&mut input).expect("small frames") {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [(4, vec![1, 2, 3]), (1, vec![]), (0x21, vec![9, 9])], "cut {cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_stored() {
        let mut reader = FrameReader::default();
        let mut input = &[0x01, 0x80, 0x01, 0x00, 0x00][..];
        assert_eq!(reader.feed(&mut input), Err(FrameTooLarge));
    }
}
