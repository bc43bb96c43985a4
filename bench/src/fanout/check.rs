//! Whether viewers got what was published.
//!
//! Viewer 0 is decrypted whole: its streams are compared with what has to be on the wire for the published objects, byte by
//! byte. What is decrypted of the others is compared with the streams of viewer 0, for all subscribed at the same time.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use streams_relay_core::wire::{Draft, ObjectStatus, SubgroupHeader, encode_object_head, object_id_delta};

use super::frames::StreamPart;
use super::receiver::Depth;

/// The server's first unidirectional stream carries control messages; media comes on later ones.
pub const FIRST_MEDIA_STREAM: u64 = 7;
/// The two last bits of a stream that the server opened in one direction (RFC 9000 §2.1).
const SERVER_UNI: u64 = 3;
/// Faults that are told in words.
const FAULTS_MAX: usize = 5;

/// One object of the synthetic broadcast.
#[derive(Debug, Clone)]
pub struct Object {
    /// Group id.
    pub group: u64,
    /// Object id, from 0.
    pub id: u64,
    /// The payload.
    pub payload: Bytes,
    /// It is the last one of its group.
    pub ends_group: bool,
}

impl Object {
    /// An object whose bytes follow from its place, so that no two are alike.
    pub fn synthetic(group: u64, id: u64, len: usize, ends_group: bool) -> Self {
        // xorshift64: never 0, and good enough to be no other object's.
        let mut state = (group << 20 | id).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut payload = Vec::with_capacity(len + 8);
        while payload.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            payload.extend_from_slice(&state.to_le_bytes());
        }
        payload.truncate(len);
        Self { group, id, payload: payload.into(), ends_group }
    }

    /// The object as it stands on a subgroup stream, behind the object before it.
    pub fn framed(&self, properties: bool, out: &mut Vec<u8>) {
        let delta = object_id_delta(self.id.checked_sub(1), self.id).unwrap_or_default();
        let properties = properties.then_some(&[][..]);
        encode_object_head(Draft::D18, delta, properties, self.payload.len(), ObjectStatus::Normal, out);
        out.extend_from_slice(&self.payload);
    }
}

/// A stream of viewer 0.
#[derive(Debug, Default)]
struct Reference {
    bytes: Vec<u8>,
    fin: bool,
    /// What it has to hold by now, and of which group; empty before its header was read.
    wanted: Vec<u8>,
    header: Option<SubgroupHeader>,
    /// Objects in `wanted`.
    objects: usize,
}

/// Bytes of another viewer, to be compared when the object is through.
#[derive(Debug)]
struct Sampled {
    viewer: usize,
    stream: u64,
    offset: u64,
    data: Vec<u8>,
}

/// Compares what was received with what was published.
#[derive(Debug)]
pub struct Check {
    depth: Depth,
    viewers: usize,
    published: BTreeMap<u64, Vec<Object>>,
    references: BTreeMap<u64, Reference>,
    samples: Vec<Sampled>,
    spare: Vec<Vec<u8>>,
    /// With full depth: bytes without a hole from the start, by viewer and stream.
    whole: HashMap<(usize, u64), u64>,
    /// Bytes of media that were compared.
    pub compared: u64,
    faults: Vec<String>,
    /// All faults, told or not.
    pub faults_count: u64,
}

impl Check {
    /// Nothing is published yet.
    pub fn new(viewers: usize, depth: Depth) -> Self {
        Self {
            depth,
            viewers,
            published: BTreeMap::new(),
            references: BTreeMap::new(),
            samples: Vec::new(),
            spare: Vec::new(),
            whole: HashMap::new(),
            compared: 0,
            faults: Vec::new(),
            faults_count: 0,
        }
    }

