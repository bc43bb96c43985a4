//! What one read of 64 KiB may cost is bounded by counts, whatever is in it.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, namespace, payload, track};
use streams_relay_core::client::{Join, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, StreamId, TrackConfig};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Draft, Namespace, ObjectStatus, Parameters, Properties, Publish, RequestUpdate,
    Setup, SubgroupHeader, SubgroupId, Subscribe, SubscribeNamespace, encode_object_head,
};

const READ_LEN: usize = 64 * 1024;
const PROTOCOL_VIOLATION: u64 = 0x3;

fn encoded(message: &ControlMessage) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(Draft::D18, &mut out).unwrap();
    out
}

/// A relay with a track, and a session without a machine of its own.
fn world(seed: u64) -> (Net, ClientId) {
    let mut net = Net::new(sim::seed(seed), Shards(1), RelayConfig { open: true, ..RelayConfig::default() });
    net.namespace_up(0, namespace(&["moq"]));
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let source = net.relays[0].track_open(net.now, track(namespace(&["moq"]), "t"), config);
    net.relays[0].object(net.now, source, 0, 0, payload(0, 0, 10), true);
    let peer = net.join(0, "/", Link { latency: Duration::from_secs(3_600), ..Link::default() });
    net.inject(peer, 2, &encoded(&ControlMessage::Setup(Setup::default())), false);
    net.run(Duration::from_millis(1));
    (net, peer)
}

/// As many updates of a request as fit one read.
fn updates(parameters: impl Fn(u64) -> Parameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut request_id = 2;
    while bytes.len() < READ_LEN {
        let parameters = parameters(request_id);
        bytes.extend(encoded(&ControlMessage::RequestUpdate(RequestUpdate { request_id, parameters })));
        request_id += 2;
    }
    bytes
}

fn answers(net: &Net, peer: ClientId, stream: u64) -> usize {
    let mut reader = ControlReader::new(Draft::D18);
    net.peers[peer.0].down.written_on(StreamId(stream)).iter().for_each(|data| reader.push(data));
    std::iter::from_fn(|| reader.next_message().unwrap()).count()
}

#[test]
fn a_read_of_tiny_control_messages_is_cut_at_a_number_of_them() {
    let (mut net, peer) = world(340);
    let subscribe =
        Subscribe { request_id: 0, track: track(namespace(&["moq"]), "t"), parameters: Parameters::default() };
    net.inject(peer, 0, &encoded(&ControlMessage::Subscribe(subscribe)), false);
    let bytes = updates(|_| Parameters::default());
    assert!(bytes.len() / 8 > 5_000, "thousands of messages");
    // A moderate number is no flood.
    net.inject(peer, 0, &bytes[..7 * 100], false);
    net.run(Duration::from_millis(1));
    assert!(answers(&net, peer, 0) > 50);
    assert_eq!(net.peers[peer.0].down.closed, None);
    net.inject(peer, 0, &bytes[7 * 100..], false);
    net.run(Duration::from_millis(1));
    assert_eq!(net.peers[peer.0].down.closed.as_ref().map(|(code, _)| *code), Some(PROTOCOL_VIOLATION));
    assert!(net.relays[0].counters().requests_refused < 300);
}

#[test]
fn messages_that_are_each_answered_by_many_are_cut_at_what_is_unread() {
    let (mut net, peer) = world(341);
    for n in 0..1_000 {
        net.relays[0].namespace_up(net.now, namespace(&["many", &format!("{n:0>200}")]));
    }
    let watch = |request_id, prefix: Namespace| {
        encoded(&ControlMessage::SubscribeNamespace(SubscribeNamespace {
            request_id,
            prefix,
            parameters: Parameters::default(),
        }))
    };
    net.inject(peer, 0, &watch(0, namespace(&["none"])), false);
    // Each shows 200 kB of names; 200 of them would be 40 MB of answers for one read.
    let mut bytes = Vec::new();
    for n in 1..=200u64 {
        let prefix = if n % 2 == 0 { namespace(&["none"]) } else { namespace(&["many"]) };
        let parameters = Parameters { namespace_prefix: Some(prefix), ..Parameters::default() };
        bytes.extend(encoded(&ControlMessage::RequestUpdate(RequestUpdate { request_id: n * 2, parameters })));
    }
    assert!(bytes.len() < READ_LEN);
    net.inject(peer, 0, &bytes, false);
    net.run(Duration::from_millis(1));
    assert_eq!(net.peers[peer.0].down.closed.as_ref().map(|(code, _)| *code), Some(PROTOCOL_VIOLATION));
    assert!(net.peers[peer.0].down.bytes_written < 2_000_000);
}

#[test]
fn a_read_of_tiny_objects_is_cut_at_a_number_of_them_and_costs_what_it_takes() {
    let (mut net, peer) = world(342);
    let name = track(namespace(&["own"]), "t");
    let (parameters, properties) = (Parameters::default(), Properties::default());
    let publish = Publish { request_id: 0, track: name.clone(), track_alias: 5, parameters, properties };
    net.inject(peer, 0, &encoded(&ControlMessage::Publish(publish)), false);
    let viewer = net.join(0, "/", Link::default());
    let wanted = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) };
    let request = net.client(viewer).subscribe(wanted);
    net.run(Duration::from_millis(50));
    let before = net.relays[0].counters().objects_in;
    let header = SubgroupHeader {
        track_alias: 5,
        group: 1,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: false,
        first_object: true,
    };
    let mut bytes = Vec::new();
    header.encode(Draft::D18, &mut bytes);
    while bytes.len() < READ_LEN {
        encode_object_head(Draft::D18, 0, None, 0, ObjectStatus::Normal, &mut bytes);
    }
    net.inject(peer, 6, &bytes, false);
    let taken = net.relays[0].counters().objects_in - before;
    assert_eq!(taken, 4_096);
    assert_eq!(net.relays[0].counters().streams_abandoned, 1);
    // An empty object takes far more than its three bytes, and counts as that.
    assert!(net.relays[0].cache_len() as u64 > taken * 100, "{}", net.relays[0].cache_len());
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).objects(request).len() as u64, taken);
    // The session goes on.
    let mut bytes = Vec::new();
    SubgroupHeader { group: 2, ..header }.encode(Draft::D18, &mut bytes);
    encode_object_head(Draft::D18, 0, None, 4, ObjectStatus::Normal, &mut bytes);
    bytes.extend_from_slice(b"2/0:");
    net.inject(peer, 10, &bytes, true);
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).places(request).last(), Some(&(2, 0)));
}
