//! What shards say to each other over `ask.<i>.<j>`, and the head of an object in `media.<i>`.
//!
//! Both ends are the same build in one process, but the bytes lie in memory that others can map, so decoding trusts nothing.

use bytes::Bytes;
use streams_relay_core::relay::{FullTrackName, LinkId, Location, Namespace};

/// One message of a reliable link between two shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The sender has a first subscriber for this track of the receiver.
    Subscribe(FullTrackName),
    /// The sender has no subscriber any more.
    Unsubscribe(FullTrackName),
    /// The receiver's subscription is accepted; its replay follows. What the replay does not have comes from `media_seq` on
    /// in the sender's media link.
    Accepted(Accepted),
    /// It is refused.
    Refused { name: FullTrackName, code: u64, reason: String },
    /// There is no room for the replay now: the receiver may ask again.
    Busy(FullTrackName),
    /// One cached object.
    Object { link_id: LinkId, head: ObjectHead, payload: Bytes },
    /// The replay is complete.
    Filled { link_id: LinkId },
    /// The track is over. Its last object lies before `media_seq` in the sender's media link.
    Done { link_id: LinkId, status: u64, media_seq: u64 },
    /// What one relay has to say to the other; opaque here.
    Relay(Bytes),
}

/// What a shard says of a track that it begins to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The track.
    pub name: FullTrackName,
    /// Signature of its objects in the media link.
    pub link_id: LinkId,
    /// Publisher priority.
    pub priority: u8,
    /// The newest object is always kept.
    pub pinned: bool,
    /// The largest location that the track has reached.
    pub largest: Option<Location>,
    /// Number of the first frag of the media link that came after the replay was made.
    pub media_seq: u64,
}

/// Where an object stands in its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Group id.
    pub group: u64,
    /// Object id.
    pub object: u64,
    /// No object follows in the group.
    pub end_of_group: bool,
}

impl ObjectHead {
    /// Encoded length in bytes.
    pub const LEN: usize = 17;

    /// group (8), object (8), flags (1), little endian.
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut wire = [0; Self::LEN];
        wire[..8].copy_from_slice(&self.group.to_le_bytes());
        wire[8..16].copy_from_slice(&self.object.to_le_bytes());
        wire[16] = u8::from(self.end_of_group);
        wire
    }

    /// Splits a message into head and payload.
    pub fn decode(wire: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader(wire);
        let head = Self { group: reader.u64()?, object: reader.u64()?, end_of_group: reader.u8()? != 0 };
        Some((head, reader.0))
    }
}

const SUBSCRIBE: u8 = 1;
const UNSUBSCRIBE: u8 = 2;
const ACCEPTED: u8 = 3;
const REFUSED: u8 = 4;
const OBJECT: u8 = 5;
const FILLED: u8 = 6;
const DONE: u8 = 7;
const BUSY: u8 = 8;
const RELAY: u8 = 9;

impl Ask {
    /// Appends the message to `wire`.
    pub fn encode(&self, wire: &mut Vec<u8>) {
        match self {
            Self::Subscribe(name) => put_name(wire, SUBSCRIBE, name),
            Self::Unsubscribe(name) => put_name(wire, UNSUBSCRIBE, name),
            Self::Busy(name) => put_name(wire, BUSY, name),
            Self::Accepted(Accepted { name, link_id, priority, pinned, largest, media_seq }) => {
                put_name(wire, ACCEPTED, name);
                put_u64(wire, link_id.0);
                wire.extend_from_slice(&[*priority, u8::from(*pinned), u8::from(largest.is_some())]);
                let largest = largest.unwrap_or_default();
                put_u64(wire, largest.group);
                put_u64(wire, largest.object);
                put_u64(wire, *media_seq);
            }
            Self::Refused { name, code, reason } => {
                put_name(wire, REFUSED, name);
                put_u64(wire, *code);
                put_bytes(wire, reason.as_bytes());
            }
            Self::Object { link_id, head, payload } => {
                wire.push(OBJECT);
                put_u64(wire, link_id.0);
                wire.extend_from_slice(&head.encode());
                wire.extend_from_slice(payload);
            }
            Self::Filled { link_id } => {
                wire.push(FILLED);
                put_u64(wire, link_id.0);
            }
            Self::Done { link_id, status, media_seq } => {
                wire.push(DONE);
                put_u64(wire, link_id.0);
                put_u64(wire, *status);
                put_u64(wire, *media_seq);
            }
            Self::Relay(message) => {
                wire.push(RELAY);
                wire.extend_from_slice(message);
            }
        }
    }

