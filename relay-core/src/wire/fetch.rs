//! Fetch streams: a header, then the objects that a FETCH asked for (draft-18 §11.4.4).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::cursor::{Cursor, put_prefixed};
use super::name::Location;
use super::object;
use super::parameter::GroupOrder;
use super::{Draft, stream, vi64};
use crate::error::{DecodeError, Error, Malformed};

const SUBGROUP_MODE: u64 = 0x03;
const SUBGROUP_SAME: u64 = 0x01;
const SUBGROUP_NEXT: u64 = 0x02;
const SUBGROUP_EXPLICIT: u64 = 0x03;
const OBJECT_ID: u64 = 0x04;
const GROUP_ID: u64 = 0x08;
const PRIORITY: u64 = 0x10;
const PROPERTIES: u64 = 0x20;
const DATAGRAM: u64 = 0x40;
/// Serialization Flags at or above this are no flags but values of their own.
const FLAGS_END: u64 = 0x80;
const END_OF_NON_EXISTENT_RANGE: u64 = 0x8C;
const END_OF_UNKNOWN_RANGE: u64 = 0x10C;

const WHAT: &str = "fetch object";

/// The front of a fetch stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FetchHeader {
    /// The FETCH that this stream answers.
    pub request_id: u64,
}

impl FetchHeader {
    /// Appends the header.
    pub fn encode(&self, out: &mut impl BufMut) {
        vi64::encode(stream::FETCH_STREAM, out);
        vi64::encode(self.request_id, out);
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        if cursor.vi64()? != stream::FETCH_STREAM {
            return Err(Malformed::violation("FETCH_HEADER", "unknown type").into());
        }
        Ok(Self { request_id: cursor.vi64()? })
    }
}

/// Everything about a fetched object except its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchObjectHead {
    /// Where it is.
    pub location: Location,
    /// Its subgroup; `None` when it was published as a datagram.
    pub subgroup: Option<u64>,
    /// Publisher priority.
    pub priority: u8,
    /// Encoded Object Properties; empty when there are none.
    pub properties: Bytes,
}

/// Why a range of objects is missing from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingRange {
    /// They do not exist.
    NonExistent,
    /// Whether they exist is not known.
    Unknown,
}

/// What a fetch stream holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// The header; always first, once.
    Header(FetchHeader),
    /// An object and its payload.
    Object(FetchObjectHead, Bytes),
    /// Everything after the item before, up to and with this place, is missing.
    EndOfRange(MissingRange, Location),
}

/// What "prior" means for the next object.
#[derive(Debug, Clone, Copy, Default)]
struct Prior {
    location: Option<Location>,
    subgroup: Option<u64>,
    priority: Option<u8>,
}

impl Prior {
    fn after_object(&mut self, head: &FetchObjectHead) {
        self.location = Some(head.location);
        // A datagram has no subgroup: the last one that was named stays.
        self.subgroup = head.subgroup.or(self.subgroup);
        self.priority = Some(head.priority);
    }
}

/// Writes the objects of a fetch stream, each relative to the one before.
#[derive(Debug)]
pub struct FetchWriter {
    order: GroupOrder,
    prior: Prior,
}

impl FetchWriter {
    /// A writer for a stream whose [`FetchHeader`] was written.
    pub fn new(draft: Draft, order: GroupOrder) -> Self {
        let Draft::D18 = draft;
        Self { order, prior: Prior::default() }
    }

    /// Appends an object's fields up to, and without, its payload.
    ///
    /// # Errors
    /// The place does not follow the one before in the stream's order; nothing was written.
    pub fn object_head(
        &mut self,
        head: &FetchObjectHead,
        payload_len: usize,
        out: &mut impl BufMut,
    ) -> Result<(), Error> {
        let (group_delta, object_delta) = self.deltas(head.location)?;
        let mut flags = 0;
        flags |= if group_delta.is_some() { GROUP_ID } else { 0 };
        flags |= if object_delta.is_some() { OBJECT_ID } else { 0 };
        flags |= if self.prior.priority == Some(head.priority) { 0 } else { PRIORITY };
        flags |= if head.properties.is_empty() { 0 } else { PROPERTIES };
        flags |= match head.subgroup {
            None => DATAGRAM,
            Some(0) => 0,
            Some(_) if head.subgroup == self.prior.subgroup => SUBGROUP_SAME,
            Some(id) if id.checked_sub(1) == self.prior.subgroup => SUBGROUP_NEXT,
            Some(_) => SUBGROUP_EXPLICIT,
        };
        vi64::encode(flags, out);
        if let Some(delta) = group_delta {
            vi64::encode(delta, out);
        }
        if let (Some(id), SUBGROUP_EXPLICIT) = (head.subgroup, flags & SUBGROUP_MODE) {
            vi64::encode(id, out);
        }
        if let Some(delta) = object_delta {
            vi64::encode(delta, out);
        }
        if flags & PRIORITY != 0 {
            out.put_u8(head.priority);
        }
        if flags & PROPERTIES != 0 {
            put_prefixed(&head.properties, out);
        }
        vi64::encode(payload_len as u64, out);
        self.prior.after_object(head);
        Ok(())
    }

