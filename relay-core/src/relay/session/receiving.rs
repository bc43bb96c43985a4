//! The receiving streams of one session, and the memory of what is not whole yet on them.

use std::collections::HashMap;

use crate::relay::keys::{PullKey, RequestKey, TrackKey};
use crate::transmit::{Dir, StreamId};
use crate::wire::{ControlReader, FetchReader, SubgroupReader};

/// A stream that arrived before SETUP.
#[derive(Debug)]
pub(crate) struct EarlyStream {
    pub(crate) stream: StreamId,
    pub(crate) dir: Dir,
    pub(crate) data: Vec<u8>,
    pub(crate) fin: bool,
}

/// What arrives on one stream.
#[derive(Debug)]
pub(crate) enum Receive {
    /// The stream's type is not whole yet.
    Fresh(Vec<u8>),
    /// The peer's control stream.
    Control(ControlReader),
    /// A request stream, opened by either side; the key of its request.
    Request(ControlReader, RequestKey),
    /// Objects of a track that the peer publishes.
    Subgroup(SubgroupIn),
    /// Objects that we fetched.
    Fetch(FetchIn),
    /// Read and dropped.
    Ignored,
}

/// An incoming subgroup stream.
#[derive(Debug)]
pub(crate) struct SubgroupIn {
    pub(crate) reader: SubgroupReader,
    /// The track it belongs to, once the alias is known.
    pub(crate) track: Option<TrackKey>,
    pub(crate) group: u64,
    /// Known after the header, or after the first object when the header says so.
    pub(crate) subgroup: Option<u64>,
    /// The last object that went into the cache from this stream.
    pub(crate) last: Option<u64>,
    /// The end came while the alias was unknown.
    pub(crate) fin: bool,
}

/// An incoming fetch stream.
#[derive(Debug)]
pub(crate) struct FetchIn {
    pub(crate) reader: FetchReader,
    /// The pull it fills, once the header is known.
    pub(crate) pull: Option<PullKey>,
}

/// Streams by id. Bytes kept for unfinished objects and messages are summed up as streams come and go.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    streams: HashMap<StreamId, Receive>,
    len: usize,
    /// The part of the relay's sum that is this session's.
    counted: usize,
}

impl Receiving {
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn contains(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(crate) fn insert(&mut self, stream: StreamId, receive: Receive) {
        self.remove(stream);
        self.len = self.len.saturating_add(receive.reserved());
        self.streams.insert(stream, receive);
    }

    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<Receive> {
        let receive = self.streams.remove(&stream)?;
        self.len = self.len.saturating_sub(receive.reserved());
        Some(receive)
    }

    /// Bytes of memory kept for what is not whole yet.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The part of the sum over all sessions that is this one's.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Brings its part of that sum up to date; gives what it was.
    pub(crate) fn count_again(&mut self) -> usize {
        std::mem::replace(&mut self.counted, self.len)
    }

    /// Takes all streams, in the order of their ids.
    pub(crate) fn take(&mut self) -> Vec<(StreamId, Receive)> {
        self.len = 0;
        let mut streams: Vec<_> = std::mem::take(&mut self.streams).into_iter().collect();
        streams.sort_unstable_by_key(|(stream, _)| *stream);
        streams
    }
}

impl Receive {
    /// Bytes of memory kept for what is not whole yet: an object's announced length, however little of it came.
    fn reserved(&self) -> usize {
        match self {
            Self::Fresh(buffer) => buffer.capacity(),
            Self::Control(reader) | Self::Request(reader, _) => reader.buffered(),
            Self::Subgroup(subgroup) => subgroup.reader.reserved(),
            Self::Fetch(fetch) => fetch.reader.reserved(),
            Self::Ignored => 0,
        }
    }
}
