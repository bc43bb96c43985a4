//! This shard's ends of the links to the other shards: objects out once for all, questions and replays pairwise.

mod followers;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use streams_contract::names;
use streams_relay_core::relay::{FullTrackName, LinkId, PublishDone, Relay, RelayEvent, cut_short};
use streams_rings::{Fseq, LinkReader, LinkWriter, Polled, ReliableReader, ReliableWriter, RingsError, Workspace};

use self::followers::Followers;
use super::mailbox::Mailbox;
use super::messages::{Accepted, Ask, ObjectHead, is_question};

/// Bytes that may wait for one other shard before a further replay is put off. A replay is bounded by the cache of its track
/// (32 MiB by default), so this is several tracks at once. Questions and answers are never put off: the other shard would
/// wait for them, and there are few a track.
const BACKLOG_LEN_MAX: usize = 128 << 20;
/// Messages taken from one link in one turn, so that no link starves the packets.
const POLL_MAX: usize = 256;

/// What the links counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkStats {
    /// Objects published into this shard's media link.
    pub media_published: u64,
    /// Objects taken from others' media links.
    pub media_received: u64,
    /// Frags of others' media links lost by being slow.
    pub media_overrun: u64,
    /// Times a link to another shard had no credit or room.
    pub ask_full: u64,
    /// Messages of another shard that could not be read.
    pub malformed: u64,
}

/// All links of one shard.
pub struct Links {
    shard: usize,
    media_out: LinkWriter,
    peers: Vec<Option<Peer>>,
    mailboxes: Vec<Arc<Mailbox>>,
    wake: Vec<bool>,
    followers: Followers,
    scratch: Vec<u8>,
    stats: LinkStats,
}

struct Peer {
    media_in: LinkReader,
    /// Where `media_in` is, for monitors.
    media_position: Fseq,
    ask_in: ReliableReader,
    ask_out: ReliableWriter,
    backlog: VecDeque<Vec<u8>>,
    backlog_len: usize,
    /// Link ids of tracks that live there and are followed here.
    followed: HashSet<LinkId>,
    by_name: HashMap<FullTrackName, LinkId>,
    /// Ends of tracks, each with the position of the media link that has to be reached first.
    ending: VecDeque<(u64, LinkId, PublishDone)>,
}

impl Links {
    /// Joins the links of `shard` among as many shards as there are mailboxes.
    pub fn join(shards: &Workspace, shard: usize, mailboxes: Vec<Arc<Mailbox>>) -> Result<Self, RingsError> {
        let peers =
            (0..mailboxes.len()).map(|other| (other != shard).then(|| Peer::join(shards, shard, other)).transpose());
        Ok(Self {
            shard,
            media_out: shards.link_writer(&names::media(shard))?,
            peers: peers.collect::<Result<_, _>>()?,
            wake: vec![false; mailboxes.len()],
            followers: Followers::default(),
            mailboxes,
            scratch: Vec::new(),
            stats: LinkStats::default(),
        })
    }

    /// Shows monitors what was lost of the others' media links.
    pub fn tell_lost(&self) {
        for peer in self.peers.iter().flatten() {
            peer.media_position.tell_lost(peer.media_in.stats().lost_frags);
        }
    }

    /// Counters.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Brings what the other shards sent to the relay. True when there was something.
    pub fn poll(&mut self, now: Instant, relay: &mut Relay) -> bool {
        let mut busy = false;
        for (other, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer else { continue };
            busy |= peer.poll_asks(now, other, relay, &mut self.followers, &mut self.scratch, &mut self.stats);
            busy |= peer.poll_media(now, other, relay, &mut self.scratch, &mut self.stats);
        }
        busy
    }

