//! What a network device tells over the netlink families `ethtool` and `netdev`, and what can be set that way.
//!
//! Command and attribute numbers are those of linux/ethtool_netlink.h and linux/netdev.h.

use std::io;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::netlink::{Attributes, Family, Fields, number, text};

const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const CHANNELS_GET: u8 = 17;
const CHANNELS_SET: u8 = 18;
const RSS_GET: u8 = 38;
const RSS_SET: u8 = 48;
/// Every request names the device in its first attribute.
const HEADER: u16 = 1;
const HEADER_NAME: u16 = 2;

/// RX and TX queues of a device (`ethtool -l`). A combined queue is one of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels {
    /// Queues of both directions now.
    pub combined: u32,
    /// Queues of reception alone now.
    pub rx: u32,
    /// Queues of sending alone now.
    pub tx: u32,
    /// The most combined queues; 0 when the driver has apart ones only.
    pub combined_max: u32,
    /// The most queues of reception alone.
    pub rx_max: u32,
    /// The most queues of sending alone.
    pub tx_max: u32,
}

impl Channels {
    /// Queues that packets arrive on.
    pub fn receiving(self) -> u32 {
        self.combined.saturating_add(self.rx)
    }

    /// The most queues that packets can arrive on and leave from in pairs.
    pub fn pairs_max(self) -> u32 {
        if self.combined_max > 0 { self.combined_max } else { self.rx_max.min(self.tx_max) }
    }

    /// The same device with `pairs` queues.
    pub fn with_pairs(self, pairs: u32) -> Self {
        match self.combined_max {
            0 => Self { rx: pairs, tx: pairs, ..self },
            _ => Self { combined: pairs, rx: 0, tx: 0, ..self },
        }
    }
}

/// One offload (`ethtool -k`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// On now.
    pub active: bool,
    /// The driver lets it be changed.
    pub changeable: bool,
}

/// A kind of packet that the hash of RSS is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Flow {
    /// The word of `ethtool -N … rx-flow-hash`.
    pub fn name(self) -> &'static str {
        match self {
            Flow::Udp4 => "udp4",
            Flow::Udp6 => "udp6",
        }
    }

    fn attribute(self) -> u16 {
        match self {
            Flow::Udp4 => 6,
            Flow::Udp6 => 7,
        }
    }
}

/// Letters of `ethtool -N … rx-flow-hash`, each with its bit (RXH_* of linux/ethtool.h) and with the line that `ethtool -n`
/// prints for it.
const HASH_FIELDS: [(char, u64, &str); 4] = [
    ('s', 1 << 4, "IP SA"),
    ('d', 1 << 5, "IP DA"),
    ('f', 1 << 6, "L4 bytes 0 & 1 [TCP/UDP src port]"),
    ('n', 1 << 7, "L4 bytes 2 & 3 [TCP/UDP dst port]"),
];

/// XDP abilities (netdev family, Linux 6.3 or newer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XdpFeatures {
    /// Native XDP with redirection, which an AF_XDP socket needs.
    pub redirect: bool,
    /// AF_XDP without a copy.
    pub zero_copy: bool,
}

/// Reads the queue counts. `Unsupported`: the driver has no such notion.
pub fn channels(interface: &str) -> io::Result<Channels> {
    let answer = ethtool()?.ask(CHANNELS_GET, device(interface))?;
    let count = |kind| answer.fields().number(kind).and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    Ok(Channels {
        rx_max: count(2),
        tx_max: count(3),
        combined_max: count(5),
        rx: count(6),
        tx: count(7),
        combined: count(9),
    })
}

/// Sets the queue counts; the device loses its link for a moment on many drivers.
pub fn set_channels(interface: &str, wanted: Channels) -> io::Result<()> {
    let mut request = device(interface);
    if wanted.rx_max > 0 || wanted.tx_max > 0 {
        request = request.u32(6, wanted.rx).u32(7, wanted.tx);
    }
    if wanted.combined_max > 0 {
        request = request.u32(9, wanted.combined);
    }
    ethtool()?.ask(CHANNELS_SET, request).map(drop)
}

/// Reads one offload by the kernel's name of it; `None` when this kernel has none of that name.
pub fn feature(interface: &str, name: &str) -> io::Result<Option<Feature>> {
    let answer = ethtool()?.ask(FEATURES_GET, device(interface))?;
    let bit = |set| answer.fields().nested(set).and_then(|set| bit_of(set, name));
    // HW lists every bit of the kernel and says which the driver can change; ACTIVE lists those that are on.
    let (Some(changeable), active, fixed) = (bit(2), bit(4), bit(5)) else { return Ok(None) };
    Ok(Some(Feature { active: active == Some(true), changeable: changeable && fixed != Some(true) }))
}

