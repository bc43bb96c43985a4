//! Subgroup streams: a header, then objects of one subgroup (draft-18 §11.4.2).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::cursor::{Cursor, put_prefixed};
use super::object::{self, ObjectStatus};
use super::{Draft, stream, vi64};
use crate::error::{DecodeError, Malformed};

const PROPERTIES: u64 = 0x01;
const SUBGROUP_ID_MODE: u64 = 0x06;
const SUBGROUP_ID_FIRST_OBJECT: u64 = 0x02;
const SUBGROUP_ID_EXPLICIT: u64 = 0x04;
const END_OF_GROUP: u64 = 0x08;
const FORM: u64 = 0x10;
const DEFAULT_PRIORITY: u64 = 0x20;
const FIRST_OBJECT: u64 = 0x40;

/// How a header names its subgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubgroupId {
    /// Subgroup 0, without a field.
    Zero,
    /// The id of the first object on the stream, without a field.
    FirstObject,
    /// The id in its own field.
    Explicit(u64),
}

/// The front of a subgroup stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubgroupHeader {
    /// The track, by the alias of SUBSCRIBE_OK or PUBLISH.
    pub track_alias: u64,
    /// The group.
    pub group: u64,
    /// The subgroup.
    pub subgroup: SubgroupId,
    /// Publisher priority; `None` is the track's default.
    pub priority: Option<u8>,
    /// Every object has a properties field.
    pub properties: bool,
    /// The subgroup has the group's last object; counts only when the stream ends with FIN.
    pub end_of_group: bool,
    /// The stream begins with the first object that was ever published in the subgroup.
    pub first_object: bool,
}

impl SubgroupHeader {
    /// Appends the header.
    pub fn encode(&self, draft: Draft, out: &mut impl BufMut) {
        let Draft::D18 = draft;
        let mode = match self.subgroup {
            SubgroupId::Zero => 0,
            SubgroupId::FirstObject => SUBGROUP_ID_FIRST_OBJECT,
            SubgroupId::Explicit(_) => SUBGROUP_ID_EXPLICIT,
        };
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let kind = FORM
            | mode
            | flag(self.properties, PROPERTIES)
            | flag(self.end_of_group, END_OF_GROUP)
            | flag(self.priority.is_none(), DEFAULT_PRIORITY)
            | flag(self.first_object, FIRST_OBJECT);
        vi64::encode(kind, out);
        vi64::encode(self.track_alias, out);
        vi64::encode(self.group, out);
        if let SubgroupId::Explicit(id) = self.subgroup {
            vi64::encode(id, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
    }

    /// Reads a header from the front of `data`: the header and the bytes it took.
    ///
    /// # Errors
    /// More bytes are needed, or the type is none of a subgroup header.
    pub fn decode(draft: Draft, data: &[u8]) -> Result<(Self, usize), DecodeError> {
        let Draft::D18 = draft;
        let mut cursor = Cursor::new(data);
        let kind = cursor.vi64()?;
        if !stream::is_subgroup(kind) {
            return Err(Malformed::violation("SUBGROUP_HEADER", "unknown type").into());
        }
        let mode = kind & SUBGROUP_ID_MODE;
        if mode == SUBGROUP_ID_MODE {
            return Err(Malformed::violation("SUBGROUP_HEADER", "reserved subgroup id mode").into());
        }
        let track_alias = cursor.vi64()?;
        let group = cursor.vi64()?;
        let subgroup = match mode {
            SUBGROUP_ID_FIRST_OBJECT => SubgroupId::FirstObject,
            SUBGROUP_ID_EXPLICIT => SubgroupId::Explicit(cursor.vi64()?),
            _ => SubgroupId::Zero,
        };
        let priority = if kind & DEFAULT_PRIORITY == 0 { Some(cursor.u8()?) } else { None };
        let header = Self {
            track_alias,
            group,
            subgroup,
            priority,
            properties: kind & PROPERTIES != 0,
            end_of_group: kind & END_OF_GROUP != 0,
            first_object: kind & FIRST_OBJECT != 0,
        };
        Ok((header, cursor.position()))
    }
}

/// An object of a subgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubgroupObject {
    /// Object id within the group.
    pub id: u64,
    /// Normal, or the mark of an end.
    pub status: ObjectStatus,
    /// Object Properties as they came, checked to be key-value pairs; empty when there are none.
    pub properties: Bytes,
    /// The payload.
    pub payload: Bytes,
}

/// Object ID Delta of `id` after `previous` on the same stream; `None` when `id` is not larger.
pub const fn object_id_delta(previous: Option<u64>, id: u64) -> Option<u64> {
    match previous {
        None => Some(id),
        Some(previous) => match id.checked_sub(previous) {
            None | Some(0) => None,
            Some(distance) => Some(distance - 1),
        },
    }
}

/// Appends an object's fields up to, and without, its payload. `properties` is `Some` exactly when the stream's header says
/// so, and holds encoded pairs. `status` counts only with an empty payload.
pub fn encode_object_head(
    draft: Draft,
    id_delta: u64,
    properties: Option<&[u8]>,
    payload_len: usize,
    status: ObjectStatus,
    out: &mut impl BufMut,
) {
    let Draft::D18 = draft;
    vi64::encode(id_delta, out);
    if let Some(properties) = properties {
        put_prefixed(properties, out);
    }
    vi64::encode(payload_len as u64, out);
    if payload_len == 0 {
        vi64::encode(status.to_u64(), out);
    }
}

/// What a subgroup stream holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubgroupItem {
    /// The header; always first, once.
    Header(SubgroupHeader),
    /// An object.
    Object(SubgroupObject),
}

