//! Commands to the shards: reliable, in order, each to every shard.

use std::collections::VecDeque;

use streams_contract::{Command, MESSAGE_SIG, encode, names};
use streams_rings::{Full, ReliableWriter, Workspace, now_us};

use crate::Error;

/// Commands that wait for a slow shard; past this the oldest is dropped and said so. The link itself holds 256.
const WAITING_MAX: usize = 4096;

/// A command as it will be sent. Making one can fail, sending it cannot.
pub struct Message(Vec<u8>);

impl Message {
    /// Of a command.
    pub fn new(command: &Command) -> Result<Self, Error> {
        Ok(Self(encode(command)?))
    }
}

/// The writers of `cmd.<i>`, and what waits for credit.
pub struct Commands {
    shards: Vec<Shard>,
}

struct Shard {
    writer: ReliableWriter,
    waiting: VecDeque<Vec<u8>>,
}

impl Commands {
    /// Without an engine: commands go nowhere.
    pub fn new() -> Self {
        Self { shards: Vec::new() }
    }

    /// From now on to the shards of this engine. What waited was for the one before.
    pub fn aim(&mut self, control: &Workspace, engine: &Workspace, shards: usize) {
        self.shards = (0..shards)
            .filter_map(|shard| {
                let consumer = engine.fseq(&names::cmd(shard)).ok()?;
                let writer = control.reliable_writer(&names::cmd(shard), &[consumer]).ok()?;
                Some(Shard { writer, waiting: VecDeque::new() })
            })
            .collect();
    }

    /// Sends to every shard.
    pub fn send(&mut self, Message(message): Message) {
        for (i, shard) in self.shards.iter_mut().enumerate() {
            if shard.waiting.len() >= WAITING_MAX {
                shard.waiting.pop_front();
                tracing::warn!(
                    shard = i,
                    waiting = WAITING_MAX,
                    "a shard takes no commands; the oldest one is dropped"
                );
            }
            shard.waiting.push_back(message.clone());
        }
        self.flush();
    }

    /// Hands over what the links have room for.
    pub fn flush(&mut self) {
        for shard in &mut self.shards {
            while let Some(message) = shard.waiting.front() {
                match shard.writer.try_publish(MESSAGE_SIG, now_us(), message) {
                    Err(Full::NoCredit) => break,
                    // A message that can never be sent would block all others.
                    Err(error) => tracing::warn!(%error, "a command is dropped"),
                    Ok(_) => {}
                }
                shard.waiting.pop_front();
            }
        }
    }
}
