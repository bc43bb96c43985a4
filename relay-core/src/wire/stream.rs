//! What a unidirectional stream carries, by its first integer (draft-18 §3.4).

use super::vi64;
use crate::error::{DecodeError, Malformed};

/// Stream type of a control stream; also the type of its first message, SETUP.
pub const SETUP_STREAM: u64 = 0x2F00;
/// Stream type of the answer to a FETCH.
pub const FETCH_STREAM: u64 = 0x05;
/// Stream type of padding.
pub const PADDING_STREAM: u64 = 0x132B_3E28;
/// Datagram type of padding.
pub const PADDING_DATAGRAM: u64 = 0x132B_3E29;

/// What follows on a unidirectional stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Control messages, SETUP first.
    Control,
    /// Objects of one subgroup.
    Subgroup,
    /// Objects that a FETCH asked for.
    Fetch,
    /// Bytes without meaning; read and drop them.
    Padding,
}

impl StreamKind {
    /// Looks at the first bytes of a stream and takes none of them: the kind's own reader starts with the same bytes.
    ///
    /// # Errors
    /// More bytes are needed, or the type is unknown.
    pub fn peek(data: &[u8]) -> Result<Self, DecodeError> {
        match vi64::decode(data)?.0 {
            SETUP_STREAM => Ok(Self::Control),
            FETCH_STREAM => Ok(Self::Fetch),
            PADDING_STREAM => Ok(Self::Padding),
            kind if is_subgroup(kind) => Ok(Self::Subgroup),
            _ => Err(Malformed::violation("unidirectional stream", "unknown stream type").into()),
        }
    }
}

/// The form 0b0XX1XXXX of draft-18 §11.4.2.
pub(crate) fn is_subgroup(kind: u64) -> bool {
    kind <= 0x7F && kind & 0x10 != 0
}
