//! Every branch of the XDP program, by `BPF_PROG_TEST_RUN` with real frames.

mod support;

use std::os::fd::AsFd;

use streams_xdp_prog::{Metadata, PortClass, SteeringMode};
use support::packet::{ICMP, Packet, QUIC_V1, QUIC_V2, TCP, VLAN, VLAN_SERVICE, arp, long, short};
use support::{Bench, End, QUIC_PORT, Random, SRT_PORT, WEBRTC_PORT, cid_of, steering, unbound_xsk};

const MODES: [SteeringMode; 2] = [SteeringMode::PerQueue, SteeringMode::SameQueue];

fn metadata(packet: &Packet) -> Metadata {
    Metadata {
        owner: None,
        class: PortClass::Quic,
        long_header: false,
        ipv6: packet.destination.is_ipv6(),
        vlan: !packet.tags.is_empty(),
        l4_offset: packet.l4_offset() as u16,
        payload_len: packet.payload.len() as u16,
    }
}

/// The index and metadata of a redirected frame.
fn redirected(bench: &Bench, packet: &Packet) -> (usize, Metadata) {
    match bench.run(&packet.frame()) {
        End::Redirected { index, metadata, .. } => (index, metadata),
        other => panic!("{other:?} of {packet:?}"),
    }
}

#[test]
fn a_short_header_stays_on_its_queue_or_goes_to_the_shard_it_names() {
    for mode in MODES {
        let Some(bench) = Bench::new("a_short_header_stays_on_its_queue_or_goes_to_the_shard_it_names", steering(mode))
        else {
            return;
        };
        let mut random = Random(1);
        for shard in 0..4u8 {
            let payload = short(&cid_of(&bench.steering, shard, &mut random));
            for packet in [Packet::v4(QUIC_PORT, payload.clone()), Packet::v6(QUIC_PORT, payload)] {
                let index = if mode == SteeringMode::SameQueue { usize::from(shard) } else { 0 };
                let expected = End::Redirected {
                    index,
                    metadata: Metadata { owner: Some(shard), ..metadata(&packet) },
                    wrong_shard: index != usize::from(shard),
                };
                assert_eq!(bench.run(&packet.frame()), expected, "{mode:?}");
            }
        }
    }
}

#[test]
fn a_short_header_without_an_owner_goes_by_its_flow() {
    let Some(bench) = Bench::new("a_short_header_without_an_owner_goes_by_its_flow", steering(SteeringMode::SameQueue))
    else {
        return;
    };
    let mut random = Random(2);
    let mut other_epoch = cid_of(&bench.steering, 1, &mut random);
    other_epoch[0] ^= 0x20;
    let no_such_shard = cid_of(&bench.steering, 4, &mut random);
    let last_shard = cid_of(&bench.steering, 255, &mut random);
    for cid in [other_epoch, no_such_shard, last_shard] {
        for port in 50000..50032 {
            let packet = Packet::v4(QUIC_PORT, short(&cid)).with(|p| p.source.set_port(port));
            let flow = usize::from(bench.steering.flow_shard(packet.source, packet.destination));
            assert_eq!(redirected(&bench, &packet), (flow, metadata(&packet)));
        }
    }
}

#[test]
fn a_long_header_goes_by_its_flow_whatever_id_it_carries() {
    let Some(bench) =
        Bench::new("a_long_header_goes_by_its_flow_whatever_id_it_carries", steering(SteeringMode::SameQueue))
    else {
        return;
    };
    let mut random = Random(3);
    for port in 50000..50064 {
        let owner = (port % 4) as u8;
        let ours = cid_of(&bench.steering, owner, &mut random);
        let chosen: [u8; 8] = random.bytes();
        for (id, owner) in [(&chosen[..], None), (&ours[..], Some(owner))] {
            let packet = Packet::v6(QUIC_PORT, long(QUIC_V1, id, &chosen)).with(|p| p.source.set_port(port));
            let flow = usize::from(bench.steering.flow_shard(packet.source, packet.destination));
            let expected = Metadata { owner, long_header: true, ..metadata(&packet) };
            assert_eq!(redirected(&bench, &packet), (flow, expected));
        }
    }
}

