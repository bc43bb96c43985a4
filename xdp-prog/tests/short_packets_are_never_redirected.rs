//! Packets cut off at every length, by `BPF_PROG_TEST_RUN`.
//!
//! The kernel runs no program over less than an Ethernet header (14 bytes), neither here nor in a driver.

mod support;

use streams_xdp_prog::SteeringMode;
use support::packet::{ICMP, Packet, QUIC_V1, QUIC_V2, TCP, VLAN, VLAN_SERVICE, arp, long, short};
use support::{Bench, End, QUIC_PORT, Random, SRT_PORT, WEBRTC_PORT, cid_of, steering};

const ETHERNET_LEN: usize = 14;
/// In place of the length of the headers up to the payload: no length makes such a frame one of ours.
const NEVER_OURS: usize = usize::MAX;
const MODES: [SteeringMode; 2] = [SteeringMode::PerQueue, SteeringMode::SameQueue];

fn payloads(bench: &Bench) -> Vec<(&'static str, Vec<u8>)> {
    let cid = cid_of(&bench.steering, 1, &mut Random(1));
    vec![
        ("short header", short(&cid)),
        ("long header", long(QUIC_V1, &cid, &[7; 8])),
        ("version 2", long(QUIC_V2, &[7; 20], &[8; 20])),
        ("unknown version", long(0x0a1a_2a3a, &[7; 255], &[8; 255])),
        ("version negotiation", long(0, &[7; 8], &[8; 16])),
    ]
}

#[test]
fn a_frame_cut_off_anywhere_is_passed_or_dropped() {
    for mode in MODES {
        let Some(bench) = Bench::new("a_frame_cut_off_anywhere_is_passed_or_dropped", steering(mode)) else { return };
        let mut frames = vec![("ARP", arp(), NEVER_OURS)];
        for (name, payload) in payloads(&bench) {
            for packet in [Packet::v4(QUIC_PORT, payload.clone()), Packet::v6(QUIC_PORT, payload)] {
                for tags in [vec![], vec![VLAN], vec![VLAN_SERVICE, VLAN]] {
                    let packet = packet.clone().with(|p| p.tags = tags);
                    let headers_len = if packet.tags.len() > 1 { NEVER_OURS } else { packet.l4_offset() + 8 };
                    frames.push((name, packet.frame(), headers_len));
                }
            }
        }
        let srt = Packet::v4(SRT_PORT, [0x80; 32]).with(|p| p.options_len = 40);
        frames.push(("SRT behind IPv4 options", srt.frame(), srt.l4_offset() + 8));
        let webrtc = Packet::v6(WEBRTC_PORT, [0x80; 32]);
        frames.push(("WebRTC", webrtc.frame(), webrtc.l4_offset() + 8));
        for protocol in [ICMP, TCP] {
            frames.push((
                "foreign protocol",
                Packet::v4(QUIC_PORT, [0; 32]).with(|p| p.protocol = protocol).frame(),
                NEVER_OURS,
            ));
        }
        let fragment = Packet::v4(QUIC_PORT, short(&[0xa0; 16])).with(|p| p.fragment = 0x2000);
        frames.push(("fragment", fragment.frame(), NEVER_OURS));
        for (name, frame, headers_len) in frames {
            for len in ETHERNET_LEN..frame.len() {
                let end = bench.run(&frame[..len]);
                // Without its UDP header a packet cannot be told to be ours. With it, its length gives it away.
                let expected = if len < headers_len { End::Pass } else { End::UdpLength };
                assert_eq!(end, expected, "{name}, {len} of {} bytes, {mode:?}", frame.len());
            }
        }
    }
}

#[test]
fn a_quic_header_cut_off_in_a_sound_datagram_is_dropped() {
    for mode in MODES {
        let test = "a_quic_header_cut_off_in_a_sound_datagram_is_dropped";
        let Some(bench) = Bench::new(test, steering(mode)) else { return };
        for (name, payload) in payloads(&bench) {
            // All of them have 40 bytes behind the header.
            let header_len = payload.len() - 40;
            for len in 0..=payload.len() {
                for new in [Packet::v4, Packet::v6] {
                    let packet = new(QUIC_PORT, payload[..len].to_vec());
                    let end = bench.run(&packet.frame());
                    if len < header_len {
                        assert_eq!(end, End::TooShort, "{name}, {len} bytes");
                    } else {
                        assert!(matches!(end, End::Redirected { .. }), "{name}, {len} bytes: {end:?}");
                    }
                    // Padding must not pass for the missing bytes.
                    let padded = packet.with(|p| p.padding_len = payload.len());
                    assert_eq!(bench.run(&padded.frame()), end, "{name}, {len} bytes, padded");
                }
            }
        }
    }
}

#[test]
fn a_wrong_udp_length_is_dropped() {
    let Some(bench) = Bench::new("a_wrong_udp_length_is_dropped", steering(SteeringMode::PerQueue)) else { return };
    let payload = short(&[0xa0; 16]);
    let udp_len = 8 + payload.len() as u16;
    for port in [QUIC_PORT, SRT_PORT, WEBRTC_PORT] {
        for new in [Packet::v4, Packet::v6] {
            let packet = || new(port, payload.clone());
            for wrong in [0, 7, udp_len + 1, u16::MAX] {
                let frame = packet().with(|p| p.udp_len = Some(wrong)).frame();
                assert_eq!(bench.run(&frame), End::UdpLength, "{wrong} on port {port}");
            }
            // Beyond the IP packet, though the frame has the bytes.
            let header_len = if packet().destination.is_ipv6() { 0 } else { 20 };
            let frame = packet().with(|p| p.ip_len = Some(header_len + udp_len - 1)).frame();
            assert_eq!(bench.run(&frame), End::UdpLength, "IP packet too short on port {port}");
        }
    }
}

#[test]
fn random_bytes_on_our_port_do_no_harm() {
    for mode in MODES {
        let Some(bench) = Bench::new("random_bytes_on_our_port_do_no_harm", steering(mode)) else { return };
        let mut random = Random(2);
        for _ in 0..5000 {
            let len = (random.next() % 64) as usize;
            let payload: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            // The harness checks that each ends in one way, counted once, with the frame unchanged.
            bench.run(&Packet::v4(QUIC_PORT, payload).frame());
            let mut frame = Packet::v6(QUIC_PORT, short(&[0xa0; 16])).frame();
            for _ in 0..4 {
                let at = (random.next() % frame.len() as u64) as usize;
                frame[at] = random.next() as u8;
            }
            bench.run(&frame);
        }
    }
}
