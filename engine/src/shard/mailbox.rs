//! What shards of one process hand to each other by ownership: encoders, each a socket with its session, and homes of inputs. And
//! the bell that wakes a shard for whatever another has put into a ring.
//!
//! Rings carry bytes; a file descriptor and a parser's state have to move. That is rare (an encoder that connects), so a bounded
//! lock-free queue a shard is enough.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use streams_ingest::Session;

use crate::edge::whip::Letter;

/// Parcels that may wait for one shard. An encoder beyond it is closed and connects again.
const PARCELS_MAX: usize = 1_024;

/// An encoder on its way to its home shard: it has asked to publish and waits for the answer.
pub struct EncoderHandOver {
    /// The connection.
    pub socket: TcpStream,
    /// Its protocol state.
    pub session: Box<dyn Session>,
    /// The stream key that it gave.
    pub key: String,
    /// What was read from it and not given to the session yet.
    pub rest: Vec<u8>,
    /// Its address.
    pub peer: SocketAddr,
}

/// What one shard gives another.
pub enum Parcel {
    /// An encoder whose home is there.
    Encoder(EncoderHandOver),
    /// A MoQT session at the sender publishes this input, whose home is there.
    Yield {
        /// `lv_…`
        input: String,
    },
    /// A request to a WHIP session, or the answer to one.
    Whip(Letter),
}

/// One shard's letter box and door bell.
pub struct Mailbox {
    parcels: ArrayQueue<Parcel>,
    asleep: AtomicBool,
    bell: File,
}

impl Mailbox {
    /// An empty box with an eventfd as its bell.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let bell = File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Arc::new(Self { parcels: ArrayQueue::new(PARCELS_MAX), asleep: AtomicBool::new(false), bell }))
    }

    /// Puts a parcel in and wakes the shard. False when the box is full: an encoder's connection is closed then.
    pub fn post(&self, parcel: Parcel) -> bool {
        let posted = self.parcels.push(parcel).is_ok();
        if posted {
            self.wake();
        }
        posted
    }

    /// Takes the parcel that waits longest.
    pub fn take(&self) -> Option<Parcel> {
        self.parcels.pop()
    }

    /// Wakes the shard if it sleeps. Call it after the work was made visible (an encoder, a ring's sequence number).
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