    /// Reads one message; `None` when it is none.
    pub fn decode(wire: &[u8]) -> Option<Self> {
        let mut reader = Reader(wire);
        Some(match reader.u8()? {
            SUBSCRIBE => Self::Subscribe(reader.name()?),
            UNSUBSCRIBE => Self::Unsubscribe(reader.name()?),
            ACCEPTED => {
                let (name, link_id, priority) = (reader.name()?, LinkId(reader.u64()?), reader.u8()?);
                let (pinned, known) = (reader.u8()? != 0, reader.u8()? != 0);
                let largest = Location { group: reader.u64()?, object: reader.u64()? };
                let (largest, media_seq) = (known.then_some(largest), reader.u64()?);
                Self::Accepted(Accepted { name, link_id, priority, pinned, largest, media_seq })
            }
            REFUSED => {
                let (name, code) = (reader.name()?, reader.u64()?);
                Self::Refused { name, code, reason: String::from_utf8_lossy(reader.bytes()?).into_owned() }
            }
            BUSY => Self::Busy(reader.name()?),
            OBJECT => {
                let link_id = LinkId(reader.u64()?);
                let (head, payload) = ObjectHead::decode(reader.0)?;
                Self::Object { link_id, head, payload: Bytes::copy_from_slice(payload) }
            }
            FILLED => Self::Filled { link_id: LinkId(reader.u64()?) },
            DONE => Self::Done { link_id: LinkId(reader.u64()?), status: reader.u64()?, media_seq: reader.u64()? },
            RELAY => Self::Relay(Bytes::copy_from_slice(reader.0)),
            _ => return None,
        })
    }
}

/// Whether an encoded message is [`Ask::Subscribe`] or [`Ask::Unsubscribe`]; behind its first byte it is the track's name.
pub fn is_question(wire: &[u8]) -> bool {
    matches!(wire.first(), Some(&(SUBSCRIBE | UNSUBSCRIBE)))
}

fn put_u64(wire: &mut Vec<u8>, value: u64) {
    wire.extend_from_slice(&value.to_le_bytes());
}

/// Names, fields and reasons are bounded far below 64 KiB by MoQT (4096 and 1024 bytes); a longer one is cut.
fn put_bytes(wire: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    wire.extend_from_slice(&len.to_le_bytes());
    wire.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

fn put_name(wire: &mut Vec<u8>, kind: u8, name: &FullTrackName) {
    wire.push(kind);
    // At most 32 fields by MoQT-18 §2.4.1.
    wire.push(u8::try_from(name.namespace.0.len()).unwrap_or(u8::MAX));
    for field in name.namespace.0.iter().take(usize::from(u8::MAX)) {
        put_bytes(wire, field);
    }
    put_bytes(wire, &name.name);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        self.0 = rest;
        Some(bytes)
    }

    fn name(&mut self) -> Option<FullTrackName> {
        let fields = self.u8()?;
        let mut namespace = Vec::with_capacity(usize::from(fields));
        for _ in 0..fields {
            namespace.push(Bytes::copy_from_slice(self.bytes()?));
        }
        Some(FullTrackName { namespace: Namespace(namespace), name: Bytes::copy_from_slice(self.bytes()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> FullTrackName {
        let fields = ["stream", "org_1", "lv_2"].map(Bytes::from_static_str);
        FullTrackName { namespace: Namespace(fields.to_vec()), name: Bytes::from_static(b"video/720p") }
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Self;
    }

    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Self {
            Bytes::from_static(text.as_bytes())
        }
    }

    fn accepted(pinned: bool, largest: Option<Location>) -> Ask {
        Ask::Accepted(Accepted { name: name(), link_id: LinkId(9), priority: 3, pinned, largest, media_seq: 11 })
    }

    fn all() -> Vec<Ask> {
        let head = ObjectHead { group: 1_795_333_333_000, object: 7, end_of_group: true };
        vec![
            Ask::Subscribe(name()),
            Ask::Unsubscribe(name()),
            accepted(true, None),
            accepted(false, Some(Location { group: 5, object: 6 })),
            Ask::Busy(name()),
            Ask::Refused { name: name(), code: 0x10, reason: "no such track".into() },
            Ask::Object { link_id: LinkId(1), head, payload: Bytes::from_static(b"chunk") },
            Ask::Filled { link_id: LinkId(u64::MAX) },
            Ask::Done { link_id: LinkId(2), status: 2, media_seq: 77 },
            Ask::Relay(Bytes::from_static(b"said")),
        ]
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in all() {
            let mut wire = Vec::new();
            message.encode(&mut wire);
            assert_eq!(Ask::decode(&wire), Some(message));
        }
    }

    #[test]
    fn a_cut_message_is_no_message_and_no_panic() {
        for message in all() {
            let mut wire = Vec::new();
            message.encode(&mut wire);
            for len in 0..wire.len() {
                let cut = Ask::decode(&wire[..len]);
                assert_ne!(cut.as_ref(), Some(&message), "{len} of {} bytes", wire.len());
            }
        }
    }
}