/// Reads a subgroup stream from chunks of any size.
#[derive(Debug)]
pub struct SubgroupReader {
    draft: Draft,
    payload_len_max: usize,
    buffer: BytesMut,
    header: Option<SubgroupHeader>,
    previous_id: Option<u64>,
}

/// An object's fields before its payload, as found at the front of the buffer.
struct ObjectHead {
    id: u64,
    status: ObjectStatus,
    properties: std::ops::Range<usize>,
    len: usize,
    payload_len: usize,
}

impl SubgroupReader {
    /// A reader at the start of a stream; objects above `payload_len_max` bytes are refused.
    pub fn new(draft: Draft, payload_len_max: usize) -> Self {
        Self { draft, payload_len_max, buffer: BytesMut::new(), header: None, previous_id: None }
    }

    /// The header, once it was read.
    pub fn header(&self) -> Option<&SubgroupHeader> {
        self.header.as_ref()
    }

    /// Bytes held back for an unfinished object.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Memory held for it: its whole length once its front was read.
    pub fn reserved(&self) -> usize {
        self.buffer.capacity()
    }

    /// Adds bytes of the stream. Call [`Self::next_item`] until `None` after each push: that bounds the buffer to one
    /// object.
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next header or whole object; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is malformed; close the session with the error's code.
    pub fn next_item(&mut self) -> Result<Option<SubgroupItem>, Malformed> {
        let item = match self.header {
            None => self.read_header().map(SubgroupItem::Header),
            Some(header) => self.read_object(header).map(SubgroupItem::Object),
        };
        match item {
            Ok(item) => Ok(Some(item)),
            Err(DecodeError::NeedMore) => Ok(None),
            Err(DecodeError::Malformed(malformed)) => Err(malformed),
        }
    }

    /// The stream ended with FIN.
    ///
    /// # Errors
    /// It ended within the header or an object (draft-18 §11.4).
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.buffer.is_empty() && self.header.is_some() {
            return Ok(());
        }
        Err(Malformed::violation("subgroup stream", "it ended within a header or an object"))
    }

    fn read_header(&mut self) -> Result<SubgroupHeader, DecodeError> {
        let (header, len) = SubgroupHeader::decode(self.draft, &self.buffer)?;
        self.buffer.advance(len);
        self.header = Some(header);
        Ok(header)
    }

    fn read_object(&mut self, header: SubgroupHeader) -> Result<SubgroupObject, DecodeError> {
        let head = self.object_head(header)?;
        let total = head.len.saturating_add(head.payload_len);
        if self.buffer.len() < total {
            // One allocation for the whole object, however small the chunks are.
            self.buffer.reserve(total.saturating_sub(self.buffer.len()));
            return Err(DecodeError::NeedMore);
        }
        let (fields, payload) = object::split(&mut self.buffer, head.len, head.payload_len);
        let properties = if head.properties.is_empty() { Bytes::new() } else { fields.slice(head.properties) };
        self.previous_id = Some(head.id);
        Ok(SubgroupObject { id: head.id, status: head.status, properties, payload })
    }

    fn object_head(&self, header: SubgroupHeader) -> Result<ObjectHead, DecodeError> {
        const WHAT: &str = "subgroup object";
        const ID_TOO_LARGE: Malformed = Malformed::violation(WHAT, "object id above 2^64 - 1");
        let mut cursor = Cursor::new(&self.buffer);
        let delta = cursor.vi64()?;
        let id = match self.previous_id {
            None => delta,
            Some(previous) => previous.checked_add(delta).and_then(|id| id.checked_add(1)).ok_or(ID_TOO_LARGE)?,
        };
        let properties = if header.properties { object::properties_range(&mut cursor)? } else { 0..0 };
        let payload_len = object::payload_len(cursor.vi64()?, self.payload_len_max)?;
        let status = if payload_len == 0 { ObjectStatus::from_u64(cursor.vi64()?)? } else { ObjectStatus::Normal };
        // MoQT-18 §11.2.1.2: properties on an object that is not Normal close the session.
        if status != ObjectStatus::Normal && !properties.is_empty() {
            return Err(Malformed::violation(WHAT, "properties on an end of group or track").into());
        }
        Ok(ObjectHead { id, status, properties, len: cursor.position(), payload_len })
    }
}