#[test]
fn program_and_engine_read_the_same_owner_and_flow_from_random_packets() {
    let test = "program_and_engine_read_the_same_owner_and_flow_from_random_packets";
    let mut random = Random(4);
    for shards in [1, 3, 16, 255] {
        let mut steering = steering(SteeringMode::SameQueue);
        steering.shards = shards;
        steering.cid_epoch = random.next() as u8 & 7;
        steering.cid_mask_key = random.bytes();
        let Some(bench) = Bench::new(test, steering) else { return };
        for _ in 0..1000 {
            let mut cid: [u8; 16] = random.bytes();
            if !random.next().is_multiple_of(4) {
                cid[0] = (cid[0] & 0x1f) | (bench.steering.cid_epoch << 5);
            }
            let v6 = random.next() & 1 == 1;
            let new = if v6 { Packet::v6 } else { Packet::v4 };
            let packet = new(QUIC_PORT, short(&cid)).with(|p| {
                let [a, b, c, d]: [u8; 4] = random.bytes();
                match &mut p.source {
                    std::net::SocketAddr::V4(source) => source.set_ip([a, b, c, d].into()),
                    std::net::SocketAddr::V6(source) => source.set_ip(random.bytes::<16>().into()),
                }
                p.source.set_port(random.next() as u16);
            });
            let owner = bench.steering.owner(&cid);
            let index = owner.unwrap_or_else(|| bench.steering.flow_shard(packet.source, packet.destination));
            let expected = (usize::from(index), Metadata { owner, ..metadata(&packet) });
            assert_eq!(redirected(&bench, &packet), expected, "{shards} shards, {packet:?}");
        }
    }
}

#[test]
fn every_version_of_quic_gets_through() {
    for mode in MODES {
        let Some(bench) = Bench::new("every_version_of_quic_gets_through", steering(mode)) else { return };
        let ids = [&[][..], &[7; 1], &[7; 8], &[7; 20]];
        for version in [QUIC_V1, QUIC_V2, 0, 0x0a1a_2a3a, 0xff00_001d] {
            for destination_id in ids {
                for source_id in ids {
                    let packet = Packet::v4(QUIC_PORT, long(version, destination_id, source_id));
                    let expected = Metadata { long_header: true, ..metadata(&packet) };
                    assert_eq!(redirected(&bench, &packet).1, expected);
                }
            }
        }
    }
}

#[test]
fn ids_of_more_than_20_bytes_are_refused_only_in_known_versions() {
    let test = "ids_of_more_than_20_bytes_are_refused_only_in_known_versions";
    let Some(bench) = Bench::new(test, steering(SteeringMode::PerQueue)) else { return };
    for len in [21, 255] {
        let id = vec![7; len];
        for (destination_id, source_id) in [(&id[..], &[][..]), (&[], &id)] {
            for version in [QUIC_V1, QUIC_V2] {
                let frame = Packet::v4(QUIC_PORT, long(version, destination_id, source_id)).frame();
                assert_eq!(bench.run(&frame), End::CidLength, "{len} bytes in version {version:#x}");
            }
            // The endpoint has to answer these with Version Negotiation, ids and all.
            for version in [0, 0x0a1a_2a3a] {
                let packet = Packet::v4(QUIC_PORT, long(version, destination_id, source_id));
                assert!(redirected(&bench, &packet).1.long_header);
            }
        }
    }
}

#[test]
fn a_cleared_fixed_bit_is_refused_only_in_known_versions() {
    let test = "a_cleared_fixed_bit_is_refused_only_in_known_versions";
    let Some(bench) = Bench::new(test, steering(SteeringMode::PerQueue)) else { return };
    let without = |mut payload: Vec<u8>| {
        payload[0] &= !0x40;
        Packet::v4(QUIC_PORT, payload)
    };
    let cid = cid_of(&bench.steering, 1, &mut Random(5));
    assert_eq!(bench.run(&without(short(&cid)).frame()), End::FixedBit);
    for version in [QUIC_V1, QUIC_V2] {
        assert_eq!(bench.run(&without(long(version, &cid, &[])).frame()), End::FixedBit);
    }
    for version in [0, 0x0a1a_2a3a] {
        redirected(&bench, &without(long(version, &cid, &[])));
    }
}

