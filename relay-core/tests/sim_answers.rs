//! Requests that fail are answered message by message as the draft says.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, namespace, payload, track};
use streams_relay_core::relay::{StreamId, TrackConfig};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Draft, Fetch, FetchRange, FullTrackName, Location, Parameters, PublishDone,
    PublishDoneCode, RequestError, RequestErrorCode, RequestUpdate, Setup, Subscribe, SubscriptionFilter,
};

fn name() -> FullTrackName {
    track(namespace(&["moq", "test"]), "track")
}

#[test]
fn an_update_that_fails_ends_the_subscription() {
    let mut net = Net::open(sim::seed(23));
    net.namespace_up(0, name().namespace);
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let source = net.relays[0].track_open(net.now, name(), config);
    net.relays[0].object(net.now, source, 9, 0, payload(9, 0, 10), true);
    // Nothing that the relay says arrives within this test: the peer is what is injected here.
    let peer = net.join(0, "/", Link { latency: Duration::from_secs(3_600), ..Link::default() });
    let filter = |filter| Parameters { filter: Some(filter), ..Parameters::default() };
    let range = SubscriptionFilter::AbsoluteRange { start: Location::new(1, 0), end_group: 3 };
    let subscribe = Subscribe { request_id: 0, track: name(), parameters: filter(SubscriptionFilter::LargestObject) };
    let messages = [
        (2, ControlMessage::Setup(Setup::default())),
        (0, ControlMessage::Subscribe(subscribe)),
        (0, ControlMessage::RequestUpdate(RequestUpdate { request_id: 2, parameters: filter(range) })),
    ];
    for (stream, message) in messages {
        let mut bytes = Vec::new();
        message.encode(Draft::D18, &mut bytes).unwrap();
        net.inject(peer, stream, &bytes, false);
    }
    net.run(Duration::from_millis(50));
    let answers = answers(&net, peer, 0);
    assert!(
        matches!(
            &answers[..],
            [
                ControlMessage::SubscribeOk(_),
                ControlMessage::RequestError(RequestError { code: RequestErrorCode::InvalidRange, .. }),
                ControlMessage::PublishDone(PublishDone { code: PublishDoneCode::UpdateFailed, .. }),
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(net.relays[0].subscriptions_open(), 0);
}

/// What the relay wrote on a request stream of the peer.
fn answers(net: &Net, peer: ClientId, stream: u64) -> Vec<ControlMessage> {
    let mut reader = ControlReader::new(Draft::D18);
    net.peers[peer.0].down.written_on(StreamId(stream)).iter().for_each(|data| reader.push(data));
    std::iter::from_fn(|| reader.next_message().unwrap()).collect()
}

/// REQUEST_ERROR codes that the relay wrote on a request stream of the peer.
fn refusals(net: &Net, peer: ClientId, stream: u64) -> Vec<RequestErrorCode> {
    let codes = answers(net, peer, stream).into_iter().filter_map(|message| match message {
        ControlMessage::RequestError(error) => Some(error.code),
        _ => None,
    });
    codes.collect()
}

#[test]
fn a_joining_fetch_times_out_with_its_subscription() {
    let mut net = Net::open(sim::seed(21));
    // Nothing that the relay says arrives within this test: the peer is what is injected here.
    let peer = net.join(0, "/", Link { latency: Duration::from_secs(3_600), ..Link::default() });
    let parameters = Parameters { rendezvous_timeout_ms: Some(8_000), ..Parameters::default() };
    let range = |joining_request_id| FetchRange::RelativeJoining { joining_request_id, groups_back: 0 };
    let fetch = |request_id, joined| {
        ControlMessage::Fetch(Fetch { request_id, range: range(joined), parameters: Parameters::default() })
    };
    let subscribe = Subscribe { request_id: 0, track: name(), parameters };
    let messages = [
        (2, ControlMessage::Setup(Setup::default())),
        (0, ControlMessage::Subscribe(subscribe)),
        (4, fetch(2, 0)),
        // Its SUBSCRIBE never comes.
        (8, fetch(4, 100)),
    ];
    for (stream, message) in messages {
        let mut bytes = Vec::new();
        message.encode(Draft::D18, &mut bytes).unwrap();
        net.inject(peer, stream, &bytes, false);
    }
    net.run(Duration::from_secs(7));
    assert_eq!(refusals(&net, peer, 4), []);
    assert_eq!(refusals(&net, peer, 8), [RequestErrorCode::InvalidJoiningRequestId]);
    net.run(Duration::from_secs(2));
    assert_eq!(refusals(&net, peer, 0), [RequestErrorCode::Timeout]);
    assert_eq!(refusals(&net, peer, 4), [RequestErrorCode::Timeout]);
}
