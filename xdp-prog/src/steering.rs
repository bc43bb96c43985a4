//! The rule by which packets find their shard, in Rust: the same as in `bpf/cid.h` and `bpf/steer.bpf.c`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use crate::error::SteeringError;

/// Length of the engine's connection ids, in bytes.
pub const CID_LEN: usize = 16;
/// Sockets that one program can address.
pub const SOCKETS_MAX: usize = 256;
/// Ports that one program can know.
pub const PORTS_MAX: usize = 1024;
/// Addresses that one program can know.
pub const ADDRESSES_MAX: usize = 256;

const CID_EPOCH_SHIFT: u32 = 5;
const CID_EPOCH_MAX: u8 = 7;

/// How an index into the sockets is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteeringMode {
    /// Socket i is bound to queue i, and the packet's queue is its index. A short header of another shard is left to the
    /// shard that gets it, which tosses it to its owner.
    PerQueue,
    /// All sockets are bound to queue 0: short headers by the shard in their connection id, everything else by a keyed hash
    /// of the 4-tuple. Frames of other queues are left to the kernel, because the sockets could not receive them.
    SameQueue,
}

/// What listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PortClass {
    /// Malformed packets are dropped; short headers name their owner.
    Quic = 1,
    /// Not parsed.
    Srt = 2,
    /// Not parsed.
    WebRtc = 3,
}

impl PortClass {
    /// The class with this number in the table and in the metadata.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Quic),
            2 => Some(Self::Srt),
            3 => Some(Self::WebRtc),
            _ => None,
        }
    }
}

/// What a program needs to know; constant while it is loaded.
#[derive(Clone, PartialEq, Eq)]
pub struct Steering {
    /// How an index is chosen.
    pub mode: SteeringMode,
    /// Number of shards, 1 ..= 255.
    pub shards: u8,
    /// Epoch of the connection ids that are valid now, 0 ..= 7.
    pub cid_epoch: u8,
    /// Key of the mask over the shard byte and of the flow hash. Root can read it from the kernel, so it must not be the key
    /// of the ids' MAC.
    pub cid_mask_key: [u8; 16],
    /// UDP destination ports, each once, at most [`PORTS_MAX`].
    pub ports: Vec<(u16, PortClass)>,
    /// Destination addresses, at most [`ADDRESSES_MAX`]; empty means any. Needed on a machine that also forwards packets, or
    /// where another address of the interface has its own listener on one of the ports.
    pub addresses: Vec<IpAddr>,
}

impl fmt::Debug for Steering {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering")
            .field("mode", &self.mode)
            .field("shards", &self.shards)
            .field("cid_epoch", &self.cid_epoch)
            .field("ports", &self.ports)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Steering {
    /// The shard that a destination connection id names, when it has the length and epoch of ours and the shard exists. The
    /// id's MAC is not looked at: this is where the programs send a packet, not whether it is genuine.
    pub fn owner(&self, cid: &[u8]) -> Option<u8> {
        let cid: &[u8; CID_LEN] = cid.try_into().ok()?;
        let [first, masked, nonce @ .., _, _, _, _, _, _] = cid;
        if first >> CID_EPOCH_SHIFT != self.cid_epoch {
            return None;
        }
        let shard = masked ^ cid_mask(&self.cid_mask_key, nonce);
        (shard < self.shards).then_some(shard)
    }

    /// The shard of a flow in [`SteeringMode::SameQueue`]: SipHash-2-4 over both addresses (IPv4 in its mapped form), then
    /// both ports, all in network order, filled up to 40 bytes. 0 without shards.
    pub fn flow_shard(&self, source: SocketAddr, destination: SocketAddr) -> u8 {
        let mut flow = [0u8; 40];
        flow[..16].copy_from_slice(&mapped(source.ip()));
        flow[16..32].copy_from_slice(&mapped(destination.ip()));
        flow[32..34].copy_from_slice(&source.port().to_be_bytes());
        flow[34..36].copy_from_slice(&destination.port().to_be_bytes());
        let hash = SipHasher24::new_with_key(&self.cid_mask_key).hash(&flow);
        ((hash >> 32) as u32).checked_rem(u32::from(self.shards)).unwrap_or(0) as u8
    }

    /// Whether a program can carry this out.
    pub fn check(&self) -> Result<(), SteeringError> {
        if self.shards == 0 {
            return Err(SteeringError::NoShards);
        }
        if self.cid_epoch > CID_EPOCH_MAX {
            return Err(SteeringError::Epoch(self.cid_epoch));
        }
        if self.ports.len() > PORTS_MAX {
            return Err(SteeringError::Ports(self.ports.len()));
        }
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(SteeringError::Addresses(self.addresses.len()));
        }
        let mut ports: Vec<u16> = self.ports.iter().map(|&(port, _)| port).collect();
        ports.sort_unstable();
        match ports.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(SteeringError::PortTwice(pair[0])),
            None => Ok(()),
        }
    }
}

