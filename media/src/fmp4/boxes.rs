//! Boxes of ISO BMFF where they lie in a buffer (ISO/IEC 14496-12 §4.2). Nothing is copied, and nothing is walked twice in
//! depth: readers go down known paths only, so nesting costs what its bytes do.

use crate::MediaError;

/// Widest that a segment of ours gets; a limit for what a broken one can make us walk.
const BOXES_MAX: usize = 4096;
const CUT: MediaError = MediaError::Malformed("a box is cut off");
/// Length and type.
pub(super) const HEADER_LEN: usize = 8;

/// One box: where it lies in the buffer that was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxAt {
    /// Its type.
    pub kind: [u8; 4],
    /// Offset of the first header byte.
    pub start: usize,
    /// Offset of the first byte after the header.
    pub body: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl BoxAt {
    /// Where the field of `N` bytes lies that begins `offset` bytes into the body; `None` when the box is shorter.
    fn field<const N: usize>(&self, offset: usize) -> Option<std::ops::Range<usize>> {
        let at = self.body.checked_add(offset)?;
        let end = at.checked_add(N)?;
        (end <= self.end).then_some(at..end)
    }

    fn array<const N: usize>(&self, data: &[u8], offset: usize) -> Option<[u8; N]> {
        data.get(self.field::<N>(offset)?)?.try_into().ok()
    }

    pub(super) fn u8(&self, data: &[u8], offset: usize) -> Option<u8> {
        self.array::<1>(data, offset).map(|[byte]| byte)
    }

    pub(super) fn u32(&self, data: &[u8], offset: usize) -> Option<u32> {
        self.array(data, offset).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&self, data: &[u8], offset: usize) -> Option<u64> {
        self.array(data, offset).map(u64::from_be_bytes)
    }

    pub(super) fn put_u32(&self, data: &mut [u8], offset: usize, value: u32) -> Option<()> {
        data.get_mut(self.field::<4>(offset)?)?.copy_from_slice(&value.to_be_bytes());
        Some(())
    }

    pub(super) fn put_u64(&self, data: &mut [u8], offset: usize, value: u64) -> Option<()> {
        data.get_mut(self.field::<8>(offset)?)?.copy_from_slice(&value.to_be_bytes());
        Some(())
    }

    /// The boxes in it, when it holds nothing else.
    pub(super) fn children<'a>(&self, data: &'a [u8]) -> Boxes<'a> {
        Boxes { data, at: self.body, to: self.end, left: BOXES_MAX }
    }
}

/// The boxes that fill `data`, in order: the top level of a file, an init segment or a chunk.
///
/// An item is [`MediaError::Malformed`] when the rest is no whole box, or when there are more boxes than any segment has; it is the
/// last one then.
pub fn boxes(data: &[u8]) -> Boxes<'_> {
    Boxes { data, at: 0, to: data.len(), left: BOXES_MAX }
}

/// See [`boxes`].
#[derive(Debug, Clone)]
pub struct Boxes<'a> {
    data: &'a [u8],
    at: usize,
    to: usize,
    left: usize,
}

impl Iterator for Boxes<'_> {
    type Item = Result<BoxAt, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.to {
            return None;
        }
        let found = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                header(self.data, self.at, self.to)
            }
            None => Err(MediaError::Malformed("more boxes than any segment has")),
        };
        self.at = found.as_ref().map_or(self.to, |found| found.end);
        Some(found)
    }
}

fn header(data: &[u8], start: usize, to: usize) -> Result<BoxAt, MediaError> {
    let all = BoxAt { kind: *b"    ", start, body: start, end: to };
    let small = all.u32(data, 0).ok_or(CUT)?;
    let kind = all.array::<4>(data, 4).ok_or(CUT)?;
    let (header_len, len) = match small {
        // A 64-bit length follows; a length of zero reaches to the end.
        1 => (16, all.u64(data, 8).ok_or(CUT)?),
        0 => (HEADER_LEN, to.saturating_sub(start) as u64),
        len => (HEADER_LEN, u64::from(len)),
    };
    let len = usize::try_from(len).map_err(|_| CUT)?;
    let end = start.checked_add(len).filter(|&end| end <= to).ok_or(CUT)?;
    let body = start.saturating_add(header_len);
    if body > end {
        return Err(CUT);
    }
    Ok(BoxAt { kind, start, body, end })
}

/// The only or first box of `kind` among `boxes`; an error when what is before it cannot be walked.
pub(super) fn first(boxes: Boxes<'_>, kind: &[u8; 4]) -> Result<Option<BoxAt>, MediaError> {
    for found in boxes {
        let found = found?;
        if &found.kind == kind {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The box reached from `boxes` by this path of kinds.
pub(super) fn descend(data: &[u8], boxes: Boxes<'_>, path: &[&[u8; 4]]) -> Result<Option<BoxAt>, MediaError> {
    let mut level = boxes;
    let mut found = None;
    for kind in path {
        let Some(next) = first(level, kind)? else { return Ok(None) };
        level = next.children(data);
        found = Some(next);
    }
    Ok(found)
}

/// The only box of `kind` among `boxes`; `None` when there is none or more than one.
pub(super) fn only(boxes: Boxes<'_>, kind: &[u8; 4]) -> Result<Option<BoxAt>, MediaError> {
    let mut only = None;
    for found in boxes {
        let found = found?;
        if &found.kind == kind && only.replace(found).is_some() {
            return Ok(None);
        }
    }
    Ok(only)
}
