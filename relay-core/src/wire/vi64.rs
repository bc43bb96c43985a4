//! Variable-length integers (draft-18 §1.4.1): the leading one bits of the first byte count the bytes that follow.
//!
//! These are not the integers of RFC 9000, though both have one to nine bytes on the same streams.

use bytes::BufMut;

use crate::error::DecodeError;

/// Longest encoding in bytes.
pub const LEN_MAX: usize = 9;

/// Bytes that `value` takes in its shortest form: 1 to 9.
pub const fn len(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()) as usize;
    match bits {
        0..=7 => 1,
        57.. => LEN_MAX,
        // Seven payload bits a byte, up to eight bytes.
        _ => bits.div_ceil(7),
    }
}

/// Appends `value` in its shortest form.
pub fn encode(value: u64, out: &mut impl BufMut) {
    let len = len(value);
    let bytes = value.to_be_bytes();
    if len == LEN_MAX {
        out.put_u8(0xFF);
        out.put_slice(&bytes);
        return;
    }
    // len - 1 leading ones; the value's own top bits are zero there, since it has at most 7 * len bits.
    let prefix = !(0xFFu64 >> (len - 1)) & 0xFF;
    let marked = value | (prefix << (8 * (len - 1)));
    out.put_slice(&marked.to_be_bytes()[8 - len..]);
}

/// Reads one integer from the front of `data`: the value and the bytes it took. Longer forms than needed are valid.
pub fn decode(data: &[u8]) -> Result<(u64, usize), DecodeError> {
    let (&first, rest) = data.split_first().ok_or(DecodeError::NeedMore)?;
    let extra = first.leading_ones() as usize;
    let tail = rest.get(..extra).ok_or(DecodeError::NeedMore)?;
    // Seven or eight leading ones leave no payload bit in the first byte.
    let head = if extra >= 7 { 0 } else { u64::from(first & (0x7F >> extra)) };
    let value = tail.iter().fold(head, |value, &byte| (value << 8) | u64::from(byte));
    Ok((value, extra + 1))
}
