//! Boxes of ISO BMFF where they lie in a buffer (ISO/IEC 14496-12 §4.2). Nothing is copied.

use super::Mp4Error;

/// Deepest and widest that a segment of ours gets; a limit for what a broken one can make us walk.
const BOXES_MAX: usize = 4096;

/// One box: where it lies in the buffer that was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoxAt {
    pub kind: [u8; 4],
    /// Offset of the first header byte.
    pub start: usize,
    /// Offset of the first byte after the header.
    pub body: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// The boxes that fill `data[from..to]`, in order.
pub(crate) fn children(data: &[u8], from: usize, to: usize) -> Result<Vec<BoxAt>, Mp4Error> {
    let mut boxes = Vec::new();
    let mut start = from;
    while start < to {
        let found = header(data, start, to)?;
        start = found.end;
        boxes.push(found);
        if boxes.len() > BOXES_MAX {
            return Err(Mp4Error::Malformed("more boxes than any segment has"));
        }
    }
    Ok(boxes)
}

fn header(data: &[u8], start: usize, to: usize) -> Result<BoxAt, Mp4Error> {
    const CUT: Mp4Error = Mp4Error::Malformed("a box is cut off");
    let small = u32_at(data, start).ok_or(CUT)?;
    let kind = array_at::<4>(data, start.saturating_add(4)).ok_or(CUT)?;
    let (header_len, len) = match small {
        // A 64-bit length follows; a length of zero reaches to the end.
        1 => (16, u64_at(data, start.saturating_add(8)).ok_or(CUT)?),
        0 => (8, to.saturating_sub(start) as u64),
        len => (8, u64::from(len)),
    };
    let len = usize::try_from(len).map_err(|_| CUT)?;
    let end = start.checked_add(len).filter(|&end| end <= to).ok_or(CUT)?;
    let body = start.saturating_add(header_len);
    if body > end {
        return Err(CUT);
    }
    Ok(BoxAt { kind, start, body, end })
}

/// The only or first box of `kind` among `boxes`.
pub(crate) fn first(boxes: &[BoxAt], kind: &[u8; 4]) -> Option<BoxAt> {
    boxes.iter().copied().find(|found| &found.kind == kind)
}

/// The box reached from `data[from..to]` by this path of kinds.
pub(crate) fn descend(data: &[u8], from: usize, to: usize, path: &[&[u8; 4]]) -> Result<Option<BoxAt>, Mp4Error> {
    let (mut from, mut to) = (from, to);
    let mut found = None;
    for kind in path {
        let Some(next) = first(&children(data, from, to)?, kind) else { return Ok(None) };
        (from, to) = (next.body, next.end);
        found = Some(next);
    }
    Ok(found)
}

fn array_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    array_at(data, at).map(u32::from_be_bytes)
}

pub(crate) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    array_at(data, at).map(u64::from_be_bytes)
}

pub(crate) fn put_u32(data: &mut [u8], at: usize, value: u32) -> Option<()> {
    data.get_mut(at..at.checked_add(4)?)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

pub(crate) fn put_u64(data: &mut [u8], at: usize, value: u64) -> Option<()> {
    data.get_mut(at..at.checked_add(8)?)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}
