//! Socket ids that name their shard, and the cookies that all shards take.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Bits of a socket id that number a shard's connections.
const NUMBER_BITS: u32 = 22;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;
/// What the SRT crate hashes in front of a socket id's number.
const SOCKET_MARK: &[u8] = b"srt socket";

/// The id that a caller puts into everything behind its handshake: 8 bits of shard, 22 bits of number. 0 is the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The `number`-th connection of a shard; numbers come again after 4 million.
    pub fn new(shard: u8, number: u32) -> Self {
        // Never 0, which is the listener's.
        let number = number % NUMBER_MASK;
        Self(u32::from(shard) << NUMBER_BITS | number.saturating_add(1))
    }

    /// The shard that it names.
    pub fn shard(self) -> u8 {
        u8::try_from(self.0 >> NUMBER_BITS & 0xff).unwrap_or(u8::MAX)
    }
}

/// What one connection's machine hashes with: cookies by the secret of all shards, and its own socket id as it was given.
#[derive(Debug, Clone)]
pub(super) struct SessionKey {
    pub(super) secret: RandomState,
    pub(super) socket: SocketId,
}

impl BuildHasher for SessionKey {
    type Hasher = SessionHasher;

    fn build_hasher(&self) -> SessionHasher {
        SessionHasher { secret: self.secret.build_hasher(), socket: self.socket, asked_for_socket: false }
    }
}

pub(super) struct SessionHasher {
    secret: <RandomState as BuildHasher>::Hasher,
    socket: SocketId,
    asked_for_socket: bool,
}

impl Hasher for SessionHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.asked_for_socket |= bytes == SOCKET_MARK;
        self.secret.write(bytes);
    }

    fn finish(&self) -> u64 {
        if self.asked_for_socket { u64::from(self.socket.0) } else { self.secret.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_shard_and_is_never_the_listener() {
        for (shard, number) in [(0, 0), (0, NUMBER_MASK), (63, 7), (255, u32::MAX)] {
            let id = SocketId::new(shard, number);
            assert_eq!(id.shard(), shard);
            assert!(id.0 != 0 && id.0 < 1 << 30, "{id:?}");
        }
        assert_ne!(SocketId::new(3, 1), SocketId::new(3, 2));
    }
}
