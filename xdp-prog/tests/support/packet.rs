//! Frames for the tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const VLAN: u16 = 0x8100;
pub const VLAN_SERVICE: u16 = 0x88a8;
pub const UDP: u8 = 17;
pub const TCP: u8 = 6;
pub const ICMP: u8 = 1;
pub const QUIC_V1: u32 = 1;
pub const QUIC_V2: u32 = 0x6b33_43cf;

/// One frame, described by what makes it special.
#[derive(Debug, Clone)]
pub struct Packet {
    pub tags: Vec<u16>,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// IPv4 options in bytes, a multiple of four up to 40.
    pub options_len: usize,
    /// The IPv4 field of flags and offset.
    pub fragment: u16,
    /// IPv4 protocol or IPv6 next header.
    pub protocol: u8,
    /// Another UDP length than the right one.
    pub udp_len: Option<u16>,
    /// Another IPv4 total length or IPv6 payload length than the right one.
    pub ip_len: Option<u16>,
    /// Zero bytes after the IP packet, as on short Ethernet frames.
    pub padding_len: usize,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn v4(port: u16, payload: impl Into<Vec<u8>>) -> Self {
        let source = (Ipv4Addr::new(198, 51, 100, 7), 50000).into();
        let destination = (Ipv4Addr::new(192, 0, 2, 1), port).into();
        Self {
            tags: Vec::new(),
            source,
            destination,
            options_len: 0,
            fragment: 0x4000,
            protocol: UDP,
            udp_len: None,
            ip_len: None,
            padding_len: 0,
            payload: payload.into(),
        }
    }

    pub fn v6(port: u16, payload: impl Into<Vec<u8>>) -> Self {
        let source = (Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6), 50000).into();
        let destination = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), port).into();
        Self { source, destination, ..Self::v4(port, payload) }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// From the frame's first byte to the UDP header.
    pub fn l4_offset(&self) -> usize {
        let ip = if self.destination.is_ipv6() { 40 } else { 20 + self.options_len };
        14 + 4 * self.tags.len() + ip
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (number, tag) in (100u16..).zip(&self.tags) {
            frame.extend(tag.to_be_bytes());
            frame.extend(number.to_be_bytes());
        }
        let udp_len = 8 + self.payload.len() as u16;
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0]);
                frame.extend(self.ipv4(source, destination, udp_len));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(self.ip_len.unwrap_or(udp_len).to_be_bytes());
                frame.extend([self.protocol, 64]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            mixed => panic!("two families: {mixed:?}"),
        }
        frame.extend(self.source.port().to_be_bytes());
        frame.extend(self.destination.port().to_be_bytes());
        frame.extend(self.udp_len.unwrap_or(udp_len).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(&self.payload);
        frame.resize(frame.len() + self.padding_len, 0);
        frame
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, udp_len: u16) -> Vec<u8> {
        let header_len = 20 + self.options_len;
        let mut header = vec![0x40 | (header_len / 4) as u8, 0];
        header.extend(self.ip_len.unwrap_or(header_len as u16 + udp_len).to_be_bytes());
        header.extend([0, 1]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([64, self.protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        // Option 1 is "no operation".
        header.resize(header_len, 1);
        let mut sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        header[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
        header
    }
}

/// A QUIC packet with a short header and 40 bytes behind the connection id.
pub fn short(cid: &[u8; 16]) -> Vec<u8> {
    [&[0x5a][..], cid, &[0xee; 40]].concat()
}

/// A QUIC packet with a long header; the fixed bit is set.
pub fn long(version: u32, destination_id: &[u8], source_id: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc3];
    packet.extend(version.to_be_bytes());
    packet.push(destination_id.len() as u8);
    packet.extend(destination_id);
    packet.push(source_id.len() as u8);
    packet.extend(source_id);
    packet.extend([0xee; 40]);
    packet
}

/// An ARP request.
pub fn arp() -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 6];
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([2, 0, 0, 0, 0, 2, 198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1]);
    frame
}
