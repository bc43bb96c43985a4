//! What objects on all kinds of streams have in common (draft-18 §11.2).

use bytes::{Bytes, BytesMut};

use super::cursor::Cursor;
use super::property;
use crate::error::{DecodeError, Malformed};

/// Longest Object Properties in bytes that we accept; the draft sets no limit.
pub const PROPERTIES_LEN_MAX: usize = 65_535;

/// Whether an object is one, or the mark of an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ObjectStatus {
    /// An object, possibly empty.
    #[default]
    Normal,
    /// No object with this id or a larger one exists in the group.
    EndOfGroup,
    /// No object at this place or after it exists in the track.
    EndOfTrack,
}

impl ObjectStatus {
    /// The number on the wire.
    pub const fn to_u64(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::EndOfGroup => 3,
            Self::EndOfTrack => 4,
        }
    }

    /// The status with this number.
    ///
    /// # Errors
    /// Any number but 0, 3 and 4.
    pub fn from_u64(value: u64) -> Result<Self, Malformed> {
        match value {
            0 => Ok(Self::Normal),
            3 => Ok(Self::EndOfGroup),
            4 => Ok(Self::EndOfTrack),
            _ => Err(Malformed::violation("Object Status", "not 0, 3 or 4")),
        }
    }
}

/// Reads the length of Object Properties and checks the pairs; gives the range they lie in, relative to the cursor's data.
pub(crate) fn properties_range(cursor: &mut Cursor<'_>) -> Result<std::ops::Range<usize>, DecodeError> {
    const TOO_LONG: Malformed = Malformed::violation("Object Properties", "longer than 65535 bytes");
    let pairs = cursor.prefixed(PROPERTIES_LEN_MAX, TOO_LONG)?;
    property::check(pairs)?;
    let end = cursor.position();
    Ok(end.saturating_sub(pairs.len())..end)
}

/// An object's size, checked against the receiver's limit.
pub(crate) fn payload_len(len: u64, payload_len_max: usize) -> Result<usize, Malformed> {
    let too_large = Malformed::violation("Object Payload", "longer than this receiver takes");
    usize::try_from(len).ok().filter(|&len| len <= payload_len_max).ok_or(too_large)
}

/// Splits `head_len + payload_len` bytes off the front: the header's bytes and the payload. The caller has seen that they are
/// there.
pub(crate) fn split(buffer: &mut BytesMut, head_len: usize, payload_len: usize) -> (Bytes, Bytes) {
    let mut object = buffer.split_to(head_len.saturating_add(payload_len).min(buffer.len())).freeze();
    let head = object.split_to(head_len.min(object.len()));
    (head, object)
}
