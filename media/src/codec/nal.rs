//! What stands inside NAL units (H.264 §7.3), as far as a server has to know, and the bounds that all video codecs share.

use super::bits::BitReader;

/// A sequence header in real life has less than 200 bytes.
pub const RECORD_LEN_MAX: usize = 16 * 1024;
/// Frame rates outside are a stream that lies (or counts fields).
pub const FRAMERATE_RANGE: std::ops::RangeInclusive<f64> = 1.0..=480.0;
/// NAL units of one access unit: a key frame of 8 MiB in slices of 1 KiB.
pub const UNITS_MAX: usize = 8192;
/// H.264 level 6.2 allows 139 264 macroblocks; no picture is longer than this on one side.
const SIDE_MAX: u32 = 16_384;

/// Bytes of a slice header that hold its first two numbers.
const SLICE_HEADER_LEN: usize = 16;
/// SEI payload type of a recovery point (§D.1.8).
const RECOVERY_POINT: u32 = 6;
const I_SLICE: u32 = 2;
/// Slice types 5 to 9 say the same of every slice of the picture.
const SLICE_TYPES: u32 = 5;

/// One side of a picture in luma samples; `None` when it is out of range.
pub fn side(len: u64) -> Option<u32> {
    u32::try_from(len).ok().filter(|side| (1..=SIDE_MAX).contains(side))
}

/// The NAL units of an access unit, each behind a length of `length_size` bytes. `None` is the last item, where a length does not
/// fit or there are more than 8192.
pub fn units(access_unit: &[u8], length_size: usize) -> impl Iterator<Item = Option<&[u8]>> {
    let (mut rest, mut left) = (access_unit, UNITS_MAX);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let unit = left.checked_sub(1).and_then(|one_less| {
            left = one_less;
            let (prefix, tail) = rest.split_at_checked(length_size)?;
            let length = prefix.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
            let (unit, tail) = tail.split_at_checked(length)?;
            rest = tail;
            Some(unit)
        });
        if unit.is_none() {
            rest = &[];
        }
        Some(unit)
    })
}

/// True for a slice of type I.
pub fn is_intra_slice(unit: &[u8]) -> bool {
    let mut header = [0; SLICE_HEADER_LEN];
    let len = header.iter_mut().zip(payload(unit)).map(|(slot, byte)| *slot = byte).count();
    let mut bits = BitReader::new(header.get(..len).unwrap_or_default());
    let _first_macroblock = bits.read_exp_golomb();
    bits.read_exp_golomb().is_some_and(|kind| kind % SLICE_TYPES == I_SLICE)
}

/// True when one of an SEI unit's messages is a recovery point.
pub fn has_recovery_point(unit: &[u8]) -> bool {
    let mut bytes = payload(unit);
    while let (Some(kind), Some(size)) = (sei_number(&mut bytes), sei_number(&mut bytes)) {
        if kind == RECOVERY_POINT {
            return true;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > 0 && bytes.nth(size.saturating_sub(1)).is_none() {
            return false;
        }
    }
    false
}

/// Payload type or size (§7.3.2.3.1): 255 for each full byte, then the rest.
fn sei_number(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0u32;
    loop {
        let byte = bytes.next()?;
        number = number.saturating_add(u32::from(byte));
        if byte != 0xff {
            return Some(number);
        }
    }
}

/// The bytes behind the unit's header, without those that keep start codes out (§7.4.1: 3 after two zeros).
pub fn payload(unit: &[u8]) -> impl Iterator<Item = u8> {
    let mut zeros = 0u8;
    unit.iter().copied().skip(1).filter(move |byte| {
        let keeps_out = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros.saturating_add(1) } else { 0 };
        !keeps_out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        // Unregistered user data of 258 bytes, then a recovery point of one byte.
        let mut unit = vec![0x06, 5, 0xff, 3];
        unit.resize(4 + 258, 0xab);
        unit.extend_from_slice(&[6, 1, 0xc4, 0x80]);
        assert!(has_recovery_point(&unit));
        assert!(!has_recovery_point(&unit[..4 + 258]), "cut in front of it");
        // A size that counts past bytes that keep start codes out.
        assert!(has_recovery_point(&[0x06, 5, 3, 0, 0, 3, 1, 6, 1, 0xc4, 0x80]));
        assert!(!has_recovery_point(&[0x06, 1, 4, 6, 1, 6, 1, 0x80]), "a six inside a message");
    }

    #[test]
    fn slice_types_are_read() {
        // First macroblock 0 and type 7 (I), 2 (I), 5 (P), 0 (P).
        for (bits, intra) in [(0b1000_1000, true), (0b1011_0000, true), (0b1001_1000, false), (0b1100_0000, false)] {
            assert_eq!(is_intra_slice(&[0x41, bits, 0]), intra, "{bits:b}");
        }
        assert!(!is_intra_slice(&[0x41]));
    }
}
