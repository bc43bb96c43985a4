//! Floods: connections that are opened and closed, and datagrams that begin connections which nobody means.

use std::net::UdpSocket;
use std::time::Duration;

use super::target::{Abuse, Going, Target, tcp_from, udp_from};
use crate::error::BenchError;

/// Length of a client's Initial (RFC 9000 §14.1).
const INITIAL_LEN: usize = 1_200;
/// Sockets, so that every shard gets its share.
const SOCKETS: usize = 8;
/// Pause when the system has no port or no room left.
const PAUSE: Duration = Duration::from_millis(1);
/// Datagrams between two looks whether to go on.
const BURST: usize = 64;

/// RTMP connections that are closed as soon as they are accepted.
pub struct TcpFlood;

impl Abuse for TcpFlood {
    fn key(&self) -> &'static str {
        "tcp_flood"
    }

    fn name(&self) -> &'static str {
        "flood of RTMP connections"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        for index in (0..usize::from(u8::MAX)).cycle() {
            if !going.on() {
                break;
            }
            let Ok(socket) = tcp_from(index, target.rtmp) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            // A close with RST leaves no port behind that waits.
            let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            going.did();
        }
        Ok(())
    }
}

/// Initials of QUIC that nobody can decrypt, each with ids of its own, and as many short headers.
pub struct QuicFlood;

impl Abuse for QuicFlood {
    fn key(&self) -> &'static str {
        "quic_flood"
    }

    fn name(&self) -> &'static str {
        "flood of junk datagrams"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let sockets = (0..SOCKETS).map(|index| udp_from(index, target.quic)).collect::<Result<Vec<UdpSocket>, _>>()?;
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let mut initial = [0; INITIAL_LEN];
        noise.fill(&mut initial);
        // Version 1, ids of 8 and 0 bytes, no token, a length that fits.
        initial[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        initial[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
        let mut short = [0; 60];
        while going.on() {
            for socket in sockets.iter().cycle().take(BURST) {
                noise.fill(&mut initial[6..14]);
                noise.fill(&mut short);
                short[0] = 0x40 | (short[0] & 0x3f);
                for junk in [&initial[..], &short[..]] {
                    if socket.send(junk).is_ok() {
                        going.did();
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reproducible noise (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let noise = self.0.to_le_bytes();
            for (byte, noise) in piece.iter_mut().zip(noise) {
                *byte = noise;
            }
        }
    }
}
