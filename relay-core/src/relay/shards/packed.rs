//! Objects of MoQT publishers as they cross from shard to shard: everything the wire said about them, in front of the
//! payload. Both ends are this engine, of one version.

use bytes::{BufMut, Bytes, BytesMut};

use crate::relay::cache::{StoredObject, Subgroup, SubgroupEnd};
use crate::wire::{Datagram, Draft, ObjectDatagram, ObjectStatus, Properties, vi64};

const PROPERTIES: u8 = 0x01;
const ENDS_GROUP: u8 = 0x02;
const FIRST_OBJECT: u8 = 0x04;
const FOLLOWS: u8 = 0x08;
/// What follows is a whole datagram, as on the wire.
const DATAGRAM: u8 = 0x80;

/// An object with its subgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackedObject {
    pub(crate) subgroup: u64,
    pub(crate) priority: u8,
    pub(crate) ends_group: bool,
    pub(crate) first_object: bool,
    /// The object before it in the subgroup, when it is known to be the next one.
    pub(crate) follows: Option<u64>,
    pub(crate) status: ObjectStatus,
    pub(crate) properties: Option<Bytes>,
    pub(crate) payload: Bytes,
}

impl PackedObject {
    pub(crate) fn of(subgroup: &Subgroup, object: &StoredObject, follows: Option<u64>) -> Self {
        Self {
            subgroup: subgroup.info.id,
            priority: subgroup.info.priority,
            ends_group: subgroup.info.ends_group,
            first_object: subgroup.info.first_object,
            follows,
            status: object.status,
            properties: object.properties.then(|| object.properties()),
            payload: object.payload(),
        }
    }

    pub(crate) fn pack(&self) -> Bytes {
        let properties = self.properties.as_deref().unwrap_or_default();
        let mut out = BytesMut::with_capacity(2 + 4 * vi64::LEN_MAX + properties.len() + self.payload.len());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(
            flag(self.properties.is_some(), PROPERTIES)
                | flag(self.ends_group, ENDS_GROUP)
                | flag(self.first_object, FIRST_OBJECT)
                | flag(self.follows.is_some(), FOLLOWS),
        );
        out.put_u8(self.priority);
        vi64::encode(self.subgroup, &mut out);
        vi64::encode(self.follows.unwrap_or_default(), &mut out);
        vi64::encode(self.status.to_u64(), &mut out);
        vi64::encode(properties.len() as u64, &mut out);
        out.put_slice(properties);
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// `None`: not something that [`PackedObject::pack`] made.
    pub(crate) fn unpack(packed: &Bytes) -> Option<Self> {
        let (&flags, &priority) = (packed.first()?, packed.get(1)?);
        let mut at = 2;
        let subgroup = number(packed, &mut at)?;
        let follows = number(packed, &mut at)?;
        let status = ObjectStatus::from_u64(number(packed, &mut at)?).ok()?;
        let properties_len = usize::try_from(number(packed, &mut at)?).ok()?;
        let payload_at = at.checked_add(properties_len).filter(|&end| end <= packed.len())?;
        Some(Self {
            subgroup,
            priority,
            ends_group: flags & ENDS_GROUP != 0,
            first_object: flags & FIRST_OBJECT != 0,
            follows: (flags & FOLLOWS != 0).then_some(follows),
            status,
            properties: (flags & PROPERTIES != 0).then(|| packed.slice(at..payload_at)),
            payload: packed.slice(payload_at..),
        })
    }
}

/// An object that came in a datagram, and leaves in one.
pub(crate) fn pack_datagram(object: &ObjectDatagram) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(DATAGRAM);
    object.encode(Draft::D18, &mut out);
    out.freeze()
}

/// `None`: not something that [`pack_datagram`] made.
pub(crate) fn unpack_datagram(packed: &Bytes) -> Option<ObjectDatagram> {
    let datagram = (*packed.first()? == DATAGRAM).then(|| packed.slice(1..))?;
    match Datagram::decode(Draft::D18, &datagram) {
        Ok(Datagram::Object(object)) => Some(object),
        _ => None,
    }
}

/// The object id of a mark: no object has it, since ids stay below 2^64 - 1 on the wire.
pub(crate) const MARK: u64 = u64::MAX;

/// Something about a track that is no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// How a subgroup ended.
    End { subgroup: u64, end: SubgroupEnd },
    /// The track's properties.
    Properties(Properties),
}

const END_FINISHED: u8 = 0;
const END_RESET: u8 = 1;
const TRACK_PROPERTIES: u8 = 2;

impl Mark {
    pub(crate) fn pack(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::End { subgroup, end } => {
                let (kind, code) = match end {
                    SubgroupEnd::Reset(code) => (END_RESET, *code),
                    SubgroupEnd::Open | SubgroupEnd::Finished => (END_FINISHED, 0),
                };
                out.put_u8(kind);
                vi64::encode(*subgroup, &mut out);
                vi64::encode(code, &mut out);
            }
            Self::Properties(properties) => {
                out.put_u8(TRACK_PROPERTIES);
                properties.encode(&mut out);
            }
        }
        out.freeze()
    }

    /// `None`: not something that [`Mark::pack`] made.
    pub(crate) fn unpack(packed: &Bytes) -> Option<Self> {
        let kind = *packed.first()?;
        if kind == TRACK_PROPERTIES {
            return Properties::decode(packed.get(1..)?).ok().map(Self::Properties);
        }
        let mut at = 1;
        let subgroup = number(packed, &mut at)?;
        let code = number(packed, &mut at)?;
        let end = if kind == END_RESET { SubgroupEnd::Reset(code) } else { SubgroupEnd::Finished };
        Some(Self::End { subgroup, end })
    }
}

fn number(packed: &Bytes, at: &mut usize) -> Option<u64> {
    let (value, len) = vi64::decode(packed.get(*at..)?).ok()?;
    *at += len;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosses_to_another_shard_arrives_unchanged() {
        for properties in [None, Some(Bytes::new()), Some(Bytes::from_static(b"\x02\x05"))] {
            let object = PackedObject {
                subgroup: 300,
                priority: 7,
                ends_group: true,
                first_object: false,
                follows: Some(41),
                status: ObjectStatus::Normal,
                properties,
                payload: Bytes::from_static(b"payload"),
            };
            assert_eq!(PackedObject::unpack(&object.pack()), Some(object));
        }
        for end in [SubgroupEnd::Finished, SubgroupEnd::Reset(2)] {
            let mark = Mark::End { subgroup: 1 << 40, end };
            assert_eq!(Mark::unpack(&mark.pack()), Some(mark));
        }
        assert_eq!(PackedObject::unpack(&Bytes::from_static(b"\x00")), None);
    }
}