#[test]
fn srt_and_webrtc_go_to_their_flow_unread() {
    for mode in MODES {
        let Some(bench) = Bench::new("srt_and_webrtc_go_to_their_flow_unread", steering(mode)) else { return };
        for (port, class) in [(SRT_PORT, PortClass::Srt), (WEBRTC_PORT, PortClass::WebRtc)] {
            for payload in [&[][..], &[0], &[0; 16], &[0x80; 1300]] {
                for packet in [Packet::v4(port, payload), Packet::v6(port, payload)] {
                    let flow = bench.steering.flow_shard(packet.source, packet.destination);
                    let index = if mode == SteeringMode::SameQueue { usize::from(flow) } else { 0 };
                    let expected = Metadata { class, ..metadata(&packet) };
                    assert_eq!(redirected(&bench, &packet), (index, expected));
                }
            }
        }
    }
}

#[test]
fn foreign_traffic_is_left_to_the_kernel() {
    let Some(bench) = Bench::new("foreign_traffic_is_left_to_the_kernel", steering(SteeringMode::PerQueue)) else {
        return;
    };
    let cid = cid_of(&bench.steering, 0, &mut Random(6));
    let v4 = || Packet::v4(QUIC_PORT, short(&cid));
    let v6 = || Packet::v6(QUIC_PORT, short(&cid));
    let mut foreign: Vec<(&str, Vec<u8>)> = vec![
        ("ARP", arp()),
        ("ICMP", v4().with(|p| p.protocol = ICMP).frame()),
        ("TCP", v4().with(|p| p.protocol = TCP).frame()),
        ("ICMPv6", v6().with(|p| p.protocol = 58).frame()),
        ("TCP over IPv6", v6().with(|p| p.protocol = TCP).frame()),
        ("first fragment", v4().with(|p| p.fragment = 0x2000).frame()),
        ("later fragment", v4().with(|p| p.fragment = 0x2000 | 185).frame()),
        ("last fragment", v4().with(|p| p.fragment = 185).frame()),
        ("two tags", v4().with(|p| p.tags = vec![VLAN_SERVICE, VLAN]).frame()),
        ("foreign port", v4().with(|p| p.destination.set_port(443)).frame()),
        ("our port as the source", v4().with(|p| (p.source, p.destination) = (p.destination, p.source)).frame()),
        ("foreign port over IPv6", v6().with(|p| p.destination.set_port(443)).frame()),
    ];
    // Hop-by-hop, routing, fragment, destination options, authentication, none.
    for header in [0, 43, 44, 60, 51, 59] {
        foreign.push(("extension header", v6().with(|p| p.protocol = header).frame()));
    }
    let mut version = v4().frame();
    version[14] = 0x55;
    foreign.push(("IPv4 frame with another version", version));
    let mut version = v6().frame();
    version[14] = 0x45;
    foreign.push(("IPv6 frame with another version", version));
    let mut header_len = v4().frame();
    header_len[14] = 0x44;
    foreign.push(("IPv4 header of 16 bytes", header_len));
    foreign.push(("IPv4 length below its header's", v4().with(|p| p.ip_len = Some(19)).frame()));
    for (name, frame) in foreign {
        assert_eq!(bench.run(&frame), End::Pass, "{name}");
    }
}