    /// Appends the mark that everything up to and with `last` is missing.
    ///
    /// # Errors
    /// The place does not follow the one before in the stream's order; nothing was written.
    pub fn end_of_range(&mut self, range: MissingRange, last: Location, out: &mut impl BufMut) -> Result<(), Error> {
        if self.prior.location.is_some_and(|prior| !self.follows(prior, last)) {
            return Err(out_of_order());
        }
        vi64::encode(
            match range {
                MissingRange::NonExistent => END_OF_NON_EXISTENT_RANGE,
                MissingRange::Unknown => END_OF_UNKNOWN_RANGE,
            },
            out,
        );
        // MoQT-18 §11.4.4.2 names "the Group ID and Object ID fields", not deltas: a range may end within the group it
        // began in, which no group delta could say. Nothing follows them: a range has no payload, and a length in its place
        // would be taken for the next item's flags (moq-transport issue #1861, and aiomoqt).
        last.encode(out);
        self.prior.location = Some(last);
        Ok(())
    }

    fn follows(&self, prior: Location, next: Location) -> bool {
        match self.order {
            GroupOrder::Ascending => prior < next,
            GroupOrder::Descending if next.group == prior.group => prior.object < next.object,
            GroupOrder::Descending => next.group < prior.group,
        }
    }

    fn deltas(&self, location: Location) -> Result<(Option<u64>, Option<u64>), Error> {
        let group_delta = self.group_delta(location.group)?;
        let prior = match (self.prior.location, group_delta) {
            (Some(prior), None) => prior,
            // Another group: the object's id stands by itself.
            _ => return Ok((group_delta, Some(location.object))),
        };
        match location.object.checked_sub(prior.object) {
            None | Some(0) => Err(out_of_order()),
            Some(1) => Ok((None, None)),
            Some(distance) => Ok((None, Some(distance))),
        }
    }

    /// The delta field for `group`: `None` when it is the prior one.
    fn group_delta(&self, group: u64) -> Result<Option<u64>, Error> {
        let Some(prior) = self.prior.location else { return Ok(Some(group)) };
        if group == prior.group {
            return Ok(None);
        }
        let distance = match self.order {
            GroupOrder::Ascending => group.checked_sub(prior.group),
            GroupOrder::Descending => prior.group.checked_sub(group),
        };
        distance.and_then(|distance| distance.checked_sub(1)).map(Some).ok_or_else(out_of_order)
    }
}

fn out_of_order() -> Error {
    Error::Invalid { what: WHAT, reason: "its place does not follow the one before" }
}

/// Reads a fetch stream from chunks of any size.
#[derive(Debug)]
pub struct FetchReader {
    payload_len_max: usize,
    order: GroupOrder,
    buffer: BytesMut,
    header: Option<FetchHeader>,
    prior: Prior,
}

/// An object's fields before its payload, as found at the front of the buffer.
struct Head {
    object: FetchObjectHead,
    properties: std::ops::Range<usize>,
    len: usize,
    payload_len: usize,
}

enum Front {
    Object(Head),
    EndOfRange(MissingRange, Location, usize),
}

impl FetchReader {
    /// A reader at the start of a stream; objects above `payload_len_max` bytes are refused.
    pub fn new(draft: Draft, payload_len_max: usize) -> Self {
        let Draft::D18 = draft;
        let (header, prior) = (None, Prior::default());
        Self { payload_len_max, order: GroupOrder::Ascending, buffer: BytesMut::new(), header, prior }
    }

    /// The order that the FETCH asked for; ascending when this is not called. Call it on the header, before the next item.
    pub fn set_group_order(&mut self, order: GroupOrder) {
        self.order = order;
    }

