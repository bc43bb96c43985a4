//! RTMP by hand: messages that no encoder sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rtmp_runtime::client::{ClientConfig, ClientEvent, ClientSession};

use super::target::{Target, tcp_from};
use crate::error::BenchError;

/// Version and C1 without a digest.
const HELLO_LEN: usize = 1 + 1_536;
/// S0, S1 and S2.
const ANSWER_LEN: usize = 1 + 2 * 1_536;
/// How long the server may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Chunk size that every message of [`message`] fits into (the largest of the specification, §5.4.1).
const CHUNK_SIZE: u32 = 0x7fff_ffff;
/// Chunk stream of [`message`].
const CHUNK_STREAM: u8 = 6;

/// C0 and C1.
pub fn hello() -> Vec<u8> {
    let mut hello = vec![0; HELLO_LEN];
    if let Some(version) = hello.first_mut() {
        *version = 3;
    }
    hello
}

/// Connects and shakes hands: what follows is read as chunks. `None` when the server does not want it.
pub fn shake_hands(index: usize, target: &Target) -> Option<TcpStream> {
    let mut socket = tcp_from(index, target.rtmp).ok()?;
    socket.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    socket.set_write_timeout(Some(ANSWER_MAX)).ok()?;
    socket.write_all(&hello()).ok()?;
    let mut answer = vec![0; ANSWER_LEN];
    socket.read_exact(&mut answer).ok()?;
    // C2 is S1 again.
    socket.write_all(answer.get(1..HELLO_LEN)?).ok()?;
    Some(socket)
}

/// Connects and publishes to the own input. `None` when the server does not want it.
///
/// # Errors
/// [`BenchError::Rtmp`]: the server's answers make no sense.
pub fn publish(index: usize, target: &Target) -> Result<Option<TcpStream>, BenchError> {
    let Ok(mut socket) = tcp_from(index, target.rtmp) else { return Ok(None) };
    let mut config = ClientConfig::default();
    config.app = "live".to_owned();
    config.stream_key = target.own.key.clone();
    config.tc_url = Some(target.own.rtmp.clone());
    let mut session = ClientSession::new(config);
    let (began, mut buffer) = (Instant::now(), [0; 4_096]);
    if socket.set_read_timeout(Some(ANSWER_MAX)).is_err()
        || socket.set_write_timeout(Some(ANSWER_MAX)).is_err()
        || socket.write_all(&session.start()).is_err()
    {
        return Ok(None);
    }
    while !session.is_publishing() && began.elapsed() < ANSWER_MAX {
        let len = match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(len) => len,
        };
        let (answer, events) = session.handle_data(buffer.get(..len).unwrap_or_default())?;
        let refused = events.iter().any(|event| matches!(event, ClientEvent::Error { .. }));
        if refused || socket.write_all(&answer).is_err() {
            return Ok(None);
        }
    }
    Ok(session.is_publishing().then_some(socket))
}

/// SET_CHUNK_SIZE, after which every [`message`] is one chunk.
pub fn set_chunk_size(size: u32) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    bytes.extend_from_slice(&size.to_be_bytes());
    bytes
}

/// [`set_chunk_size`] for messages of any length.
pub fn one_chunk_a_message() -> Vec<u8> {
    set_chunk_size(CHUNK_SIZE)
}

/// A message in one chunk with a full header.
pub fn message(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l2, l1, l0] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![CHUNK_STREAM, 0, 0, 0, l2, l1, l0, kind];
    bytes.extend_from_slice(&stream.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_header_of_the_specification() {
        assert_eq!(hello().len(), 1_537);
        let bytes = message(18, 1, &[7; 300]);
        assert_eq!(bytes.get(..12), Some(&[6, 0, 0, 0, 0, 1, 44, 18, 1, 0, 0, 0][..]));
        assert_eq!(bytes.len(), 12 + 300);
        assert_eq!(set_chunk_size(1).get(7..), Some(&[1, 0, 0, 0, 0, 0, 0, 0, 1][..]));
    }
}