/// A bit of a bitset by name: set, not set, or not there.
fn bit_of(set: Fields<'_>, name: &str) -> Option<bool> {
    let listed_are_set = set.get(1).is_some();
    let bits = set.nested(3)?;
    let bit = bits.iter().map(|(_, bit)| Fields::of(bit)).find(|bit| bit.get(2).map(text) == Some(name))?;
    Some(listed_are_set || bit.get(3).is_some())
}

/// Turns one offload on or off.
pub fn set_feature(interface: &str, name: &str, on: bool) -> io::Result<()> {
    let bit = Attributes::default().text(2, name);
    let bit = if on { bit.put(3, &[]) } else { bit };
    let wanted = Attributes::default().nest(3, Attributes::default().nest(1, bit));
    ethtool()?.ask(FEATURES_SET, device(interface).nest(3, wanted)).map(drop)
}

/// The fields that RSS hashes of a flow, as letters of `sdfn`. Linux 6.17 tells it over netlink; before, Debian's `ethtool`
/// program is asked where it is installed. `NotFound`: neither knows.
pub fn flow_hash(interface: &str, flow: Flow) -> io::Result<String> {
    let answer = ethtool()?.ask(RSS_GET, device(interface))?;
    let mask = answer.fields().nested(8).and_then(|flows| flows.get(flow.attribute())).and_then(number);
    match mask {
        Some(mask) => Ok(letters(|(_, bit, _)| mask & bit != 0)),
        None => {
            let told = run("ethtool", &["-n", interface, "rx-flow-hash", flow.name()])?;
            Ok(letters(|(_, _, line)| told.lines().any(|told| told.trim() == *line)))
        }
    }
}

/// Sets the fields that RSS hashes of a flow.
pub fn set_flow_hash(interface: &str, flow: Flow, fields: &str) -> io::Result<()> {
    let mask = HASH_FIELDS.iter().filter(|(letter, ..)| fields.contains(*letter)).fold(0, |mask, field| mask | field.1);
    let flows = Attributes::default().put(flow.attribute(), &u64::to_ne_bytes(mask));
    match ethtool()?.ask(RSS_SET, device(interface).nest(8, flows)) {
        // A kernel before 6.17 has no such request.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            run("ethtool", &["-N", interface, "rx-flow-hash", flow.name(), fields]).map(drop)
        }
        answer => answer.map(drop),
    }
}

fn letters(set: impl Fn(&&(char, u64, &'static str)) -> bool) -> String {
    HASH_FIELDS.iter().filter(set).map(|(letter, ..)| *letter).collect()
}

/// What the driver can do with XDP.
pub fn xdp_features(interface_index: u32) -> io::Result<XdpFeatures> {
    let answer = Family::open("netdev", 1)?.ask(1, Attributes::default().u32(1, interface_index))?;
    let features = answer.fields().number(3).unwrap_or(0);
    Ok(XdpFeatures { redirect: features & 0b11 == 0b11, zero_copy: features & 0b1000 != 0 })
}

fn ethtool() -> io::Result<Family> {
    Family::open("ethtool", 1)
}

fn device(interface: &str) -> Attributes {
    Attributes::default().nest(HEADER, Attributes::default().text(HEADER_NAME, interface))
}

/// Runs a program of the system and gives back what it printed. Its own words are the error.
pub fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run `{program}`: {error}; install the package that has it"))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it failed without a word");
    Err(io::Error::other(format!("`{program} {}`: {said}", arguments.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_has_offloads_and_no_queues_to_set() {
        assert!(feature("lo", "rx-gro").unwrap().is_some());
        assert_eq!(feature("lo", "no-such-offload").unwrap(), None);
        assert_eq!(channels("lo").unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(channels("no-such-device").is_err());
    }

    #[test]
    fn queues_are_set_the_way_the_driver_counts_them() {
        let apart = Channels { rx: 1, tx: 1, rx_max: 4, tx_max: 2, ..Channels::default() };
        assert_eq!((apart.receiving(), apart.pairs_max()), (1, 2));
        assert_eq!(apart.with_pairs(2), Channels { rx: 2, tx: 2, ..apart });
        let combined = Channels { combined: 8, combined_max: 16, ..Channels::default() };
        assert_eq!((combined.receiving(), combined.pairs_max()), (8, 16));
        assert_eq!(combined.with_pairs(4).combined, 4);
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let error = run("no-such-program", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program"));
    }
}