#[test]
fn one_tag_and_ip_options_are_ours() {
    let Some(bench) = Bench::new("one_tag_and_ip_options_are_ours", steering(SteeringMode::SameQueue)) else { return };
    let cid = cid_of(&bench.steering, 3, &mut Random(7));
    for tags in [vec![], vec![VLAN], vec![VLAN_SERVICE]] {
        let v6 = Packet::v6(QUIC_PORT, short(&cid)).with(|p| p.tags.clone_from(&tags));
        assert_eq!(redirected(&bench, &v6), (3, Metadata { owner: Some(3), ..metadata(&v6) }));
        for options_len in (0..=40).step_by(4) {
            let packet = Packet::v4(QUIC_PORT, short(&cid)).with(|p| {
                p.tags.clone_from(&tags);
                p.options_len = options_len;
            });
            assert_eq!(redirected(&bench, &packet), (3, Metadata { owner: Some(3), ..metadata(&packet) }));
        }
    }
}

#[test]
fn only_the_configured_addresses_are_ours() {
    let mut steering = steering(SteeringMode::PerQueue);
    let (v4, v6) = (Packet::v4(QUIC_PORT, short(&[0xa0; 16])), Packet::v6(QUIC_PORT, short(&[0xa0; 16])));
    steering.addresses = vec![v4.destination.ip()];
    let Some(bench) = Bench::new("only_the_configured_addresses_are_ours", steering.clone()) else { return };
    redirected(&bench, &v4);
    assert_eq!(bench.run(&v6.frame()), End::Pass);
    steering.addresses = vec![v6.destination.ip()];
    let Some(bench) = Bench::new("only_the_configured_addresses_are_ours", steering) else { return };
    redirected(&bench, &v6);
    assert_eq!(bench.run(&v4.frame()), End::Pass);
}

#[test]
fn without_a_socket_the_kernel_gets_the_packet() {
    for mode in MODES {
        let Some(mut bench) = Bench::new("without_a_socket_the_kernel_gets_the_packet", steering(mode)) else { return };
        let packet = Packet::v4(QUIC_PORT, short(&cid_of(&bench.steering, 0, &mut Random(8))));
        assert_eq!(redirected(&bench, &packet).0, 0);
        bench.close(0);
        assert_eq!(bench.run(&packet.frame()), End::NoSocket, "{mode:?}");
        bench.program.set_socket(0, unbound_xsk().as_fd()).expect("an XSK with a ring");
        assert_eq!(bench.run(&packet.frame()), End::NoSocket, "its socket was closed at once");
    }
}

#[test]
fn what_others_put_before_a_frame_moves_with_it() {
    let test = "what_others_put_before_a_frame_moves_with_it";
    let Some(bench) = Bench::new(test, steering(SteeringMode::SameQueue)) else { return };
    let packet = Packet::v4(QUIC_PORT, short(&cid_of(&bench.steering, 2, &mut Random(9))));
    let metadata = Metadata { owner: Some(2), ..metadata(&packet) };
    let expected = End::Redirected { index: 2, metadata, wrong_shard: false };
    for foreign_len in [4, 32] {
        assert_eq!(
            bench.run_with_foreign_metadata(&vec![0x11; foreign_len], &packet.frame()),
            expected,
            "{foreign_len}"
        );
    }
}

#[test]
fn without_room_for_metadata_the_kernel_gets_the_packet_and_it_is_counted() {
    let test = "without_room_for_metadata_the_kernel_gets_the_packet_and_it_is_counted";
    let Some(bench) = Bench::new(test, steering(SteeringMode::SameQueue)) else { return };
    let frame = Packet::v4(QUIC_PORT, short(&cid_of(&bench.steering, 2, &mut Random(9)))).frame();
    // Another layer's metadata takes all the room there is.
    assert_eq!(bench.run_with_foreign_metadata(&[0x11; 216], &frame), End::NoMetadata);
}

#[test]
fn padding_is_not_payload() {
    let Some(bench) = Bench::new("padding_is_not_payload", steering(SteeringMode::PerQueue)) else { return };
    let packet = Packet::v4(SRT_PORT, [1, 2, 3]).with(|p| p.padding_len = 15);
    assert_eq!(redirected(&bench, &packet).1.payload_len, 3);
    let quic = Packet::v4(QUIC_PORT, [0x40; 16]).with(|p| p.padding_len = 40);
    assert_eq!(bench.run(&quic.frame()), End::TooShort);
}
