//! A viewer whose packets are all decrypted: which objects it got, when, and whether they are the ones that were published.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use streams_relay_core::DecodeError;
use streams_relay_core::wire::{Draft, SubgroupHeader};

use super::super::check::FIRST_MEDIA_STREAM;
use super::super::frames::StreamPart;
use super::broadcast::Broadcast;
use super::tally::Tally;

/// The two last bits of a stream that the server opened in one direction (RFC 9000 §2.1).
const SERVER_UNI: u64 = 3;
/// Parts that came before the head of their stream, a stream.
const WAITING_MAX: usize = 1_024;

/// Whether a part belongs to a media stream.
pub fn is_media(part: &StreamPart<'_>) -> bool {
    part.stream & 3 == SERVER_UNI && part.stream >= FIRST_MEDIA_STREAM
}

/// The streams of one viewer that are not through.
#[derive(Debug, Default)]
pub struct Tracked {
    streams: HashMap<u64, Stream>,
    /// Streams that were whole: what comes of them once more was sent again for nothing.
    through: HashSet<u64>,
    /// Length of a stream's header, once one was read. All groups of a run have ids of one length, and so have their headers.
    pub header_len: Option<usize>,
    /// Bytes of the stream that is going on.
    head: Vec<u8>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Group, and length of the header.
    header: Option<(u64, usize)>,
    /// Bytes without a hole from the start.
    whole: u64,
    /// What came beyond, from and to.
    ahead: Vec<(u64, u64)>,
    /// Parts that came before the header, with their time.
    waiting: Vec<(u64, Vec<u8>, Instant)>,
    /// Objects that are whole.
    objects: usize,
    /// Length of the stream, when its end has come.
    len: Option<u64>,
}

impl Stream {
    /// Adds what came; parts may repeat and overtake each other.
    fn cover(&mut self, from: u64, to: u64) {
        if from > self.whole {
            self.ahead.push((from, to));
            return;
        }
        self.whole = self.whole.max(to);
        while let Some(at) = self.ahead.iter().position(|(from, _)| *from <= self.whole) {
            let (_, to) = self.ahead.swap_remove(at);
            self.whole = self.whole.max(to);
        }
    }

    fn is_through(&self) -> bool {
        self.len.is_some_and(|len| len <= self.whole)
    }
}

impl Tracked {
    /// A decrypted part of one of its streams, which came at `at`.
    pub fn part(&mut self, part: StreamPart<'_>, at: Instant, broadcast: &Broadcast, tally: &mut Tally) {
        if !is_media(&part) || self.through.contains(&part.stream) {
            return;
        }
        let Self { streams, through, header_len, head } = self;
        let stream = streams.entry(part.stream).or_default();
        if part.fin {
            stream.len = Some(part.offset + part.data.len() as u64);
        }
        if stream.header.is_some() {
            stream.take(part.offset, part.data, at, broadcast, tally);
        } else if stream.waiting.len() < WAITING_MAX {
            stream.waiting.push((part.offset, part.data.to_vec(), at));
            stream.read_header(head, tally);
            if let Some((_, len)) = stream.header {
                *header_len = Some(len);
                for (offset, data, at) in std::mem::take(&mut stream.waiting) {
                    stream.take(offset, &data, at, broadcast, tally);
                }
            }
        }
        if stream.is_through() {
            streams.remove(&part.stream);
            through.insert(part.stream);
            // Streams of groups that were dropped never end; by now they are of the past.
            streams.retain(|_, stream| stream.header.is_none_or(|(group, _)| broadcast.group(group).is_some()));
        }
    }
}

impl Stream {
    /// Reads the header when its bytes are there.
    fn read_header(&mut self, head: &mut Vec<u8>, tally: &mut Tally) {
        head.clear();
        self.waiting.sort_unstable_by_key(|(offset, _, _)| *offset);
        for (offset, data, _) in &self.waiting {
            let known = usize::try_from(*offset).ok().and_then(|offset| head.len().checked_sub(offset));
            head.extend_from_slice(known.and_then(|known| data.get(known..)).unwrap_or_default());
        }
        match SubgroupHeader::decode(Draft::D18, head) {
            Ok((header, len)) if !header.properties => self.header = Some((header.group, len)),
            Err(DecodeError::NeedMore) => {}
            _ => tally.fault("a stream has no header of this broadcast"),
        }
    }

