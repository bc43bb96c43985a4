//! The chunk layer (RTMP 1.0 §5.3): a client's bytes to messages, however the bytes are cut.
//!
//! ```text
//!   bytes --> header of a chunk --> payload --> message complete? --> Message
//!               ^     |                |
//!               |     '- carry: a header that is cut, at most 18 bytes
//!               '------ next chunk ----'          aggregate: its tags, one by one, as they come
//! ```
//!
//! Every byte is copied once and looked at a bounded number of times. What nobody uses is skipped without being kept.
//!
//! **Extended timestamps.** From 0xFFFFFF ms (4 h 39 min) on, a header is followed by four more bytes (§5.3.1.3). The text wants
//! them behind the type 3 headers of the same message too; encoders of one family leave them out there. So they are looked at:
//! four bytes that repeat the time are that field, any others are payload.

use bytes::{Bytes, BytesMut};
use rtmp_runtime::message::msg_type;

use crate::IngestError;

/// Chunk streams of one connection. Encoders use three to six.
pub const CHUNK_STREAMS_MAX: usize = 64;
/// Bytes of an audio, video or aggregate message.
const MEDIA_LEN_MAX: usize = 8 * 1024 * 1024;
/// Bytes of any other message that is kept.
const CONTROL_LEN_MAX: usize = 64 * 1024;
/// §5.4.1: the chunk size until a message changes it.
const CHUNK_LEN_DEFAULT: usize = 128;
/// Basic header of three bytes, message header of eleven, extended timestamp.
const HEADER_LEN_MAX: usize = 3 + 11 + TIMESTAMP_LEN;
const TIMESTAMP_LEN: usize = 4;
/// The 24-bit time that says that the real one follows.
const EXTENDED: u32 = 0xff_ffff;
/// Length of the message header by its type, 0 to 3.
const HEADER_LENS: [usize; 4] = [11, 7, 3, 0];
/// Room made for a message at its header; more comes with its bytes.
const RESERVE_LEN_MAX: usize = 16 * 1024;
/// The same before media is taken: a header of twelve bytes must not buy more.
const RESERVE_LEN_MAX_EARLY: usize = 256;
/// A tag in an aggregate (§7.1.6): type, size, time, stream id in front, and a back pointer behind.
const TAG_HEADER_LEN: usize = 11;
const TAG_TRAILER_LEN: usize = 4;

/// A whole message.
#[derive(Debug)]
pub struct Message {
    /// Message type id (§5.4, §7.1).
    pub kind: u8,
    pub stream_id: u32,
    /// Absolute, modulo 2^32 ms.
    pub timestamp: u32,
    /// `None`: of a kind, or at a time, that nobody uses; skipped.
    pub payload: Option<Bytes>,
}

/// What is done with a message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Unpack,
    Skip,
}

/// The fields that later headers inherit.
#[derive(Debug, Clone, Copy)]
struct Header {
    timestamp: u32,
    /// What a type 3 header that begins a message adds: the last delta, or the time of a type 0 header (§5.3.1.2.4).
    step: u32,
    len: usize,
    kind: u8,
    stream_id: u32,
    /// The extended field of the last header that could have one.
    extended: Option<u32>,
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    header: Header,
    fate: Fate,
    /// Bytes of the message still to come; 0 between messages.
    left: usize,
    payload: BytesMut,
    /// Time of the first tag of the aggregate.
    first_tag_ms: Option<u32>,
}

/// Where the reader is in its input.
#[derive(Debug, Clone, Copy)]
enum Place {
    Header,
    /// In a chunk of the stream at this index, with this many bytes to come.
    Payload(usize, usize),
    /// The aggregate of the stream at this index may hold whole tags; then the rest of its chunk.
    Tags(usize, usize),
}

/// Reads one connection's chunks.
#[derive(Debug)]
pub struct ChunkReader {
    in_progress_len_max: usize,
    /// Declared lengths of the messages under way.
    in_progress_len: usize,
    takes_media: bool,
    chunk_len: usize,
    streams: Vec<ChunkStream>,
    /// Bytes not yet used that came before the present input.
    carry: Vec<u8>,
    place: Place,
}

impl ChunkReader {
    pub fn new(in_progress_len_max: usize) -> Self {
        Self {
            in_progress_len_max,
            in_progress_len: 0,
            takes_media: false,
            chunk_len: CHUNK_LEN_DEFAULT,
            streams: Vec::new(),
            carry: Vec::new(),
            place: Place::Header,
        }
    }

