//! Socket addresses as bytes: in front of datagrams that cross a ring, and in Retry tokens.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// IPv6 or mapped IPv4 address (16), port (2, little endian).
pub(crate) const ADDRESS_LEN: usize = 18;

/// The same bytes for an IPv4 address and its mapped form.
pub(crate) fn encode(address: SocketAddr) -> [u8; ADDRESS_LEN] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut wire = [0; ADDRESS_LEN];
    wire[..16].copy_from_slice(&ip.octets());
    wire[16..].copy_from_slice(&address.port().to_le_bytes());
    wire
}

/// Gives an IPv4 address back as such.
pub(crate) fn decode(wire: &[u8; ADDRESS_LEN]) -> SocketAddr {
    let (ip, port) = wire.split_at(16);
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(ip).unwrap_or_default());
    let port = u16::from_le_bytes(<[u8; 2]>::try_from(port).unwrap_or_default());
    SocketAddr::new(IpAddr::V6(ip).to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_wire() {
        for text in ["127.0.0.1:4433", "203.0.113.9:65535", "[::1]:1", "[2001:db8::7]:40000"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(decode(&encode(address)), address);
        }
    }
}
