//! Memory that a viewer pins: data of one byte at every second offset, which can never be read.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::quic::pause;
use super::target::{Abuse, Going, Target, udp_from};
use crate::error::BenchError;
use crate::fanout::frames::put_varint;
use crate::fanout::joining::{Joining, Windows, client_config};
use crate::fanout::receiver::Established;

/// Connections that pin at a time. A full one is left as it is, for the server to find out, and another begins.
const CONNECTIONS: usize = 8;
/// Bytes of frames in a packet: with header and tag it stays below 1,200.
const PAYLOAD_LEN: usize = 1_150;
/// STREAM with offset and length (RFC 9000 §19.8).
const STREAM: u64 = 0x0e;
/// The first unidirectional stream of a client, and from one to the next (RFC 9000 §2.1).
const STREAM_FIRST: u64 = 2;
const STREAM_STEP: u64 = 4;
/// Packet numbers of the handshake lie below.
const NUMBER_FIRST: u64 = 1 << 20;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Packets of one connection before the next has its turn.
const BURST: usize = 16;
/// Longest datagram that is read.
const DATAGRAM_LEN: usize = 2_048;

/// See the module.
pub struct PinnedMemory;

impl Abuse for PinnedMemory {
    fn key(&self) -> &'static str {
        "pinned_memory"
    }

    fn name(&self) -> &'static str {
        "pinned memory, packets (11)"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let mut config = client_config()?;
        let mut slots: Vec<Option<Pinning>> = (0..CONNECTIONS).map(|_| None).collect();
        let (mut payload, mut packet) = (Vec::new(), Vec::new());
        for index in (0..CONNECTIONS).cycle() {
            if !going.on() {
                break;
            }
            let Some(slot) = slots.get_mut(index) else { continue };
            if slot.is_none() {
                *slot = Pinning::begin(index, target, &mut config)?;
            }
            let Some(pinning) = slot else {
                pause();
                continue;
            };
            for _ in 0..BURST {
                if !pinning.next(&mut payload, &mut packet) {
                    *slot = None;
                    break;
                }
                going.did();
                if pinning.socket.send(&packet).is_err() {
                    pause();
                }
            }
        }
        Ok(())
    }
}

/// A connection and how far it is.
struct Pinning {
    socket: UdpSocket,
    established: Established,
    windows: Windows,
    number: u64,
    stream: u64,
    offset: u64,
    /// Of the connection's window, by streams before.
    used: u64,
}

impl Pinning {
    /// Shakes hands. `None` when the server does not want it.
    fn begin(index: usize, target: &Target, config: &mut quiche::Config) -> Result<Option<Self>, BenchError> {
        let socket = udp_from(index, target.quic)?;
        let address = socket.local_addr().map_err(BenchError::file("read the address of", "a UDP socket".as_ref()))?;
        let mut joining = Joining::new(index, address, target.quic, config, None)?;
        let (deadline, mut buffer) = (Instant::now() + HANDSHAKE_MAX, [0; DATAGRAM_LEN]);
        while !joining.is_done() {
            joining.tick();
            joining.send(|packet| drop(socket.send(packet)));
            match socket.recv(&mut buffer) {
                Ok(len) if joining.take(buffer.get_mut(..len).unwrap_or_default()).is_err() => return Ok(None),
                Ok(_) => {}
                Err(_) if Instant::now() > deadline => return Ok(None),
                Err(_) => pause(),
            }
        }
        // The handshake's last acknowledgements.
        joining.send(|packet| drop(socket.send(packet)));
        let Some(windows) = joining.windows() else { return Ok(None) };
        let established = joining.establish()?;
        let (number, stream, offset, used) = (NUMBER_FIRST, STREAM_FIRST, 1, 0);
        Ok(Some(Self { socket, established, windows, number, stream, offset, used }))
    }

    /// Makes the next packet. False when there is no window left.
    fn next(&mut self, payload: &mut Vec<u8>, packet: &mut Vec<u8>) -> bool {
        payload.clear();
        while payload.len() < PAYLOAD_LEN && self.next_frame(payload) {}
        self.number += 1;
        let Established { client, server_id, .. } = &self.established;
        !payload.is_empty() && client.seal(server_id, self.number, payload, packet).is_some()
    }

    fn next_frame(&mut self, out: &mut Vec<u8>) -> bool {
        let Windows { stream_len, connection_len, streams } = self.windows;
        if self.offset >= stream_len {
            self.used += self.offset;
            self.stream += STREAM_STEP;
            self.offset = 1;
        }
        if self.used + self.offset >= connection_len || self.stream / STREAM_STEP >= streams {
            return false;
        }
        put_varint(STREAM, out);
        put_varint(self.stream, out);
        put_varint(self.offset, out);
        put_varint(1, out);
        out.push(0);
        self.offset += 2;
        true
    }
}
