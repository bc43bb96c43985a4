//! A FETCH that another shard is served: what is kept of it here, and its stream.

use bytes::{Bytes, BytesMut};

use crate::relay::subscribe::fetch_out::FetchOut;
use crate::transmit::{StreamId, Transmit, TransmitError};

/// What is kept here of another shard's FETCH.
#[derive(Debug)]
pub(crate) struct ShardFetch {
    pub(crate) shard: usize,
    /// What it is called between the two.
    pub(crate) id: u64,
    pub(crate) out: Option<FetchOut>,
}

/// A fetch stream whose bytes go into messages.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: BytesMut,
}

impl Transmit for Captured {
    fn open_uni(&mut self) -> Option<StreamId> {
        Some(StreamId(0))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        None
    }

    fn write(&mut self, _stream: StreamId, data: &[u8], _fin: bool) -> Result<usize, TransmitError> {
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.write(stream, data, fin)
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, _stream: StreamId, _code: u64) {}

    fn stop(&mut self, _stream: StreamId, _code: u64) {}

    fn close(&mut self, _code: u64, _reason: &str) {}
}
