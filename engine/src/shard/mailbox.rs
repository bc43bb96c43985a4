//! What shards of one process hand to each other by ownership: sockets with their sessions, and tossed datagrams.
//!
//! Rings carry bytes; a file descriptor and a parser's state have to move. These are rare (an encoder that connects, a viewer
//! whose address changed), so a bounded lock-free queue a shard is enough.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use streams_ingest::RtmpSession;

/// Letters that may wait for one shard. Tossed datagrams beyond it are dropped and QUIC repairs them; an encoder beyond it is
/// closed and connects again.
const LETTERS_MAX: usize = 1_024;

/// An encoder on its way to its home shard: it has asked to publish and waits for the answer.
pub struct EncoderHandOver {
    /// The connection.
    pub socket: TcpStream,
    /// Its protocol state.
    pub session: Box<RtmpSession>,
    /// The stream key that it gave.
    pub key: String,
    /// Its address.
    pub peer: SocketAddr,
}

/// One thing handed to a shard.
pub enum Letter {
    /// See [`EncoderHandOver`].
    Encoder(EncoderHandOver),
    /// A datagram whose connection lives on the receiving shard.
    Datagram {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Who sent it.
        from: SocketAddr,
    },
}

/// One shard's letter box and door bell.
pub struct Mailbox {
    letters: ArrayQueue<Letter>,
    asleep: AtomicBool,
    bell: File,
}

impl Mailbox {
    /// An empty box with an eventfd as its bell.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let bell = File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Arc::new(Self { letters: ArrayQueue::new(LETTERS_MAX), asleep: AtomicBool::new(false), bell }))
    }

    /// Puts a letter in and wakes the shard; gives it back when the box is full.
    pub fn post(&self, letter: Letter) -> Result<(), Box<Letter>> {
        self.letters.push(letter).map_err(Box::new)?;
        self.wake();
        Ok(())
    }

    /// Takes the oldest letter.
    pub fn take(&self) -> Option<Letter> {
        self.letters.pop()
    }

    /// Wakes the shard if it sleeps. Call it after the work was made visible (a letter, a ring's sequence number).
    pub fn wake(&self) {
        // Pairs with `fall_asleep`: either this sees the flag, or the sleeper's last look sees the work.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full counter is a rung bell too.
            let _ = (&self.bell).write(&1u64.to_ne_bytes());
        }
    }

    /// Announces that the shard is about to sleep. It has to look for work once more after this.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// The shard is awake again.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Another handle of the bell: an eventfd that becomes readable when it rings.
    pub fn bell(&self) -> std::io::Result<File> {
        self.bell.try_clone()
    }
}
