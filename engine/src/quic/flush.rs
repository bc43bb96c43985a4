//! Writing a connection's packets into trains: equal-sized packets to one peer that leave with one send.

use std::io;
use std::net::SocketAddr;

use crate::backend::{PacketBackend, Sent};
use crate::stages::{Stage, timed};

use super::Quic;
use super::config::SEND_PAYLOAD_LEN_MAX;

/// What one flush did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flushed {
    /// Packets that quiche made.
    pub(super) packets: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The backend is full: nothing more may be written into its frame.
    pub(super) blocked: bool,
    /// quiche may have more to send; the quantum of this visit is used up.
    pub(super) more: bool,
}

/// Packets of one visit to a connection when nothing is tuned: enough for a whole video frame at 5 Mbit/s, so that its keys and state are loaded
/// once, and little enough that no viewer waits long behind another.
pub(super) const VISIT_PACKETS: u64 = 64;

/// Sends what `quic` has to send, up to one visit's worth, in packets of at most `len_max` bytes; most of it goes to `peer`.
pub(super) fn flush(
    quic: &mut Quic,
    peer: SocketAddr,
    len_max: usize,
    backend: &mut dyn PacketBackend,
    visit_packets: u64,
) -> io::Result<Flushed> {
    let mut flushed = Flushed::default();
    let mut train = Train::default();
    while flushed.packets < visit_packets {
        if !train.fits_another(backend) {
            flushed.blocked = train.send(backend)?;
            if flushed.blocked {
                return Ok(flushed);
            }
        }
        let Some(out) = backend.frame(peer).get_mut(train.len..train.len + len_max) else { break };
        let (len, info) = match timed(Stage::Seal, || quic.send(out)) {
            Ok(sent) => sent,
            Err(quiche::Error::Done) => {
                flushed.blocked = train.send(backend)?;
                return Ok(flushed);
            }
            Err(_) => {
                // The connection is broken; quiche has closed it, and the next call says so.
                let _ = quic.close(false, 0x1, b"");
                break;
            }
        };
        flushed.packets += 1;
        flushed.bytes += len as u64;
        if train.refuses(len, info.to) {
            // Rare (a probe of the path's MTU): the packet moves to the head of the next frame, which may be another one.
            let mut moved = [0; SEND_PAYLOAD_LEN_MAX];
            let packet = moved.get_mut(..len).zip(backend.frame(peer).get(train.len..train.len + len));
            let Some(moved) = packet.map(|(moved, packet)| {
                moved.copy_from_slice(packet);
                moved
            }) else {
                break;
            };
            if train.send(backend)? {
                // The packet just written stands behind a train that has to stay: it is lost here, and QUIC sends it again.
                flushed.blocked = true;
                return Ok(flushed);
            }
            let Some(head) = backend.frame(peer).get_mut(..len) else { break };
            head.copy_from_slice(moved);
        }
        if train.push(len, info.to) {
            flushed.blocked = train.send(backend)?;
            if flushed.blocked {
                return Ok(flushed);
            }
        }
    }
    flushed.blocked = train.send(backend)?;
    flushed.more = true;
    Ok(flushed)
}

#[derive(Default)]
struct Train {
    to: Option<SocketAddr>,
    len: usize,
    segment_len: usize,
    packets: usize,
}

impl Train {
    fn fits_another(&self, backend: &dyn PacketBackend) -> bool {
        self.packets < backend.train_packets_max() && self.len + SEND_PAYLOAD_LEN_MAX <= backend.train_len_max()
    }

    /// A longer packet or another destination needs a train of its own.
    fn refuses(&self, len: usize, to: SocketAddr) -> bool {
        self.packets > 0 && (len > self.segment_len || self.to != Some(to))
    }

    /// True when the train is complete: a shorter packet can only be the last one.
    fn push(&mut self, len: usize, to: SocketAddr) -> bool {
        if self.packets == 0 {
            self.segment_len = len;
            self.to = Some(to);
        }
        self.packets += 1;
        self.len += len;
        len < self.segment_len
    }

    /// True when the backend is full.
    fn send(&mut self, backend: &mut dyn PacketBackend) -> io::Result<bool> {
        let train = std::mem::take(self);
        match train.to {
            Some(to) if train.len > 0 => {
                let sent = timed(Stage::Backend, || backend.send_train(to, train.len, train.segment_len))?;
                Ok(sent == Sent::Blocked)
            }
            _ => Ok(false),
        }
    }
}
