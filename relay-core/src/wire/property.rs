//! Properties of tracks and objects: key-value pairs that relays see and carry (draft-18 §1.4.3, §2.5, §12).

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, complete, copied, put_prefixed};
use super::vi64;
use crate::error::{DecodeError, Error, Malformed};

/// Longest value of one pair in bytes.
pub const VALUE_LEN_MAX: usize = 65_535;

/// Object delivery timeout, ms.
pub const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
/// How long a cache may keep objects, ms.
pub const MAX_CACHE_DURATION: u64 = 0x04;
/// Subgroup delivery timeout, ms.
pub const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
/// Properties that no relay may change.
pub const IMMUTABLE_PROPERTIES: u64 = 0x0B;
/// Priority of subgroups and datagrams that carry none, 0 to 255.
pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
/// Preferred order of groups: 1 ascending, 2 descending.
pub const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
/// 1 when NEW_GROUP_REQUEST is honoured.
pub const DYNAMIC_GROUPS: u64 = 0x30;
/// Group ids before this group that do not exist.
pub const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
/// Object ids before this object that do not exist.
pub const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;

/// One key and its value. An even kind carries a number, an odd kind carries bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The property's type.
    pub kind: u64,
    /// Its value.
    pub value: PropertyValue,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// Of an even kind.
    Number(u64),
    /// Of an odd kind; at most 65535 bytes.
    Bytes(Bytes),
}

/// Properties in ascending order of their kinds, as the wire demands; one kind may occur more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<Property>);

impl Properties {
    /// Sorts the pairs by kind and keeps the order of equal kinds.
    ///
    /// # Errors
    /// A number under an odd kind, bytes under an even one, or a value above 65535 bytes.
    pub fn new(mut pairs: Vec<Property>) -> Result<Self, Error> {
        for pair in &pairs {
            match &pair.value {
                PropertyValue::Number(_) if pair.kind % 2 == 0 => {}
                PropertyValue::Bytes(bytes) if pair.kind % 2 == 1 => {
                    if bytes.len() > VALUE_LEN_MAX {
                        let (len, limit) = (bytes.len(), VALUE_LEN_MAX);
                        return Err(Error::TooLarge { what: "property value in bytes", len, limit });
                    }
                }
                _ => {
                    let reason = "an even kind carries a number and an odd kind carries bytes";
                    return Err(Error::Invalid { what: "property", reason });
                }
            }
        }
        pairs.sort_by_key(|pair| pair.kind);
        Ok(Self(pairs))
    }

    /// The pairs in wire order.
    pub fn iter(&self) -> impl Iterator<Item = &Property> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number under `kind`, the first if it is repeated.
    pub fn number(&self, kind: u64) -> Option<u64> {
        self.0.iter().find(|pair| pair.kind == kind).and_then(|pair| match pair.value {
            PropertyValue::Number(number) => Some(number),
            PropertyValue::Bytes(_) => None,
        })
    }

    /// The bytes under `kind`, the first if it is repeated.
    pub fn bytes(&self, kind: u64) -> Option<&Bytes> {
        self.0.iter().find(|pair| pair.kind == kind).and_then(|pair| match &pair.value {
            PropertyValue::Number(_) => None,
            PropertyValue::Bytes(bytes) => Some(bytes),
        })
    }

    /// The first property that must be understood by whoever handles the track (draft-18 §2.5.1). We understand none.
    pub fn mandatory(&self) -> Option<u64> {
        self.0.iter().map(|pair| pair.kind).find(|kind| (0x4000..=0x7FFF).contains(kind))
    }

    /// Appends the pairs without a length in front.
    pub fn encode(&self, out: &mut impl BufMut) {
        let mut previous = 0;
        for pair in &self.0 {
            // Sorted on construction and by the wire's deltas, so this cannot wrap.
            vi64::encode(pair.kind.saturating_sub(previous), out);
            previous = pair.kind;
            match &pair.value {
                PropertyValue::Number(number) => vi64::encode(*number, out),
                PropertyValue::Bytes(bytes) => put_prefixed(bytes, out),
            }
        }
    }

    /// Reads pairs up to the end of `data`.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn decode(data: &[u8]) -> Result<Self, Malformed> {
        let mut pairs = Vec::new();
        walk(data, |kind, value| {
            pairs.push(Property {
                kind,
                value: match value {
                    RawValue::Number(number) => PropertyValue::Number(number),
                    RawValue::Bytes(bytes) => PropertyValue::Bytes(copied(bytes)),
                },
            });
        })?;
        Ok(Self(pairs))
    }
}

/// A value where it lies in the peer's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `each` with every pair of `data`, which holds pairs to its very end. Allocates nothing.
pub(crate) fn walk<'a>(data: &'a [u8], mut each: impl FnMut(u64, RawValue<'a>)) -> Result<(), Malformed> {
    const WHAT: &str = "Key-Value-Pair";
    const SHORT: Malformed = Malformed::key_value(WHAT, "cut off by the end of its list");
    let mut cursor = Cursor::new(data);
    let mut kind = 0u64;
    while !cursor.is_empty() {
        let delta = complete(cursor.vi64(), SHORT)?;
        kind = kind.checked_add(delta).ok_or(Malformed::violation(WHAT, "type above 2^64 - 1"))?;
        let value = complete(value(&mut cursor, kind), SHORT)?;
        each(kind, value);
    }
    Ok(())
}

fn value<'a>(cursor: &mut Cursor<'a>, kind: u64) -> Result<RawValue<'a>, DecodeError> {
    const TOO_LONG: Malformed = Malformed::violation("Key-Value-Pair", "value longer than 65535 bytes");
    if kind.is_multiple_of(2) {
        Ok(RawValue::Number(cursor.vi64()?))
    } else {
        Ok(RawValue::Bytes(cursor.prefixed(VALUE_LEN_MAX, TOO_LONG)?))
    }
}

/// Checks that `data` is a list of pairs, and keeps nothing of it: relays carry object properties as they came.
pub(crate) fn check(data: &[u8]) -> Result<(), Malformed> {
    walk(data, |_, _| {})
}