    /// From the next message on, media is kept. Until then it is skipped.
    pub fn take_media(&mut self) {
        self.takes_media = true;
    }

    /// §5.4.1, from the next chunk on. `None` for a size that no chunk can have.
    pub fn set_chunk_len(&mut self, payload: &[u8]) -> Option<()> {
        let len = u32::from_be_bytes(*payload.first_chunk()?);
        // The highest bit must be zero, and a chunk of no bytes would never end.
        let len = i32::try_from(len).ok().filter(|len| *len > 0)?;
        self.chunk_len = usize::try_from(len).ok()?;
        Some(())
    }

    /// §5.4.2: the rest of a message will not come.
    pub fn abort(&mut self, payload: &[u8]) -> Option<()> {
        let id = u32::from_be_bytes(*payload.first_chunk()?);
        if let Some(at) = self.streams.iter().position(|stream| stream.id == id) {
            self.drop_message(at);
        }
        Some(())
    }

    /// Whole messages may wait although the input is used up.
    pub fn is_behind(&self) -> bool {
        matches!(self.place, Place::Tags(..))
    }

    /// Takes from `input` until a message is whole; `None` when the input is used up before that.
    ///
    /// # Errors
    /// [`IngestError`] for what is no chunk stream or breaks a bound.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, IngestError> {
        loop {
            match self.place {
                Place::Header => {
                    if !self.header(input)? {
                        return Ok(None);
                    }
                }
                Place::Tags(at, left) => match self.next_tag(at)? {
                    Some(message) => return Ok(Some(message)),
                    None => self.place = Place::Payload(at, left),
                },
                Place::Payload(at, 0) => {
                    self.place = Place::Header;
                    if let Some(message) = self.finish(at) {
                        return Ok(Some(message));
                    }
                }
                Place::Payload(at, left) => {
                    let taken = self.payload(at, left, input);
                    if taken == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads a chunk's header; false when it is not whole yet.
    fn header(&mut self, input: &mut &[u8]) -> Result<bool, IngestError> {
        if self.carry.is_empty() {
            let bytes = *input;
            let used = self.parse(bytes)?;
            let (_, rest) = bytes.split_at(used.unwrap_or(bytes.len()).min(bytes.len()));
            if used.is_none() {
                self.carry.extend_from_slice(bytes);
            }
            *input = rest;
            return Ok(used.is_some());
        }
        let room = HEADER_LEN_MAX.saturating_sub(self.carry.len());
        let (piece, rest) = input.split_at(room.min(input.len()));
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(piece);
        *input = rest;
        let used = self.parse(&carry)?;
        // What looked like a header's end and is payload stays for the payload.
        carry.drain(..used.unwrap_or(0).min(carry.len()));
        self.carry = carry;
        Ok(used.is_some())
    }

    /// Takes payload of the present chunk, from the carry first. How much it was.
    fn payload(&mut self, at: usize, left: usize, input: &mut &[u8]) -> usize {
        let Some(stream) = self.streams.get_mut(at) else { return 0 };
        let taken = if self.carry.is_empty() {
            let (piece, rest) = input.split_at(left.min(input.len()));
            stream.append(piece);
            *input = rest;
            piece.len()
        } else {
            let len = left.min(self.carry.len());
            stream.append(self.carry.get(..len).unwrap_or_default());
            self.carry.drain(..len);
            len
        };
        let left = left.saturating_sub(taken);
        let unpacks = stream.fate == Fate::Unpack;
        self.place = if unpacks && taken > 0 { Place::Tags(at, left) } else { Place::Payload(at, left) };
        taken
    }

    /// The chunk is over. Its message, when that is over too.
    fn finish(&mut self, at: usize) -> Option<Message> {
        let stream = self.streams.get_mut(at).filter(|stream| stream.left == 0)?;
        let Header { kind, stream_id, timestamp, len, .. } = stream.header;
        let payload = std::mem::take(&mut stream.payload);
        if stream.fate != Fate::Skip {
            self.in_progress_len = self.in_progress_len.saturating_sub(len);
        }
        match stream.fate {
            Fate::Keep => Some(Message { kind, stream_id, timestamp, payload: Some(payload.freeze()) }),
            Fate::Skip => Some(Message { kind, stream_id, timestamp, payload: None }),
            Fate::Unpack => None,
        }
    }

    /// The next whole tag of an aggregate. Its time is the aggregate's plus its distance to the first tag (§7.1.6).
    fn next_tag(&mut self, at: usize) -> Result<Option<Message>, IngestError> {
        let broken = |what| Err(IngestError::Chunk { what });
        let Some(stream) = self.streams.get_mut(at) else { return Ok(None) };
        let Some([kind, s2, s1, s0, t2, t1, t0, t3, ..]) = stream.payload.first_chunk::<TAG_HEADER_LEN>().copied()
        else {
            let cut = stream.left == 0 && !stream.payload.is_empty();
            return if cut { broken("the header of a tag in an aggregate is cut short") } else { Ok(None) };
        };
        let size = u32::from_be_bytes([0, s2, s1, s0]);
        let len = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(TAG_HEADER_LEN);
        let whole = len.saturating_add(TAG_TRAILER_LEN);
        if whole > stream.payload.len().saturating_add(stream.left) {
            return broken("a tag in an aggregate is longer than the aggregate");
        }
        if whole > stream.payload.len() {
            return Ok(None);
        }
        let mut tag = stream.payload.split_to(whole).freeze();
        let back_pointer = tag.split_off(len);
        if back_pointer.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) != u32::try_from(len).ok() {
            return broken("the back pointer of a tag in an aggregate is wrong");
        }
        let time = u32::from_be_bytes([t3, t2, t1, t0]);
        let first = *stream.first_tag_ms.get_or_insert(time);
        let timestamp = stream.header.timestamp.wrapping_add(time.wrapping_sub(first));
        let is_media = matches!(kind, msg_type::AUDIO | msg_type::VIDEO | msg_type::DATA_AMF0);
        let body = tag.split_off(TAG_HEADER_LEN);
        let payload =
            is_media.then_some(body).filter(|body| kind != msg_type::DATA_AMF0 || body.len() <= CONTROL_LEN_MAX);
        Ok(Some(Message { kind, stream_id: stream.header.stream_id, timestamp, payload }))
    }

    /// Reads one header. How long it was; `None` when it is not whole.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, IngestError> {
        let Some((format, id, rest)) = basic_header(bytes) else { return Ok(None) };
        let at = self.streams.iter().position(|stream| stream.id == id);
        if at.is_none() && self.streams.len() >= CHUNK_STREAMS_MAX {
            return Err(IngestError::ChunkStreams { count_max: CHUNK_STREAMS_MAX });
        }
        let known = at.and_then(|at| self.streams.get(at));
        let Some((fields, rest)) = HEADER_LENS.get(usize::from(format)).and_then(|len| rest.split_at_checked(*len))
        else {
            return Ok(None);
        };
        let read = match (format, known) {
            (0, _) => read_fields(fields, rest, None),
            (_, None) => return Err(IngestError::Chunk { what: "a chunk stream does not begin with a type 0 header" }),
            (3, Some(known)) => inherit(known, rest),
            (_, Some(known)) if known.left > 0 => {
                return Err(IngestError::Chunk { what: "a header stands in the middle of another message" });
            }
            (_, Some(known)) => read_fields(fields, rest, Some(known.header)),
        };
        let Some((header, rest)) = read else { return Ok(None) };
        let goes_on = format == 3 && known.is_some_and(|known| known.left > 0);
        let at = match at {
            Some(at) if goes_on => at,
            _ => self.begin(at, id, header)?,
        };
        let left = self.streams.get(at).map_or(0, |stream| stream.left);
        self.place = Place::Payload(at, left.min(self.chunk_len));
        Ok(Some(bytes.len().saturating_sub(rest.len())))
    }

    /// A message begins: its length is judged before a byte of it is kept.
    fn begin(&mut self, at: Option<usize>, id: u32, header: Header) -> Result<usize, IngestError> {
        if let Some(at) = at {
            self.drop_message(at);
        }
        let Header { kind, len, .. } = header;
        let (fate, len_max) = match kind {
            msg_type::AUDIO | msg_type::VIDEO if self.takes_media => (Fate::Keep, MEDIA_LEN_MAX),
            msg_type::AGGREGATE if self.takes_media => (Fate::Unpack, MEDIA_LEN_MAX),
            msg_type::AUDIO | msg_type::VIDEO | msg_type::AGGREGATE => (Fate::Skip, MEDIA_LEN_MAX),
            // Metadata may be a whole index of a file: nothing that a live stream needs.
            msg_type::DATA_AMF0 if self.takes_media && len <= CONTROL_LEN_MAX => (Fate::Keep, CONTROL_LEN_MAX),
            msg_type::SET_CHUNK_SIZE..=msg_type::SET_PEER_BANDWIDTH
            | msg_type::COMMAND_AMF0
            | msg_type::COMMAND_AMF3 => (Fate::Keep, CONTROL_LEN_MAX),
            _ => (Fate::Skip, usize::MAX),
        };
        if len > len_max {
            return Err(IngestError::MessageLen { kind, len, len_max });
        }
        let mut payload = BytesMut::new();
        if fate != Fate::Skip {
            let open_len = self.in_progress_len.saturating_add(len);
            if open_len > self.in_progress_len_max {
                return Err(IngestError::InProgress { len: open_len, len_max: self.in_progress_len_max });
            }
            self.in_progress_len = open_len;
            payload.reserve(len.min(if self.takes_media { RESERVE_LEN_MAX } else { RESERVE_LEN_MAX_EARLY }));
        }
        let stream = ChunkStream { id, header, fate, left: len, payload, first_tag_ms: None };
        match at.and_then(|at| self.streams.get_mut(at)) {
            Some(slot) => *slot = stream,
            None => self.streams.push(stream),
        }
        Ok(at.unwrap_or(self.streams.len().saturating_sub(1)))
    }

    /// Forgets a message under way.
    fn drop_message(&mut self, at: usize) {
        let Some(stream) = self.streams.get_mut(at).filter(|stream| stream.left > 0) else { return };
        stream.left = 0;
        stream.payload = BytesMut::new();
        if stream.fate != Fate::Skip {
            self.in_progress_len = self.in_progress_len.saturating_sub(stream.header.len);
        }
    }
}

impl ChunkStream {
    fn append(&mut self, piece: &[u8]) {
        self.left = self.left.saturating_sub(piece.len());
        if self.fate != Fate::Skip {
            self.payload.extend_from_slice(piece);
        }
    }
}

/// Header type, chunk stream id, and what follows (§5.3.1.1); `None` when it is cut.
fn basic_header(bytes: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (id, rest) = match first & 0x3f {
        0 => {
            let (low, rest) = rest.split_first()?;
            (u32::from(*low) + 64, rest)
        }
        1 => {
            let ([low, high], rest) = rest.split_first_chunk()?;
            (u32::from(u16::from_le_bytes([*low, *high])) + 64, rest)
        }
        id => (u32::from(id), rest),
    };
    Some((first >> 6, id, rest))
}

/// The fields of a header of type 0, or of type 1 or 2 after `before`; `None` when its extended timestamp is cut.
fn read_fields<'a>(fields: &[u8], rest: &'a [u8], before: Option<Header>) -> Option<(Header, &'a [u8])> {
    let ([t2, t1, t0], fields) = fields.split_first_chunk()?;
    let time = u32::from_be_bytes([0, *t2, *t1, *t0]);
    let (extended, rest) = if time == EXTENDED {
        let (field, rest) = rest.split_first_chunk()?;
        (Some(u32::from_be_bytes(*field)), rest)
    } else {
        (None, rest)
    };
    let step = extended.unwrap_or(time);
    let timestamp = before.map_or(step, |before| before.timestamp.wrapping_add(step));
    let (len, kind, fields) = match (fields.split_first_chunk(), before) {
        (Some(([l2, l1, l0, kind], fields)), _) => {
            (usize::try_from(u32::from_be_bytes([0, *l2, *l1, *l0])).ok()?, *kind, fields)
        }
        (None, Some(before)) => (before.len, before.kind, fields),
        (None, None) => return None,
    };
    let stream_id = fields.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let stream_id = stream_id.or(before.map(|before| before.stream_id))?;
    Some((Header { timestamp, step, len, kind, stream_id, extended }, rest))
}

/// What a type 3 header means on `known`; `None` when more bytes are needed to tell whether its extended timestamp is there.
fn inherit<'a>(known: &ChunkStream, rest: &'a [u8]) -> Option<(Header, &'a [u8])> {
    let mut header = known.header;
    if known.left == 0 {
        header.timestamp = header.timestamp.wrapping_add(header.step);
    }
    let Some(extended) = header.extended else { return Some((header, rest)) };
    let (peeked, after) = rest.split_at(TIMESTAMP_LEN.min(rest.len()));
    // Some repeat the field, some write the absolute time.
    let repeats = [extended, header.timestamp].iter().any(|time| time.to_be_bytes().starts_with(peeked));
    match (repeats, peeked.len() == TIMESTAMP_LEN) {
        (true, true) => Some((header, after)),
        (true, false) => None,
        (false, _) => Some((header, rest)),
    }
}