/// The byte that the shard number is XORed with in a connection id of ours: the low byte of SipHash-2-4 over the nonce, the
/// id's bytes 2 to 9.
pub fn cid_mask(key: &[u8; 16], nonce: &[u8; 8]) -> u8 {
    SipHasher24::new_with_key(key).hash(nonce) as u8
}

/// An address as the programs keep it: 16 bytes in network order.
pub(crate) fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steering() -> Steering {
        Steering {
            mode: SteeringMode::PerQueue,
            shards: 4,
            cid_epoch: 5,
            cid_mask_key: [3; 16],
            ports: vec![(4433, PortClass::Quic)],
            addresses: Vec::new(),
        }
    }

    #[test]
    fn an_id_names_its_shard_only_with_its_epoch_length_and_an_existing_shard() {
        let steering = steering();
        for shard in 0..=255u8 {
            let mut cid = [9u8; CID_LEN];
            cid[0] = (5 << 5) | 0b1_0110;
            let nonce: [u8; 8] = cid[2..10].try_into().expect("eight bytes");
            cid[1] = shard ^ cid_mask(&steering.cid_mask_key, &nonce);
            assert_eq!(steering.owner(&cid), (shard < 4).then_some(shard));
            assert_eq!(steering.owner(&cid[..15]), None);
            cid[0] ^= 1 << 5;
            assert_eq!(steering.owner(&cid), None, "another epoch");
        }
    }

    #[test]
    fn flows_spread_over_all_shards_and_stay() {
        let steering = steering();
        let destination: SocketAddr = "192.0.2.1:4433".parse().expect("address");
        let mut hits = [0u32; 4];
        for port in 1024..5120u16 {
            let source = SocketAddr::new("198.51.100.7".parse().expect("address"), port);
            let shard = steering.flow_shard(source, destination);
            assert_eq!(shard, steering.flow_shard(source, destination));
            hits[usize::from(shard)] += 1;
        }
        assert!(hits.iter().all(|&hits| (900..1150).contains(&hits)), "{hits:?} of 4096 flows");
    }

    #[test]
    fn impossible_steering_is_named() {
        let broken = |change: fn(&mut Steering)| {
            let mut steering = steering();
            change(&mut steering);
            steering.check().map_err(|error| error.to_string())
        };
        assert_eq!(steering().check(), Ok(()));
        assert_eq!(broken(|s| s.shards = 0), Err("0 shards; at least 1 is needed".into()));
        assert_eq!(broken(|s| s.cid_epoch = 8), Err("connection id epoch 8; at most 7 is possible".into()));
        assert_eq!(broken(|s| s.ports.push((4433, PortClass::Srt))), Err("port 4433 is listed twice".into()));
        assert_eq!(
            broken(|s| s.ports = (0..1025).map(|port| (port, PortClass::WebRtc)).collect()),
            Err("1025 ports; at most 1024 are possible".into())
        );
        assert_eq!(
            broken(|s| s.addresses = (0..257u32).map(|a| IpAddr::V4(a.into())).collect()),
            Err("257 addresses; at most 256 are possible".into())
        );
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(!format!("{:?}", steering()).contains("3, 3"));
    }
}