    fn take(&mut self, offset: u64, data: &[u8], at: Instant, broadcast: &Broadcast, tally: &mut Tally) {
        let Some((group, header_len)) = self.header else { return };
        let end = offset + data.len() as u64;
        self.cover(offset, end);
        let Some(group) = broadcast.group(group) else {
            return tally.fault("a stream is of a group that was not published, or long ago");
        };
        let header_len = header_len as u64;
        // What the header's decoder has read is right.
        let skipped = usize::try_from(header_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        let from = usize::try_from(offset.saturating_sub(header_len)).unwrap_or(usize::MAX);
        let data = data.get(skipped..).unwrap_or_default();
        if group.bytes.get(from..).is_some_and(|bytes| bytes.starts_with(data)) {
            tally.compared += data.len() as u64;
        } else {
            tally.fault("bytes differ from those published");
        }
        while let Some(object) = group.objects.get(self.objects) {
            if self.whole < header_len + object.end as u64 {
                break;
            }
            tally.delivered(object, at);
            self.objects += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::Object;
    use super::*;
    use std::time::Duration;
    use streams_relay_core::wire::SubgroupId;

    const GROUP: u64 = 1 << 20;

    fn published() -> (Broadcast, Vec<u8>, Instant) {
        let (mut broadcast, at) = (Broadcast::new(), Instant::now());
        let header = SubgroupHeader {
            track_alias: 3,
            group: GROUP,
            subgroup: SubgroupId::Zero,
            priority: Some(9),
            properties: false,
            end_of_group: true,
            first_object: true,
        };
        let mut wire = Vec::new();
        header.encode(Draft::D18, &mut wire);
        for id in 0..3 {
            broadcast.publish(&Object::synthetic(GROUP, id, 100, id == 2), at);
        }
        wire.extend_from_slice(&broadcast.group(GROUP).unwrap().bytes);
        (broadcast, wire, at)
    }

    /// Takes parts of the stream in some order, each 10 ms later; tells what was counted.
    fn take(parts: &[(usize, usize)], change: Option<usize>) -> Tally {
        let (broadcast, mut wire, at) = published();
        let len = wire.len();
        if let Some(changed) = change {
            wire[changed] ^= 1;
        }
        let (mut tracked, mut tally) = (Tracked::default(), Tally::new().unwrap());
        tally.open(0);
        for (index, part) in parts.iter().enumerate() {
            let range = part.0.min(len)..part.1.min(len);
            let part =
                StreamPart { stream: 7, offset: range.start as u64, fin: range.end == len, data: &wire[range.clone()] };
            tracked.part(part, at + Duration::from_millis(10 * (index as u64 + 1)), &broadcast, &mut tally);
        }
        tally
    }

    #[test]
    fn an_object_counts_when_its_last_byte_is_there() {
        let tally = take(&[(0, 150), (150, 1_000)], None);
        assert_eq!((tally.objects, tally.faults_count), (3, 0));
        assert_eq!((tally.times.quantile_ms(0.0).round(), tally.times.quantile_ms(1.0).round()), (10.0, 20.0));
        assert_eq!(take(&[(0, 1)], None).objects, 0);
    }

    #[test]
    fn parts_may_overtake_and_repeat() {
        let tally = take(&[(200, 1_000), (2, 200), (0, 2), (0, 50)], None);
        assert_eq!((tally.objects, tally.faults_count), (3, 0), "{:?}", tally.faults);
        assert_eq!(take(&[(0, 100), (200, 1_000)], None).objects, 0, "a hole");
    }

    #[test]
    fn a_changed_byte_is_a_fault() {
        let tally = take(&[(0, 1_000)], Some(250));
        assert_eq!((tally.compared, tally.faults_count), (0, 1));
    }
}
