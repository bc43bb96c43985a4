//! What stands inside NAL units (H.264 §7.3), as far as a server has to know.

use super::bits::BitReader;

/// Bytes of a slice header that hold its first two numbers.
const SLICE_HEADER_LEN: usize = 16;
/// SEI payload type of a recovery point (§D.1.8).
const RECOVERY_POINT: u32 = 6;
const I_SLICE: u32 = 2;
/// Slice types 5 to 9 say the same of every slice of the picture.
const SLICE_TYPES: u32 = 5;

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
fn payload(unit: &[u8]) -> impl Iterator<Item = u8> {
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
