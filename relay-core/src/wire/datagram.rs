//! Datagrams: one object each, or padding (draft-18 §11.3, §11.5).

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, complete, put_prefixed};
use super::object::{self, ObjectStatus};
use super::{Draft, stream, vi64};
use crate::error::{DecodeError, Malformed};

const PROPERTIES: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;
/// The form 0b00X0XXXX: no other bit may be set.
const FORM: u64 = 0x2F;

const WHAT: &str = "OBJECT_DATAGRAM";

/// What a datagram carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// An object.
    Object(ObjectDatagram),
    /// Nothing.
    Padding,
}

/// An object in a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDatagram {
    /// The track, by the alias of SUBSCRIBE_OK or PUBLISH.
    pub track_alias: u64,
    /// The group.
    pub group: u64,
    /// The object's id within it.
    pub object: u64,
    /// Publisher priority; `None` is the track's default.
    pub priority: Option<u8>,
    /// Encoded Object Properties; empty when there are none.
    pub properties: Bytes,
    /// The payload, or the mark of an end.
    pub body: DatagramBody,
}

/// The end of an object datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatagramBody {
    /// A payload, possibly empty.
    Payload {
        /// The payload.
        payload: Bytes,
        /// The group has no object after this one.
        end_of_group: bool,
    },
    /// A status instead of a payload.
    Status(ObjectStatus),
}

impl ObjectDatagram {
    /// Appends the whole datagram.
    pub fn encode(&self, draft: Draft, out: &mut impl BufMut) {
        let Draft::D18 = draft;
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let kind = match self.body {
            DatagramBody::Payload { end_of_group, .. } => flag(end_of_group, END_OF_GROUP),
            DatagramBody::Status(_) => STATUS,
        } | flag(!self.properties.is_empty(), PROPERTIES)
            | flag(self.object == 0, ZERO_OBJECT_ID)
            | flag(self.priority.is_none(), DEFAULT_PRIORITY);
        vi64::encode(kind, out);
        vi64::encode(self.track_alias, out);
        vi64::encode(self.group, out);
        if self.object != 0 {
            vi64::encode(self.object, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        if !self.properties.is_empty() {
            put_prefixed(&self.properties, out);
        }
        match &self.body {
            DatagramBody::Payload { payload, .. } => out.put_slice(payload),
            DatagramBody::Status(status) => vi64::encode(status.to_u64(), out),
        }
    }
}

impl Datagram {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// The datagram is malformed; close the session with the error's code.
    pub fn decode(draft: Draft, data: &Bytes) -> Result<Self, Malformed> {
        let Draft::D18 = draft;
        let mut cursor = Cursor::new(data);
        let short = Malformed::violation(WHAT, "shorter than its fields");
        let kind = complete(cursor.vi64(), short)?;
        if kind == stream::PADDING_DATAGRAM {
            return Ok(Self::Padding);
        }
        if kind & !FORM != 0 {
            return Err(Malformed::violation("datagram", "unknown type"));
        }
        if kind & STATUS != 0 && kind & END_OF_GROUP != 0 {
            return Err(Malformed::violation(WHAT, "a status cannot end a group"));
        }
        complete(Self::fields(kind, data, &mut cursor), short).map(Self::Object)
    }

    fn fields(kind: u64, data: &Bytes, cursor: &mut Cursor<'_>) -> Result<ObjectDatagram, DecodeError> {
        let track_alias = cursor.vi64()?;
        let group = cursor.vi64()?;
        let object = if kind & ZERO_OBJECT_ID == 0 { cursor.vi64()? } else { 0 };
        let priority = if kind & DEFAULT_PRIORITY == 0 { Some(cursor.u8()?) } else { None };
        let properties = if kind & PROPERTIES != 0 { object::properties_range(cursor)? } else { 0..0 };
        if kind & PROPERTIES != 0 && properties.is_empty() {
            return Err(Malformed::violation(WHAT, "a properties field without properties").into());
        }
        let body = if kind & STATUS != 0 {
            let status = ObjectStatus::from_u64(cursor.vi64()?)?;
            if status != ObjectStatus::Normal && !properties.is_empty() {
                return Err(Malformed::violation(WHAT, "properties on an end of group or track").into());
            }
            if !cursor.is_empty() {
                return Err(Malformed::violation(WHAT, "bytes after a status").into());
            }
            DatagramBody::Status(status)
        } else {
            let payload = data.slice(cursor.position()..);
            DatagramBody::Payload { payload, end_of_group: kind & END_OF_GROUP != 0 }
        };
        let properties = if properties.is_empty() { Bytes::new() } else { data.slice(properties) };
        Ok(ObjectDatagram { track_alias, group, object, priority, properties, body })
    }
}
