//! What this machine says about an interface.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// Receive queues.
    pub(super) queues: usize,
}

impl Interface {
    /// Looks it up.
    pub(super) fn find(name: &str) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        // Says that there is one.
        name_to_index(&socket, name)?;
        let queues = fs::read_dir(PathBuf::from("/sys/class/net").join(name).join("queues"))?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"))
            .count();
        Ok(Self { name: name.to_owned(), queues })
    }
}

/// The interface that has `address`.
pub(super) fn of_address(address: IpAddr) -> io::Result<Option<String>> {
    let addresses = nix::ifaddrs::getifaddrs()?;
    let has = |found: &nix::ifaddrs::InterfaceAddress| {
        let Some(storage) = &found.address else { return false };
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        v4.or(v6) == Some(address)
    };
    Ok(addresses.into_iter().find(has).map(|found| found.interface_name))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_loopback_interface_is_known_by_name_and_by_address() {
        let name = of_address(Ipv4Addr::LOCALHOST.into()).unwrap().unwrap();
        let interface = Interface::find(&name).unwrap();
        assert_eq!(interface.name, "lo");
        assert!(interface.queues > 0);
        assert_eq!(of_address(Ipv4Addr::new(192, 0, 2, 77).into()).unwrap(), None);
        assert!(Interface::find("no-such-thing").is_err());
    }
}