    /// What was wrong, the first few.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn fault(&mut self, words: String) {
        self.faults_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(words);
        }
    }

    /// An object is about to be handed out.
    pub fn publish(&mut self, object: &Object) {
        self.published.entry(object.group).or_default().push(object.clone());
    }

    /// A decrypted part of a viewer's stream.
    pub fn part(&mut self, viewer: usize, part: StreamPart<'_>) {
        if part.stream & 3 != SERVER_UNI || part.stream < FIRST_MEDIA_STREAM {
            return;
        }
        if viewer == 0 {
            let reference = self.references.entry(part.stream).or_default();
            reference.fin |= part.fin;
            let at = usize::try_from(part.offset).unwrap_or(usize::MAX);
            let new = reference.bytes.len().saturating_sub(at);
            if at <= reference.bytes.len() {
                reference.bytes.extend_from_slice(part.data.get(new..).unwrap_or_default());
            }
            return;
        }
        if self.depth == Depth::Full {
            let whole = self.whole.entry((viewer, part.stream)).or_default();
            if part.offset <= *whole {
                *whole = (*whole).max(part.offset + part.data.len() as u64);
            }
        }
        let mut data = self.spare.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(part.data);
        self.samples.push(Sampled { viewer, stream: part.stream, offset: part.offset, data });
    }

    /// An object is through: compares all that came.
    pub fn settle(&mut self) {
        let mut references = std::mem::take(&mut self.references);
        for (stream, reference) in &mut references {
            self.settle_reference(*stream, reference);
        }
        for sample in std::mem::take(&mut self.samples) {
            let at = usize::try_from(sample.offset).unwrap_or(usize::MAX);
            let wanted = references.get(&sample.stream).and_then(|reference| reference.bytes.get(at..));
            if wanted.is_some_and(|wanted| wanted.starts_with(&sample.data)) {
                self.compared += sample.data.len() as u64;
            } else {
                let Sampled { viewer, stream, offset, .. } = sample;
                self.fault(format!("viewer {viewer}, stream {stream}, offset {offset}: not what viewer 0 got"));
            }
            self.spare.push(sample.data);
        }
        if self.depth == Depth::Full {
            self.settle_whole(&references);
        }
        references.retain(|_, reference| !reference.fin);
        self.references = references;
        while self.published.len() > 1 {
            self.published.pop_first();
        }
    }

    fn settle_reference(&mut self, stream: u64, reference: &mut Reference) {
        let before = reference.wanted.len();
        if reference.header.is_none()
            && let Ok((header, _)) = SubgroupHeader::decode(Draft::D18, &reference.bytes)
        {
            header.encode(Draft::D18, &mut reference.wanted);
            reference.header = Some(header);
        }
        let Some(header) = reference.header else { return self.fault(format!("stream {stream} has no header")) };
        let objects = self.published.get(&header.group).map(Vec::as_slice).unwrap_or_default();
        for object in objects.iter().skip(reference.objects) {
            object.framed(header.properties, &mut reference.wanted);
        }
        reference.objects = objects.len();
        let ended = objects.last().is_some_and(|object| object.ends_group);
        if reference.bytes.get(before..) == reference.wanted.get(before..) && reference.fin == ended {
            self.compared += (reference.bytes.len() - before) as u64;
        } else {
            self.fault(format!("viewer 0, group {}: not what was published", header.group));
        }
    }

    fn settle_whole(&mut self, references: &BTreeMap<u64, Reference>) {
        for (stream, reference) in references {
            for viewer in 1..self.viewers {
                let key = (viewer, *stream);
                let whole = self.whole.get(&key).copied().unwrap_or_default();
                if whole != reference.bytes.len() as u64 {
                    self.fault(format!("viewer {viewer}, stream {stream}: {whole} bytes without a hole"));
                }
                if reference.fin {
                    self.whole.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams_relay_core::wire::SubgroupId;

    fn stream(objects: &[Object]) -> Vec<u8> {
        let header = SubgroupHeader {
            track_alias: 3,
            group: objects[0].group,
            subgroup: SubgroupId::Zero,
            priority: Some(9),
            properties: false,
            end_of_group: true,
            first_object: true,
        };
        let mut bytes = Vec::new();
        header.encode(Draft::D18, &mut bytes);
        objects.iter().for_each(|object| object.framed(false, &mut bytes));
        bytes
    }

    fn part(data: &[u8], offset: usize, fin: bool) -> StreamPart<'_> {
        StreamPart { stream: 7, offset: offset as u64, data: &data[offset..], fin }
    }

    #[test]
    fn what_was_published_passes_and_a_changed_byte_does_not() {
        let objects = [Object::synthetic(4, 0, 100, false), Object::synthetic(4, 1, 50, true)];
        let wire = stream(&objects);
        let first = stream(&objects[..1]).len();
        let mut check = Check::new(2, Depth::Full);
        check.publish(&objects[0]);
        check.part(0, part(&wire[..first], 0, false));
        check.part(1, part(&wire[..first], 0, false));
        check.settle();
        check.publish(&objects[1]);
        check.part(1, part(&wire, first, true));
        check.part(0, part(&wire, first, true));
        check.settle();
        assert_eq!((check.faults(), check.compared), (&[][..], 2 * wire.len() as u64));

        let mut changed = wire.clone();
        changed[first + 20] ^= 1;
        for (viewer, words) in [(0, "viewer 0, group 4"), (1, "viewer 1, stream 7")] {
            let mut check = Check::new(2, Depth::Sample);
            objects.iter().for_each(|object| check.publish(object));
            check.part(0, part(if viewer == 0 { &changed } else { &wire }, 0, true));
            check.part(1, part(&changed, 0, true));
            check.settle();
            assert_eq!(check.faults_count, 1, "{:?}", check.faults());
            assert!(check.faults()[0].starts_with(words), "{:?}", check.faults());
        }
    }

    #[test]
    fn a_hole_shows_when_everything_is_decrypted() {
        let objects = [Object::synthetic(4, 0, 100, true)];
        let wire = stream(&objects);
        let mut check = Check::new(2, Depth::Full);
        check.publish(&objects[0]);
        check.part(0, part(&wire, 0, true));
        check.part(1, part(&wire, 10, true));
        check.settle();
        assert_eq!(check.faults_count, 1);
    }
}