    /// Carries out the events that concern other shards; gives the rest back.
    pub fn handle(&mut self, event: RelayEvent, tsorig_us: u32) -> Option<RelayEvent> {
        match event {
            RelayEvent::AskShard { shard, name } => self.ask(shard, &Ask::Subscribe(name)),
            RelayEvent::DropShard { shard, name } => {
                if let Some(Some(peer)) = self.peers.get_mut(shard) {
                    peer.unfollow(&name);
                }
                self.ask(shard, &Ask::Unsubscribe(name));
            }
            RelayEvent::AnswerShard { shard, name, link_id, priority, pinned, largest, replay } => {
                self.followers.add(shard, &name, link_id);
                let len = replay.iter().map(|object| object.payload.len()).sum();
                if !self.has_room(shard, len) {
                    self.stats.ask_full += 1;
                    self.send(shard, &Ask::Busy(name));
                    return None;
                }
                let media_seq = self.media_out.seq();
                self.send(shard, &Ask::Accepted(Accepted { name, link_id, priority, pinned, largest, media_seq }));
                for cached in replay {
                    let head =
                        ObjectHead { group: cached.group, object: cached.object, end_of_group: cached.end_of_group };
                    self.send(shard, &Ask::Object { link_id, head, payload: cached.payload });
                }
                self.send(shard, &Ask::Filled { link_id });
            }
            RelayEvent::RefuseShard { shard, name, code, reason } => {
                self.send(shard, &Ask::Refused { name, code, reason })
            }
            RelayEvent::ShardMessage { shard, message } => {
                let short = if self.has_room(shard, message.len()) { None } else { cut_short(&message) };
                self.stats.ask_full += u64::from(short.is_some());
                self.send(shard, &Ask::Relay(short.unwrap_or(message)));
            }
            RelayEvent::ShardDone { shards, link_id, status } => {
                let media_seq = self.media_out.seq();
                self.followers.end(link_id);
                for shard in shards {
                    self.send(shard, &Ask::Done { link_id, status: status.to_u64(), media_seq });
                }
            }
            RelayEvent::ShardObject { link_id, group, object, payload, end_of_group } => {
                let head = ObjectHead { group, object, end_of_group }.encode();
                self.media_out.publish_parts(link_id.0, tsorig_us, &[&head, &payload]);
                self.stats.media_published += 1;
                for follower in self.followers.of(link_id) {
                    if let Some(wake) = self.wake.get_mut(*follower) {
                        *wake = true;
                    }
                }
            }
            other => return Some(other),
        }
        None
    }

    /// Whether a replay, or a part of a fetch, may be put behind what waits already. One always may be under way.
    fn has_room(&self, shard: usize, len: usize) -> bool {
        let Some(Some(peer)) = self.peers.get(shard) else { return false };
        peer.backlog_len == 0 || peer.backlog_len.saturating_add(len) <= BACKLOG_LEN_MAX
    }

    /// Sends a question, unless the same one is the last about its track that waits: a shard that does not read for long is
    /// asked once.
    fn ask(&mut self, shard: usize, question: &Ask) {
        let Some(Some(peer)) = self.peers.get_mut(shard) else { return };
        let mut wire = Vec::new();
        question.encode(&mut wire);
        let last = peer.backlog.iter().rev().find(|waiting| is_question(waiting) && waiting.get(1..) == wire.get(1..));
        if last.is_none_or(|last| *last != wire) {
            self.push(shard, wire);
        }
    }

    fn send(&mut self, shard: usize, message: &Ask) {
        let mut wire = Vec::new();
        message.encode(&mut wire);
        self.push(shard, wire);
    }

    fn push(&mut self, shard: usize, wire: Vec<u8>) {
        let Some(Some(peer)) = self.peers.get_mut(shard) else { return };
        peer.backlog_len += wire.len();
        peer.backlog.push_back(wire);
        if let Some(wake) = self.wake.get_mut(shard) {
            *wake = true;
        }
    }

    /// Moves waiting messages into the links and wakes the shards that have something to read. True while some wait.
    pub fn flush(&mut self) -> bool {
        let mut waiting = false;
        for peer in self.peers.iter_mut().flatten() {
            peer.drain_backlog(&mut self.stats);
            waiting |= !peer.backlog.is_empty();
        }
        for (other, wake) in self.wake.iter_mut().enumerate() {
            if std::mem::take(wake)
                && other != self.shard
                && let Some(mailbox) = self.mailboxes.get(other)
            {
                mailbox.wake();
            }
        }
        waiting
    }
}

impl Peer {
    fn join(shards: &Workspace, shard: usize, other: usize) -> Result<Self, RingsError> {
        let (out, back) = (names::ask(shard, other), names::ask(other, shard));
        Ok(Self {
            media_in: shards.link_reader(&names::media(other))?,
            media_position: shards.fseq(&names::media_reader(other, shard))?,
            ask_in: shards.reliable_reader(&back, shards.fseq(&back)?)?,
            ask_out: shards.reliable_writer(&out, &[shards.fseq(&out)?])?,
            backlog: VecDeque::new(),
            backlog_len: 0,
            followed: HashSet::new(),
            by_name: HashMap::new(),
            ending: VecDeque::new(),
        })
    }

    fn drain_backlog(&mut self, stats: &mut LinkStats) {
        while let Some(wire) = self.backlog.front() {
            match self.ask_out.try_publish(0, 0, wire) {
                Ok(_) => {}
                Err(streams_rings::Full::NoCredit) => {
                    stats.ask_full += 1;
                    return;
                }
                // An object beyond what the link can ever carry: the replay goes on without it.
                Err(streams_rings::Full::TooLong { .. }) => stats.malformed += 1,
            }
            self.backlog_len = self.backlog_len.saturating_sub(wire.len());
            self.backlog.pop_front();
        }
    }

