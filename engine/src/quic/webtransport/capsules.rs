//! Capsules (RFC 9297 §3.2) off the CONNECT stream: one sequence over the payloads of all its DATA frames, however they are cut.

use crate::quic::prefix::PartialVarInt;

/// WT_CLOSE_SESSION (draft-ietf-webtrans-http3 §6): 4 bytes of code and a reason, which nobody here reads.
const CLOSE_SESSION: u64 = 0x2843;

/// Reads capsules and keeps nothing of them: the one that matters says all by its type.
#[derive(Debug, Default)]
pub(in crate::quic) struct CapsuleReader {
    kind: PartialVarInt,
    len: PartialVarInt,
    head: Option<u64>,
    left: Option<u64>,
}

impl CapsuleReader {
    /// Takes what came. `true` once the session's close capsule is whole; what follows it is of no matter.
    pub(in crate::quic) fn feed(&mut self, mut input: &[u8]) -> bool {
        loop {
            if self.head.is_none() {
                self.head = self.kind.feed(&mut input);
            }
            let Some(kind) = self.head else { return false };
            let Some(left) = self.left.or_else(|| self.len.feed(&mut input)) else { return false };
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            input = input.get(taken..).unwrap_or_default();
            let left = left.saturating_sub(taken as u64);
            if left > 0 {
                self.left = Some(left);
                return false;
            }
            (self.head, self.left) = (None, None);
            if kind == CLOSE_SESSION {
                return true;
            }
            if input.is_empty() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capsule as it stands on the wire.
    fn capsule(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut wire = (0x4000 | kind).to_be_bytes().to_vec();
        wire.extend_from_slice(&(0x8000_0000 | value.len() as u32).to_be_bytes());
        wire.extend_from_slice(value);
        wire
    }

    #[test]
    fn a_close_is_seen_wherever_it_stands_and_however_it_is_cut() {
        let close = capsule(0x2843, b"\0\0\0\x07bye");
        let not_utf8 = capsule(0x2843, b"\0\0\0\x07\xff\xfe");
        let behind = [capsule(0x17, b""), capsule(0x1234, &[1; 40_000]), close.clone()].concat();
        for wire in [close, not_utf8, behind, capsule(0x2843, b"")] {
            for cut in [1, 2, 3, 5, 7, 8, 1_000, wire.len()] {
                let mut reader = CapsuleReader::default();
                let seen: Vec<bool> = wire.chunks(cut).map(|chunk| reader.feed(chunk)).collect();
                assert_eq!(seen.iter().position(|seen| *seen), Some(seen.len() - 1), "cut {cut}");
            }
        }
    }

    #[test]
    fn others_of_any_length_are_skipped() {
        let mut reader = CapsuleReader::default();
        assert!(!reader.feed(&capsule(0x1234, &[0; 40_000])));
        // The longest there can be: 2^62 - 1 bytes that are never here at once.
        assert!(!reader.feed(&[0x17, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        for _ in 0..100 {
            assert!(!reader.feed(&[0x68; 1_000]));
        }
    }
}
