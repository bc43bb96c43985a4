//! Names and places of things: namespace, full track name, location (draft-18 §1.4.2, §2.4.1).

use std::fmt;

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, copied, put_prefixed};
use super::vi64;
use crate::error::{DecodeError, Error, Malformed};

/// Most fields in a namespace.
pub const NAMESPACE_FIELDS_MAX: usize = 32;
/// Longest full track name in bytes: the namespace's fields and the track's name together.
pub const FULL_TRACK_NAME_LEN_MAX: usize = 4096;

/// An ordered set of 0 to 32 fields, each of at least one byte, at most 4096 bytes in all. Only a prefix or a suffix may
/// have no field. Compared byte by byte.
///
/// The tuple is open so that names can be built freely; decoders and encoders check the limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub Vec<Bytes>);

impl Namespace {
    /// A namespace of these fields.
    ///
    /// # Errors
    /// More than 32 fields, an empty field, or more than 4096 bytes.
    pub fn new<I, F>(fields: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = F>,
        F: AsRef<[u8]>,
    {
        let namespace = Self(fields.into_iter().map(|field| copied(field.as_ref())).collect());
        namespace.check()?;
        Ok(namespace)
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether this namespace begins with all fields of `prefix` (itself included).
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The fields after `prefix`; `None` when this namespace does not begin with it.
    pub fn suffix(&self, prefix: &Self) -> Option<Self> {
        self.0.strip_prefix(prefix.0.as_slice()).map(|rest| Self(rest.to_vec()))
    }

    /// This namespace followed by the fields of `suffix`.
    ///
    /// # Errors
    /// The result is over the limits of a namespace.
    pub fn join(&self, suffix: &Self) -> Result<Self, Error> {
        let joined = Self(self.0.iter().chain(&suffix.0).cloned().collect());
        joined.check()?;
        Ok(joined)
    }

    /// Whether the first field begins with a dot: reserved for MoQT itself (draft-18 §3.2.1).
    pub fn is_reserved(&self) -> bool {
        self.0.first().is_some_and(|field| field.starts_with(b"."))
    }

    /// Sum of the fields' lengths in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn check(&self) -> Result<(), Error> {
        if self.0.len() > NAMESPACE_FIELDS_MAX {
            let (len, limit) = (self.0.len(), NAMESPACE_FIELDS_MAX);
            return Err(Error::TooLarge { what: "number of namespace fields", len, limit });
        }
        if self.0.iter().any(Bytes::is_empty) {
            return Err(Error::Invalid { what: "namespace", reason: "every field needs at least one byte" });
        }
        check_name_len(self.len_bytes())
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) -> Result<(), Error> {
        self.check()?;
        vi64::encode(self.0.len() as u64, out);
        for field in &self.0 {
            put_prefixed(field, out);
        }
        Ok(())
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "Track Namespace";
        const TOO_LONG: Malformed = Malformed::violation(WHAT, "longer than 4096 bytes");
        let count = cursor.vi64()?;
        if count > NAMESPACE_FIELDS_MAX as u64 {
            return Err(Malformed::violation(WHAT, "more than 32 fields").into());
        }
        let mut fields = Vec::new();
        let mut len = 0usize;
        for _ in 0..count {
            let field = cursor.prefixed(FULL_TRACK_NAME_LEN_MAX, TOO_LONG)?;
            if field.is_empty() {
                return Err(Malformed::violation(WHAT, "an empty field").into());
            }
            len = len.saturating_add(field.len());
            if len > FULL_TRACK_NAME_LEN_MAX {
                return Err(TOO_LONG.into());
            }
            fields.push(copied(field));
        }
        Ok(Self(fields))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            write!(f, "{}", field.escape_ascii())?;
        }
        Ok(())
    }
}

/// A track's identity: namespace and name, at most 4096 bytes together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullTrackName {
    /// The namespace.
    pub namespace: Namespace,
    /// The name inside the namespace, possibly empty, e.g. `video/720p`.
    pub name: Bytes,
}

impl FullTrackName {
    /// The track `name` in `namespace`.
    ///
    /// # Errors
    /// More than 4096 bytes in all.
    pub fn new(namespace: Namespace, name: impl AsRef<[u8]>) -> Result<Self, Error> {
        let name = Self { namespace, name: copied(name.as_ref()) };
        check_name_len(name.len_bytes())?;
        Ok(name)
    }

    fn len_bytes(&self) -> usize {
        self.namespace.len_bytes().saturating_add(self.name.len())
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) -> Result<(), Error> {
        check_name_len(self.len_bytes())?;
        self.namespace.encode(out)?;
        put_prefixed(&self.name, out);
        Ok(())
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        const TOO_LONG: Malformed = Malformed::violation("Full Track Name", "longer than 4096 bytes");
        let namespace = Namespace::decode(cursor)?;
        let name_len_max = FULL_TRACK_NAME_LEN_MAX.saturating_sub(namespace.len_bytes());
        let name = copied(cursor.prefixed(name_len_max, TOO_LONG)?);
        Ok(Self { namespace, name })
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name.escape_ascii())
    }
}

fn check_name_len(len: usize) -> Result<(), Error> {
    if len > FULL_TRACK_NAME_LEN_MAX {
        return Err(Error::TooLarge { what: "full track name in bytes", len, limit: FULL_TRACK_NAME_LEN_MAX });
    }
    Ok(())
}

/// The place of an object in a track; ordered by group, then object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Group id.
    pub group: u64,
    /// Object id within the group.
    pub object: u64,
}

impl Location {
    /// The object `object` of group `group`.
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }

    /// The location right after this one.
    pub(crate) fn next(self) -> Self {
        Self { object: self.object.saturating_add(1), ..self }
    }

    pub(crate) fn encode(self, out: &mut impl BufMut) {
        vi64::encode(self.group, out);
        vi64::encode(self.object, out);
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(Self { group: cursor.vi64()?, object: cursor.vi64()? })
    }
}

/// The last place of a range, told apart from a start so that no draft's "plus one" leaks out of the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndLocation {
    /// The last group of the range.
    pub group: u64,
    /// The last object of that group, included; `None` is the whole group.
    pub last_object: Option<u64>,
}

impl EndLocation {
    /// The range ends with the object at `last`, included.
    pub const fn at(last: Location) -> Self {
        Self { group: last.group, last_object: Some(last.object) }
    }

    // MoQT-18 §10.12.1: "The end Location, plus 1. A Location.Object value of 0 means the entire group is requested."
    pub(crate) fn encode(self, out: &mut impl BufMut) -> Result<(), Error> {
        let object = match self.last_object {
            None => 0,
            Some(last) => last
                .checked_add(1)
                .ok_or(Error::Invalid { what: "end location", reason: "the last object id cannot be 2^64 - 1" })?,
        };
        Location::new(self.group, object).encode(out);
        Ok(())
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let wire = Location::decode(cursor)?;
        Ok(Self { group: wire.group, last_object: wire.object.checked_sub(1) })
    }
}
