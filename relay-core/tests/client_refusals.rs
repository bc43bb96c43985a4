//! What a relay asks of a client that only watches or publishes one track: the request is refused, and the session goes on.

use std::time::Instant;

use bytes::Bytes;
use streams_relay_core::client::{Client, ClientConfig, ClientEvent};
use streams_relay_core::relay::{Dir, StreamId, Transmit, TransmitError};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Draft, FullTrackName, Namespace, Parameters, RequestErrorCode, SubscribeNamespace,
    SubscribeTracks, TrackStatus,
};

/// Keeps what was written, by stream.
#[derive(Default)]
struct Written {
    opened: u64,
    bytes: Vec<(StreamId, Vec<u8>, bool)>,
    closed: Option<u64>,
}

impl Transmit for Written {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.opened += 1;
        Some(StreamId(1000 + self.opened))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.open_uni()
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        self.bytes.push((stream, data.to_vec(), fin));
        Ok(data.len())
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.write(stream, data, fin)
    }

    fn set_urgency(&mut self, _: StreamId, _: u8) {}

    fn reset(&mut self, _: StreamId, _: u64) {}

    fn stop(&mut self, _: StreamId, _: u64) {}

    fn close(&mut self, code: u64, _: &str) {
        self.closed = Some(code);
    }
}

impl Written {
    /// The messages on a stream, and whether it has ended.
    fn on(&self, stream: StreamId) -> (Vec<ControlMessage>, bool) {
        let mut reader = ControlReader::new(Draft::D18);
        let of_stream = || self.bytes.iter().filter(move |(of, ..)| *of == stream);
        of_stream().for_each(|(_, bytes, _)| reader.push(bytes));
        let messages = std::iter::from_fn(|| reader.next_message().unwrap()).collect();
        (messages, of_stream().any(|(.., fin)| *fin))
    }
}

#[test]
fn discovery_requests_of_a_relay_are_refused_and_the_session_goes_on() {
    let (prefix, parameters) = (Namespace::new(["live"]).unwrap(), Parameters::default());
    let track = FullTrackName::new(prefix.clone(), "video").unwrap();
    let requests = [
        ControlMessage::SubscribeNamespace(SubscribeNamespace {
            request_id: 1,
            prefix: prefix.clone(),
            parameters: parameters.clone(),
        }),
        ControlMessage::SubscribeTracks(SubscribeTracks { request_id: 3, prefix, parameters: parameters.clone() }),
        ControlMessage::TrackStatus(TrackStatus { request_id: 5, track, parameters }),
    ];
    let (mut client, mut io, now) = (Client::new(ClientConfig::default()), Written::default(), Instant::now());
    for (index, request) in requests.iter().enumerate() {
        let stream = StreamId(4 * index as u64 + 1);
        let mut bytes = Vec::new();
        assert!(request.encode(Draft::D18, &mut bytes).is_ok());
        client.stream_data(now, stream, Dir::Bidi, &bytes, false);
        client.pump(now, &mut io);
        let (answers, ended) = io.on(stream);
        let refused = matches!(answers.as_slice(), [ControlMessage::RequestError(error)] if error.code == RequestErrorCode::NotSupported);
        assert!(refused && ended, "{request:?}: {answers:?}");
        client.stream_data(now, stream, Dir::Bidi, &[], true);
        client.pump(now, &mut io);
    }
    let told: Vec<ClientEvent> = std::iter::from_fn(|| client.poll_event()).collect();
    assert_eq!((told, io.closed, client.is_closed()), (vec![], None, false));
    assert_eq!((client.requests_open(), client.streams_open()), (0, 0), "nothing of them is kept");
}
