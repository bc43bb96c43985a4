//! Sending by one `sendmsg` a train: where io_uring cannot be had, and for what it leaves over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::Socket;

use super::message::{Message, Train, refuses_segments, sent, settled};
use super::{Sent, TRAIN_LEN_MAX};

/// One frame, sent at once.
pub(super) struct PlainSender {
    frame: Vec<u8>,
    blocked: Option<Train>,
}

impl PlainSender {
    pub(super) fn new() -> Self {
        Self { frame: vec![0; TRAIN_LEN_MAX], blocked: None }
    }

    pub(super) fn frame(&mut self) -> &mut [u8] {
        &mut self.frame
    }

    pub(super) fn send(&mut self, socket: &Socket, gso: &mut bool, train: Train) -> io::Result<Sent> {
        let bytes = self.frame.get(..train.len).ok_or_else(longer_than_frame)?;
        let sent = send_now(socket, gso, bytes, train)?;
        self.blocked = (sent == Sent::Blocked).then_some(train);
        Ok(sent)
    }

    pub(super) fn flush(&mut self, socket: &Socket, gso: &mut bool) -> io::Result<Sent> {
        match self.blocked.take() {
            Some(train) => self.send(socket, gso, train),
            None => Ok(Sent::Done),
        }
    }
}

pub(super) fn longer_than_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "train longer than the frame")
}

/// Sends a train, packet by packet once the way out has refused a segmented send.
pub(super) fn send_now(socket: &Socket, gso: &mut bool, bytes: &[u8], train: Train) -> io::Result<Sent> {
    if !train.is_segmented() {
        return send_message(socket, bytes, train.to, train.segment_len);
    }
    if *gso {
        match send_message_unsettled(socket, bytes, train.to, train.segment_len) {
            Err(error) if refuses_segments(&error) => give_up_segments(gso, &error),
            sent => return settled(sent),
        }
    }
    for packet in bytes.chunks(train.segment_len.max(1)) {
        if send_message(socket, packet, train.to, packet.len())? == Sent::Blocked {
            // Without GSO the rest of this train is lost to a full socket; QUIC sends it again.
            return Ok(Sent::Done);
        }
    }
    Ok(Sent::Done)
}

/// From now on packets go out one by one.
pub(super) fn give_up_segments(gso: &mut bool, error: &io::Error) {
    if std::mem::replace(gso, false) {
        tracing::warn!(%error, "the way out takes no segmented datagrams (GSO); packets go out one by one now");
    }
}

/// Sends `bytes` as datagrams of `segment_len` with one call.
pub(super) fn send_message(socket: &Socket, bytes: &[u8], to: SocketAddr, segment_len: usize) -> io::Result<Sent> {
    settled(send_message_unsettled(socket, bytes, to, segment_len))
}

fn send_message_unsettled(socket: &Socket, bytes: &[u8], to: SocketAddr, segment_len: usize) -> io::Result<Sent> {
    let mut message = Message::empty();
    message.set(bytes, to, segment_len)?;
    // SAFETY: the message stays where it is during the call, and `bytes` is borrowed for as long; the kernel only reads.
    let done = unsafe { libc::sendmsg(socket.as_raw_fd(), message.header(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    sent(if done >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
}
