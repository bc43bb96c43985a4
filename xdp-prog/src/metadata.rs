//! The eight bytes that the XDP program puts in front of a packet.

use crate::steering::PortClass;

const MAGIC: u8 = 0xA7;
const OWNER_NONE: u8 = 255;
const LONG_HEADER: u8 = 1;
const IPV6: u8 = 2;
const VLAN: u8 = 4;

/// What the program found out about a packet.
///
/// ```text
/// byte 0      1      2      3      4 5        6 7          8
///      owner  class  flags  magic  l4_offset  payload_len  first byte of the frame
/// ```
///
/// They are the first bytes of what an AF_XDP socket gets, and every frame that is redirected has them. Where a driver leaves no
/// room for them the kernel's stack gets the frame ([`Counters::no_metadata`](crate::Counters::no_metadata)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Shard named by a QUIC connection id of ours; unproven, see [`Steering::owner`](crate::Steering::owner).
    pub owner: Option<u8>,
    /// Class of the destination port.
    pub class: PortClass,
    /// A QUIC long header.
    pub long_header: bool,
    /// IPv6; otherwise IPv4.
    pub ipv6: bool,
    /// The frame has one VLAN tag.
    pub vlan: bool,
    /// From the frame's first byte to the UDP header, in bytes: 34 ..= 78.
    pub l4_offset: u16,
    /// Length of the UDP payload in bytes; the frame may be longer (padding).
    pub payload_len: u16,
}

impl Metadata {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// `bytes` are the first [`LEN`](Self::LEN) bytes. `None` when the program did not write them.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[owner, class, flags, MAGIC, offset_low, offset_high, len_low, len_high] = bytes else { return None };
        Some(Self {
            owner: (owner != OWNER_NONE).then_some(owner),
            class: PortClass::from_number(class)?,
            long_header: flags & LONG_HEADER != 0,
            ipv6: flags & IPV6 != 0,
            vlan: flags & VLAN != 0,
            l4_offset: u16::from_le_bytes([offset_low, offset_high]),
            payload_len: u16::from_le_bytes([len_low, len_high]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleared_or_foreign_bytes_are_no_metadata() {
        assert_eq!(Metadata::parse(&[0; 8]), None);
        assert_eq!(Metadata::parse(&[1, 1, 0, MAGIC, 42, 0, 17]), None, "seven bytes");
        assert_eq!(Metadata::parse(&[1, 0, 0, MAGIC, 42, 0, 17, 0]), None, "no class");
        assert_eq!(Metadata::parse(&[1, 1, 0, MAGIC ^ 1, 42, 0, 17, 0]), None, "another layout");
        let metadata = Metadata::parse(&[1, 1, 5, MAGIC, 42, 0, 0xb0, 4]).expect("metadata");
        let expected = Metadata {
            owner: Some(1),
            class: PortClass::Quic,
            long_header: true,
            ipv6: false,
            vlan: true,
            l4_offset: 42,
            payload_len: 1200,
        };
        assert_eq!(metadata, expected);
    }
}
