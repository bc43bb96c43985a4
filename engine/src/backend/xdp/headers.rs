//! Ethernet, IP and UDP headers: read from received frames, written in front of packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most bytes in front of a UDP payload that are written here: Ethernet with one VLAN tag, IPv6, UDP.
pub(super) const HEADERS_LEN_MAX: usize = LINK_LEN_MAX + IPV6_LEN + UDP_LEN;
const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const LINK_LEN_MAX: usize = ETHERNET_LEN + VLAN_LEN;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
const PROTOCOL_UDP: u8 = 17;
/// As Linux sends.
const HOP_LIMIT: u8 = 64;

/// How a peer is reached: the link header of a frame to it, and the address it knows us by.
///
/// Both are learned from what it sent. A frame comes from the router (or neighbour) that a reply has to go to, so no routing or
/// neighbour table is asked; somebody who forges source addresses from behind a router shows that same router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    link: [u8; LINK_LEN_MAX],
    link_len: u8,
    pub(super) local: SocketAddr,
}

/// A UDP datagram in a received frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub(super) from: SocketAddr,
    pub(super) route: Route,
    pub(super) payload: &'a [u8],
}

/// Takes a frame apart. `None`: no whole UDP datagram over IPv4 or IPv6 without extension headers, which the packet program
/// should not have redirected.
pub(super) fn parse(frame: &[u8]) -> Option<Received<'_>> {
    let mut link_len = ETHERNET_LEN;
    let mut ethertype = be16(frame, 12)?;
    if ETHERTYPES_VLAN.contains(&ethertype) {
        link_len += VLAN_LEN;
        ethertype = be16(frame, 16)?;
    }
    let packet = frame.get(link_len..)?;
    let (from_ip, to_ip, datagram) = match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(packet)?,
        ETHERTYPE_IPV6 => parse_ipv6(packet)?,
        _ => return None,
    };
    let (from_port, to_port, len) = (be16(datagram, 0)?, be16(datagram, 2)?, be16(datagram, 4)?);
    let payload = datagram.get(UDP_LEN..usize::from(len))?;
    let mut link = [0; LINK_LEN_MAX];
    // Back to where it came from: the addresses change places, tag and type stay.
    link.get_mut(..6)?.copy_from_slice(frame.get(6..12)?);
    link.get_mut(6..12)?.copy_from_slice(frame.get(..6)?);
    link.get_mut(12..link_len)?.copy_from_slice(frame.get(12..link_len)?);
    let route = Route { link, link_len: link_len as u8, local: SocketAddr::new(to_ip, to_port) };
    Some(Received { from: SocketAddr::new(from_ip, from_port), route, payload })
}

fn parse_ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let first = *packet.first()?;
    let header_len = usize::from(first & 0x0f) * 4;
    let total_len = usize::from(be16(packet, 2)?);
    // RFC 791: flag "more fragments" and the offset; a part of a datagram is the kernel's to put together.
    let fragment = be16(packet, 6)? & 0x3fff;
    if first >> 4 != 4 || header_len < IPV4_LEN || fragment != 0 || *packet.get(9)? != PROTOCOL_UDP {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
    Some((address(12)?, address(16)?, packet.get(header_len..total_len)?))
}

fn parse_ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let payload_len = usize::from(be16(packet, 4)?);
    if *packet.first()? >> 4 != 6 || *packet.get(6)? != PROTOCOL_UDP {
        return None;
    }
    let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
    Some((address(8)?, address(24)?, packet.get(IPV6_LEN..IPV6_LEN + payload_len)?))
}

/// Bytes of headers in front of a payload on this route.
pub(super) fn headers_len(route: &Route) -> usize {
    let ip_len = if route.local.is_ipv4() { IPV4_LEN } else { IPV6_LEN };
    usize::from(route.link_len) + ip_len + UDP_LEN
}

/// Writes the headers of a packet to `to` in front of a payload that begins at `payload_at` of `bytes`, and moves it when it
/// does not begin where they end: at [`headers_len`], where it is from then on. Gives the packet's length. `None`: `bytes` is
/// too short, or see [`write`].
pub(super) fn put_in_front(
    bytes: &mut [u8],
    payload_at: usize,
    payload_len: usize,
    route: &Route,
    to: SocketAddr,
) -> Option<usize> {
    let head_len = headers_len(route);
    let payload = payload_at..payload_at.checked_add(payload_len)?;
    let len = head_len.checked_add(payload_len)?;
    if payload.end.max(len) > bytes.len() {
        return None;
    }
    if head_len != payload_at {
        bytes.copy_within(payload, head_len);
    }
    write(bytes.get_mut(..len)?, route, to).then_some(len)
}

