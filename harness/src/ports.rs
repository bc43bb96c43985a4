//! Ports that nobody uses, and nobody will take.
//!
//! A port that the kernel picks is free again once the probe lets go of it, and the next outgoing connection of some other test may
//! get it before the stack binds it. So ports are picked below those that the kernel gives away, and each is reserved among all
//! harnesses of the machine, by an abstract Unix socket that is held for the life of the process.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

use crate::HarnessError;

/// Below `net.ipv4.ip_local_port_range`, which begins at 32768.
const PORTS: RangeInclusive<u16> = 20_000..=32_000;

/// Where the next look begins, and what this process holds.
static HELD: Mutex<(Option<u16>, Vec<UnixListener>)> = Mutex::new((None, Vec::new()));

/// Shards of a stack that each have a port of their own.
pub const SHARDS_MAX: u16 = 4;

/// Ports of one stack.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// UDP: QUIC.
    pub quic: u16,
    /// TCP: RTMP.
    pub rtmp: u16,
    /// TCP: RTMPS.
    pub rtmps: u16,
    /// UDP: SRT.
    pub srt: u16,
    /// UDP: WebRTC media of [`SHARDS_MAX`] shards, from here on.
    pub webrtc: u16,
    /// TCP: API with TLS.
    pub https: u16,
    /// TCP: API and player page without TLS.
    pub http_dev: u16,
}

impl Ports {
    /// Free ones on loopback, for this process alone. Those of a namespace of its own are free there as well.
    ///
    /// # Errors
    /// [`HarnessError::File`] when the machine has none.
    pub fn free() -> Result<Self, HarnessError> {
        let webrtc = reserve_row(SHARDS_MAX)?;
        let [quic, rtmp, rtmps, srt] = [reserve()?, reserve()?, reserve()?, reserve()?];
        Ok(Self { quic, rtmp, rtmps, srt, webrtc, https: reserve()?, http_dev: reserve()? })
    }
}

fn reserve() -> Result<u16, HarnessError> {
    let mut held = HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = PORTS.end() - PORTS.start() + 1;
    // Processes begin at different places, so that few of them ask for what another has.
    let first =
        held.0.unwrap_or_else(|| PORTS.start() + (std::process::id().wrapping_mul(97) % u32::from(count)) as u16);
    let around = (first..=*PORTS.end()).chain(*PORTS.start()..first);
    for port in around {
        if let Some(holder) = hold(port) {
            held.0 = Some(if port == *PORTS.end() { *PORTS.start() } else { port + 1 });
            held.1.push(holder);
            return Ok(port);
        }
    }
    Err(HarnessError::file("find a free port on", "127.0.0.1")(std::io::ErrorKind::AddrInUse.into()))
}

/// So many that follow each other; those that turn out not to do so stay held for nobody.
fn reserve_row(len: u16) -> Result<u16, HarnessError> {
    let mut first = reserve()?;
    let mut last = first;
    while last - first + 1 < len {
        let next = reserve()?;
        if next != last.wrapping_add(1) {
            first = next;
        }
        last = next;
    }
    Ok(first)
}

/// The reservation, unless another harness has it or anybody uses the port.
fn hold(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("streams-harness/port/{port}")).ok()?;
    let holder = UnixListener::bind_addr(&name).ok()?;
    let address = (Ipv4Addr::LOCALHOST, port);
    (TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()).then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_never_one_that_is_in_use() {
        let mut given = Vec::new();
        for _ in 0..8 {
            let Ports { quic, rtmp, rtmps, srt, webrtc, https, http_dev } = Ports::free().unwrap();
            given.extend([quic, rtmp, rtmps, srt, https, http_dev]);
            given.extend(webrtc..webrtc + SHARDS_MAX);
        }
        let next = HELD.lock().unwrap().0.unwrap();
        let _used = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        given.push(Ports::free().unwrap().quic);
        assert_ne!(given.last(), Some(&next));
        assert!(given.iter().all(|port| PORTS.contains(port)));
        let all = given.len();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), all);
    }
}
