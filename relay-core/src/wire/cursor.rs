//! A reader over bytes that are all there, and the few writers that every message needs.

use bytes::{BufMut, Bytes};

use super::vi64;
use crate::error::{DecodeError, Malformed};

/// Reads fields from the front of a slice. Each read fails with [`DecodeError::NeedMore`] at the slice's end; the caller
/// knows whether more can come.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> &'a [u8] {
        self.data.get(self.position..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remaining().is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.remaining().first().ok_or(DecodeError::NeedMore)?;
        self.position += 1;
        Ok(byte)
    }

    pub(crate) fn vi64(&mut self) -> Result<u64, DecodeError> {
        let (value, len) = vi64::decode(self.remaining())?;
        self.position += len;
        Ok(value)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.remaining().get(..len).ok_or(DecodeError::NeedMore)?;
        self.position += len;
        Ok(taken)
    }

    /// A length-prefixed field of at most `len_max` bytes; a longer one is malformed even before its bytes arrive.
    pub(crate) fn prefixed(&mut self, len_max: usize, too_long: Malformed) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.vi64()?).ok().filter(|&len| len <= len_max).ok_or(too_long)?;
        self.take(len)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.remaining();
        self.position = self.data.len();
        rest
    }
}

/// Turns "needs more" into `short`, for bytes that are known to be complete.
pub(crate) fn complete<T>(result: Result<T, DecodeError>, short: Malformed) -> Result<T, Malformed> {
    result.map_err(|error| match error {
        DecodeError::NeedMore => short,
        DecodeError::Malformed(malformed) => malformed,
    })
}

pub(crate) fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Appends a length-prefixed field.
pub(crate) fn put_prefixed(bytes: &[u8], out: &mut impl BufMut) {
    vi64::encode(bytes.len() as u64, out);
    out.put_slice(bytes);
}