    fn poll_asks(
        &mut self,
        now: Instant,
        other: usize,
        relay: &mut Relay,
        followers: &mut Followers,
        scratch: &mut Vec<u8>,
        stats: &mut LinkStats,
    ) -> bool {
        for polled in 0..POLL_MAX {
            match self.ask_in.poll(scratch) {
                Polled::Empty => return polled > 0,
                Polled::Message { .. } => match Ask::decode(scratch) {
                    Some(message) => {
                        if let Ask::Unsubscribe(name) = &message {
                            followers.remove(other, name);
                        }
                        self.ask(now, other, message, relay);
                    }
                    None => stats.malformed += 1,
                },
                Polled::Skipped => {}
                Polled::Overrun { .. } => stats.malformed += 1,
            }
        }
        true
    }

    fn ask(&mut self, now: Instant, other: usize, message: Ask, relay: &mut Relay) {
        match message {
            Ask::Subscribe(name) => relay.shard_subscribe(now, other, name),
            Ask::Unsubscribe(name) => relay.shard_unsubscribe(now, other, name),
            Ask::Accepted(accepted) => self.accepted(now, other, accepted, relay),
            Ask::Refused { name, code, reason } => {
                self.unfollow(&name);
                relay.remote_refused(now, other, name, code, &reason);
            }
            Ask::Busy(name) => relay.remote_busy(now, other, name),
            Ask::Object { link_id, head, payload } => {
                relay.remote_object(now, other, link_id, head.group, head.object, payload, head.end_of_group);
            }
            Ask::Filled { link_id } => relay.remote_filled(now, other, link_id),
            Ask::Relay(message) => relay.shard_message(now, other, &message),
            Ask::Done { link_id, status, media_seq } => {
                self.ending.push_back((media_seq, link_id, PublishDone::from_u64(status)));
            }
        }
    }

    fn accepted(&mut self, now: Instant, other: usize, accepted: Accepted, relay: &mut Relay) {
        let Accepted { name, link_id, priority, pinned, largest, media_seq } = accepted;
        if !relay.remote_accepted(now, other, name.clone(), link_id, priority, pinned, largest) {
            return;
        }
        // Followed from here on: what the media link brings before the replay is complete is kept by the relay.
        let fresh = self.followed.insert(link_id);
        if let Some(old) = self.by_name.insert(name, link_id).filter(|old| *old != link_id) {
            self.followed.remove(&old);
        }
        // Sequence numbers wrap; the difference tells the order.
        if fresh && self.media_in.seq().wrapping_sub(media_seq) as i64 > 0 {
            // The answer came late, and objects behind the replay may have passed by unknown. The next replay has them.
            relay.remote_missed(now, other, link_id);
        }
    }

    fn unfollow(&mut self, name: &FullTrackName) {
        if let Some(link_id) = self.by_name.remove(name) {
            self.followed.remove(&link_id);
        }
    }

    /// Ends the tracks whose last object has been read.
    fn end_tracks(&mut self, now: Instant, other: usize, relay: &mut Relay) {
        while let Some((media_seq, link_id, status)) = self.ending.front().copied() {
            // Sequence numbers wrap; the difference tells the order.
            if self.media_in.seq().wrapping_sub(media_seq) as i64 >= 0 {
                self.ending.pop_front();
                self.followed.remove(&link_id);
                self.by_name.retain(|_, id| *id != link_id);
                relay.remote_done(now, other, link_id, status);
            } else {
                return;
            }
        }
    }

    fn poll_media(
        &mut self,
        now: Instant,
        other: usize,
        relay: &mut Relay,
        scratch: &mut Vec<u8>,
        stats: &mut LinkStats,
    ) -> bool {
        for polled in 0..POLL_MAX {
            let followed = &self.followed;
            match self.media_in.poll(|sig| followed.contains(&LinkId(sig)), scratch) {
                Polled::Empty => {
                    self.media_position.publish(self.media_in.seq());
                    self.end_tracks(now, other, relay);
                    return polled > 0;
                }
                Polled::Skipped => {}
                Polled::Overrun { lost } => {
                    stats.media_overrun += lost;
                    relay.remote_lost(now, other);
                }
                Polled::Message { sig, .. } => {
                    let Some((head, payload)) = ObjectHead::decode(scratch) else {
                        stats.malformed += 1;
                        continue;
                    };
                    // The one copy of this shard: all its viewers share these bytes.
                    let payload = Bytes::copy_from_slice(payload);
                    stats.media_received += 1;
                    let link_id = LinkId(sig);
                    relay.remote_object(now, other, link_id, head.group, head.object, payload, head.end_of_group);
                }
            }
        }
        self.media_position.publish(self.media_in.seq());
        self.end_tracks(now, other, relay);
        true
    }
}