/// Writes the headers of a packet to `to` into the front of `packet`, whose payload begins after [`headers_len`] bytes. False
/// when addresses of two families are mixed or the payload is too long for IP.
fn write(packet: &mut [u8], route: &Route, to: SocketAddr) -> bool {
    let link_len = usize::from(route.link_len);
    let (Some(link), Some(head)) = (route.link.get(..link_len), packet.get_mut(..link_len)) else { return false };
    head.copy_from_slice(link);
    let Some(packet) = packet.get_mut(link_len..) else { return false };
    match (route.local.ip(), to.ip()) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => write_ipv4(packet, local, remote, route.local.port(), to.port()),
        (IpAddr::V6(local), IpAddr::V6(remote)) => write_ipv6(packet, local, remote, route.local.port(), to.port()),
        _ => None,
    }
    .is_some()
}

fn write_ipv4(packet: &mut [u8], local: Ipv4Addr, remote: Ipv4Addr, from_port: u16, to_port: u16) -> Option<()> {
    let total_len = u16::try_from(packet.len()).ok()?;
    let (header, datagram) = packet.split_first_chunk_mut::<IPV4_LEN>()?;
    // Version 4, 5 words; no DSCP; "don't fragment" (RFC 9000 §14 asks for it), so that the identification may be 0.
    *header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, HOP_LIMIT, PROTOCOL_UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&total_len.to_be_bytes());
    header[12..16].copy_from_slice(&local.octets());
    header[16..20].copy_from_slice(&remote.octets());
    let checksum = !fold(sum(header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    // A UDP checksum of 0 means none (RFC 768); QUIC authenticates all of the payload.
    write_udp(datagram, from_port, to_port)
}

fn write_ipv6(packet: &mut [u8], local: Ipv6Addr, remote: Ipv6Addr, from_port: u16, to_port: u16) -> Option<()> {
    let (header, datagram) = packet.split_first_chunk_mut::<IPV6_LEN>()?;
    let len = u16::try_from(datagram.len()).ok()?;
    *header = [0; IPV6_LEN];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&len.to_be_bytes());
    (header[6], header[7]) = (PROTOCOL_UDP, HOP_LIMIT);
    header[8..24].copy_from_slice(&local.octets());
    header[24..40].copy_from_slice(&remote.octets());
    write_udp(datagram, from_port, to_port)?;
    // RFC 8200 §8.1: mandatory over IPv6, over a pseudo header of addresses, length and protocol.
    let pseudo = sum(&header[8..40]) + u64::from(len) + u64::from(PROTOCOL_UDP);
    let checksum = match !fold(pseudo + sum(datagram)) {
        0 => 0xffff,
        checksum => checksum,
    };
    datagram.get_mut(6..8)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

fn write_udp(datagram: &mut [u8], from_port: u16, to_port: u16) -> Option<()> {
    let len = u16::try_from(datagram.len()).ok()?;
    let header = datagram.first_chunk_mut::<UDP_LEN>()?;
    header[..2].copy_from_slice(&from_port.to_be_bytes());
    header[2..4].copy_from_slice(&to_port.to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    header[6..8].fill(0);
    Some(())
}

/// RFC 1071, before folding: the sum of all 16-bit words, big endian. Eight bytes a step; sums of 32-bit halves of at most
/// 64 KiB cannot overflow 64 bits.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    let mut total: u64 = words.map(|word| u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_be_bytes(last));
    total
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(local: &str, tagged: bool) -> Route {
        let local: SocketAddr = local.parse().unwrap();
        let mut link = [0; LINK_LEN_MAX];
        link[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        link[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        let ethertype = if local.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let at = if tagged {
            link[12..16].copy_from_slice(&[0x81, 0, 0, 7]);
            16
        } else {
            12
        };
        link[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
        Route { link, link_len: (at + 2) as u8, local }
    }

    fn packet(route: &Route, to: &str, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xee; headers_len(route)];
        packet.extend_from_slice(payload);
        assert!(write(&mut packet, route, to.parse().unwrap()));
        packet
    }

    #[test]
    fn what_is_written_is_read_again_and_its_reply_goes_back() {
        for (local, remote) in [("192.0.2.1:4433", "198.51.100.7:50000"), ("[2001:db8::1]:4433", "[2001:db8::7]:50000")]
        {
            for tagged in [false, true] {
                let there = route(local, tagged);
                let frame = packet(&there, remote, b"payload");
                let received = parse(&frame).unwrap();
                assert_eq!((received.from, received.payload), (local.parse().unwrap(), &b"payload"[..]));
                assert_eq!(received.route.local, remote.parse().unwrap());
                let answer = packet(&received.route, local, b"answer!");
                let back = parse(&answer).unwrap();
                assert_eq!((back.from, back.route), (remote.parse().unwrap(), there));
            }
        }
    }

    #[test]
    fn a_payload_is_moved_behind_headers_of_another_length_than_was_guessed() {
        let payload: Vec<u8> = (0..200).collect();
        for (local, to) in [("192.0.2.1:4433", "198.51.100.7:5"), ("[2001:db8::1]:4433", "[2001:db8::7]:5")] {
            for (tagged, payload_at) in [(false, 42), (false, 62), (true, 42), (true, 46), (true, HEADERS_LEN_MAX)] {
                let (route, mut bytes) = (route(local, tagged), vec![0xee; 300]);
                bytes[payload_at..payload_at + payload.len()].copy_from_slice(&payload);
                let len = put_in_front(&mut bytes, payload_at, payload.len(), &route, to.parse().unwrap()).unwrap();
                assert_eq!(len, headers_len(&route) + payload.len());
                assert_eq!(parse(&bytes[..len]).unwrap().payload, payload);
                // Offered again, for instance because the ring was full: it is where it belongs now.
                let again = put_in_front(&mut bytes, headers_len(&route), payload.len(), &route, to.parse().unwrap());
                assert_eq!((again, parse(&bytes[..len]).unwrap().payload), (Some(len), &payload[..]));
                let too_short =
                    put_in_front(&mut bytes[..len - 1], payload_at, payload.len(), &route, to.parse().unwrap());
                assert_eq!(too_short, None);
            }
        }
    }

    #[test]
    fn padding_behind_the_packet_is_no_payload() {
        let mut frame = packet(&route("192.0.2.1:1", false), "192.0.2.2:2", b"x");
        frame.resize(60, 0);
        assert_eq!(parse(&frame).map(|received| received.payload), Some(&b"x"[..]));
    }

    #[test]
    fn checksums_are_right() {
        let frame = packet(&route("192.0.2.1:4433", false), "198.51.100.7:50000", b"odd");
        assert_eq!(fold(sum(&frame[14..34])), 0xffff, "a header with its checksum sums to all ones");
        let frame = packet(&route("[2001:db8::1]:4433", false), "[2001:db8::7]:50000", b"odd");
        let len = u64::from(be16(&frame, 18).unwrap());
        assert_eq!(fold(sum(&frame[22..54]) + len + 17 + sum(&frame[54..])), 0xffff);
    }

    #[test]
    fn nothing_is_read_from_a_frame_cut_anywhere() {
        for local in ["192.0.2.1:4433", "[2001:db8::1]:4433"] {
            let to = if local.starts_with('[') { "[2001:db8::7]:5" } else { "192.0.2.7:5" };
            let frame = packet(&route(local, true), to, &[7; 32]);
            for len in 0..frame.len() {
                assert_eq!(parse(&frame[..len]), None, "{len} of {}", frame.len());
            }
        }
    }

    #[test]
    fn fragments_and_other_protocols_are_refused() {
        let whole = packet(&route("192.0.2.1:4433", false), "192.0.2.2:5", b"x");
        for (at, value) in [(12, 0x09), (14, 0x65), (14, 0x44), (20, 0x20), (21, 0x01), (23, 6)] {
            let mut frame = whole.clone();
            frame[at] = value;
            assert_eq!(parse(&frame), None, "byte {at} = {value:#x}");
        }
        assert!(!write(&mut [0; 100], &route("192.0.2.1:1", false), "[::1]:2".parse().unwrap()), "mixed families");
    }
}
