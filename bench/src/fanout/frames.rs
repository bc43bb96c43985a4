//! The frames of a QUIC packet (RFC 9000 §19), as far as a receiver of media has to read them, and the ACK that it answers.

use super::ranges::Ranges;

/// Bytes of one stream out of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPart<'a> {
    /// Stream id.
    pub stream: u64,
    /// Where in the stream the bytes begin.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
    /// They are the last ones.
    pub fin: bool,
}

/// Why a packet's payload could not be read to its end: the type of the frame, or `None` for one that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub Option<u64>);

const CUT: Unreadable = Unreadable(None);

fn take<'a>(input: &mut &'a [u8], len: u64) -> Result<&'a [u8], Unreadable> {
    let len = usize::try_from(len).map_err(|_| CUT)?;
    let (taken, rest) = input.split_at_checked(len).ok_or(CUT)?;
    *input = rest;
    Ok(taken)
}

/// RFC 9000 §16.
fn varint(input: &mut &[u8]) -> Result<u64, Unreadable> {
    let first = *input.first().ok_or(CUT)?;
    let bytes = take(input, 1 << (first >> 6))?;
    let value = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Ok(value & (u64::MAX >> (66 - 8 * bytes.len().min(8)).min(63)))
}

/// Appends a variable-length integer, at most 2^62 - 1.
pub fn put_varint(value: u64, out: &mut Vec<u8>) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads a payload to its end and gives every part of a stream to `on_part`.
///
/// # Errors
/// A frame that is unknown or cut, and CONNECTION_CLOSE: no measurement survives it.
pub fn read_frames(mut payload: &[u8], mut on_part: impl FnMut(StreamPart<'_>)) -> Result<(), Unreadable> {
    let input = &mut payload;
    while !input.is_empty() {
        let kind = varint(input)?;
        let numbers = match kind {
            0x00 | 0x01 | 0x1e => 0,
            0x02 | 0x03 => {
                let (_largest, _delay, more) = (varint(input)?, varint(input)?, varint(input)?);
                1 + more.saturating_mul(2) + if kind == 0x03 { 3 } else { 0 }
            }
            0x04 => 3,
            0x05 | 0x11 | 0x15 => 2,
            0x10 | 0x12 | 0x13 | 0x14 | 0x16 | 0x17 | 0x19 => 1,
            0x06 => {
                varint(input)?;
                let len = varint(input)?;
                take(input, len)?;
                0
            }
            0x07 => {
                let len = varint(input)?;
                take(input, len)?;
                0
            }
            0x08..=0x0f => {
                on_part(stream_part(kind, input)?);
                0
            }
            0x18 => {
                let (_sequence, _retire) = (varint(input)?, varint(input)?);
                let len = *take(input, 1)?.first().ok_or(CUT)?;
                take(input, u64::from(len) + 16)?;
                0
            }
            0x1a | 0x1b => {
                take(input, 8)?;
                0
            }
            other => return Err(Unreadable(Some(other))),
        };
        for _ in 0..numbers {
            varint(input)?;
        }
    }
    Ok(())
}

fn stream_part<'a>(kind: u64, input: &mut &'a [u8]) -> Result<StreamPart<'a>, Unreadable> {
    let stream = varint(input)?;
    let offset = if kind & 4 != 0 { varint(input)? } else { 0 };
    let len = if kind & 2 != 0 { varint(input)? } else { input.len() as u64 };
    Ok(StreamPart { stream, offset, data: take(input, len)?, fin: kind & 1 != 0 })
}

/// Writes an ACK of `ranges` (largest first on the wire) without delay. `None` when there is nothing to acknowledge.
pub fn ack_frame(ranges: &Ranges, out: &mut Vec<u8>) -> Option<()> {
    let mut newest_first = ranges.newest_first();
    let newest = newest_first.next()?;
    out.clear();
    out.push(0x02);
    put_varint(*newest.end(), out);
    put_varint(0, out);
    put_varint(newest_first.len() as u64, out);
    put_varint(newest.end() - newest.start(), out);
    let mut smallest = *newest.start();
    for range in newest_first {
        // §19.3.1: both are one less than they seem, for ranges never touch.
        put_varint(smallest - range.end() - 2, out);
        put_varint(range.end() - range.start(), out);
        smallest = *range.start();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_standard_read_and_write() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(varint(&mut &*bytes), Ok(value));
            let mut out = Vec::new();
            put_varint(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), Err(CUT));
        }
    }

    #[test]
    fn stream_parts_are_found_among_other_frames() {
        let mut payload = vec![0x00, 0x01, 0x02, 9, 0, 1, 0, 3, 2, 0x1e, 0x10, 0x40, 0x80, 0x18, 4, 0, 2, 7, 7];
        payload.extend_from_slice(&[0; 16]);
        payload.extend_from_slice(&[0x0e, 7, 5, 3, b'a', b'b', b'c', 0x09, 11, b'z']);
        let mut parts = Vec::new();
        let read = read_frames(&payload, |part| parts.push((part.stream, part.offset, part.data.to_vec(), part.fin)));
        assert_eq!(read, Ok(()));
        assert_eq!(parts, [(7, 5, b"abc".to_vec(), false), (11, 0, b"z".to_vec(), true)]);
    }

    #[test]
    fn a_close_an_unknown_frame_and_a_cut_one_are_errors() {
        assert_eq!(read_frames(&[0x1c, 0, 0, 0], |_| ()), Err(Unreadable(Some(0x1c))));
        assert_eq!(read_frames(&[0x3f], |_| ()), Err(Unreadable(Some(0x3f))));
        assert_eq!(read_frames(&[0x0a, 3, 9, 1], |_| ()), Err(CUT));
    }

    #[test]
    fn an_ack_names_every_range() {
        let mut ranges = Ranges::new(4);
        for number in [5, 6, 9, 10, 11, 20] {
            ranges.insert(number);
        }
        let mut frame = Vec::new();
        ack_frame(&ranges, &mut frame).unwrap();
        // Largest 20, no delay, two more ranges, 20..=20; gap 7 (12..=19), 9..=11; gap 1 (7..=8), 5..=6.
        assert_eq!(frame, [0x02, 20, 0, 2, 0, 7, 2, 1, 1]);
        assert_eq!(read_frames(&frame, |_| ()), Ok(()));
        assert!(ack_frame(&Ranges::new(4), &mut frame).is_none());
    }
}