    /// The header, once it was read.
    pub fn header(&self) -> Option<&FetchHeader> {
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

    /// The next header, whole object or missing range; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is malformed; close the session with the error's code.
    pub fn next_item(&mut self) -> Result<Option<FetchItem>, Malformed> {
        let item = match self.header {
            None => self.read_header(),
            Some(_) => self.read_front(),
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
        Err(Malformed::violation("fetch stream", "it ended within a header or an object"))
    }

    fn read_header(&mut self) -> Result<FetchItem, DecodeError> {
        let mut cursor = Cursor::new(&self.buffer);
        let header = FetchHeader::decode(&mut cursor)?;
        let len = cursor.position();
        self.buffer.advance(len);
        self.header = Some(header);
        Ok(FetchItem::Header(header))
    }

    fn read_front(&mut self) -> Result<FetchItem, DecodeError> {
        let mut head = match self.front()? {
            Front::EndOfRange(range, last, len) => {
                self.buffer.advance(len);
                self.prior.location = Some(last);
                return Ok(FetchItem::EndOfRange(range, last));
            }
            Front::Object(head) => head,
        };
        let total = head.len.saturating_add(head.payload_len);
        if self.buffer.len() < total {
            self.buffer.reserve(total.saturating_sub(self.buffer.len()));
            return Err(DecodeError::NeedMore);
        }
        let (fields, payload) = object::split(&mut self.buffer, head.len, head.payload_len);
        if !head.properties.is_empty() {
            head.object.properties = fields.slice(head.properties);
        }
        self.prior.after_object(&head.object);
        Ok(FetchItem::Object(head.object, payload))
    }

    fn front(&self) -> Result<Front, DecodeError> {
        let mut cursor = Cursor::new(&self.buffer);
        let flags = cursor.vi64()?;
        match flags {
            END_OF_NON_EXISTENT_RANGE => end_of_range(MissingRange::NonExistent, &mut cursor),
            END_OF_UNKNOWN_RANGE => end_of_range(MissingRange::Unknown, &mut cursor),
            FLAGS_END.. => Err(Malformed::violation(WHAT, "unknown serialization flags").into()),
            _ => self.object_head(flags, &mut cursor).map(Front::Object),
        }
    }

    fn object_head(&self, flags: u64, cursor: &mut Cursor<'_>) -> Result<Head, DecodeError> {
        const NO_PRIOR: Malformed = Malformed::violation(WHAT, "refers to a prior object where there is none");
        let group_delta = if flags & GROUP_ID != 0 { Some(cursor.vi64()?) } else { None };
        let group = self.group(group_delta)?;
        let subgroup = if flags & DATAGRAM != 0 { None } else { Some(self.subgroup(flags, cursor)?) };
        let object_delta = if flags & OBJECT_ID != 0 { Some(cursor.vi64()?) } else { None };
        let object = self.object_id(group_delta.is_some(), object_delta)?;
        let priority = if flags & PRIORITY != 0 { cursor.u8()? } else { self.prior.priority.ok_or(NO_PRIOR)? };
        let properties = if flags & PROPERTIES != 0 { object::properties_range(cursor)? } else { 0..0 };
        let payload_len = object::payload_len(cursor.vi64()?, self.payload_len_max)?;
        let location = Location::new(group, object);
        let object = FetchObjectHead { location, subgroup, priority, properties: Bytes::new() };
        Ok(Head { object, properties, len: cursor.position(), payload_len })
    }

    fn group(&self, delta: Option<u64>) -> Result<u64, Malformed> {
        const OUT_OF_RANGE: Malformed = Malformed::violation(WHAT, "group id below 0 or above 2^64 - 1");
        match (self.prior.location, delta) {
            (None, Some(absolute)) => Ok(absolute),
            (None, None) => Err(Malformed::violation(WHAT, "the first object has no group id")),
            (Some(prior), None) => Ok(prior.group),
            (Some(prior), Some(delta)) => {
                let distance = delta.checked_add(1).ok_or(OUT_OF_RANGE)?;
                match self.order {
                    GroupOrder::Ascending => prior.group.checked_add(distance),
                    GroupOrder::Descending => prior.group.checked_sub(distance),
                }
                .ok_or(OUT_OF_RANGE)
            }
        }
    }

    fn subgroup(&self, flags: u64, cursor: &mut Cursor<'_>) -> Result<u64, DecodeError> {
        const NO_PRIOR: Malformed = Malformed::violation(WHAT, "refers to a prior subgroup where there is none");
        const TOO_LARGE: Malformed = Malformed::violation(WHAT, "subgroup id above 2^64 - 1");
        match flags & SUBGROUP_MODE {
            SUBGROUP_SAME => Ok(self.prior.subgroup.ok_or(NO_PRIOR)?),
            SUBGROUP_NEXT => Ok(self.prior.subgroup.ok_or(NO_PRIOR)?.checked_add(1).ok_or(TOO_LARGE)?),
            SUBGROUP_EXPLICIT => cursor.vi64(),
            _ => Ok(0),
        }
    }

    // MoQT-18 §11.4.4.1: with a Group ID Delta the Object ID Delta is the id itself; without one it is added to the prior
    // id (no "plus one", unlike a subgroup stream); absent, the id is the prior one plus one.
    fn object_id(&self, group_present: bool, delta: Option<u64>) -> Result<u64, Malformed> {
        const TOO_LARGE: Malformed = Malformed::violation(WHAT, "object id above 2^64 - 1");
        let prior = match (self.prior.location, delta) {
            (None, None) => return Err(Malformed::violation(WHAT, "the first object has no object id")),
            (None, Some(absolute)) => return Ok(absolute),
            (Some(prior), _) => prior.object,
        };
        match delta {
            Some(id) if group_present => Ok(id),
            Some(distance) => prior.checked_add(distance).ok_or(TOO_LARGE),
            None => prior.checked_add(1).ok_or(TOO_LARGE),
        }
    }
}

fn end_of_range(range: MissingRange, cursor: &mut Cursor<'_>) -> Result<Front, DecodeError> {
    let last = Location::decode(cursor)?;
    Ok(Front::EndOfRange(range, last, cursor.position()))
}
