//! This shard's ends of the links to the other shards: objects out once for all, questions and replays pairwise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use streams_relay_core::relay::{FullTrackName, PublishDone, Relay, RelayEvent};
use streams_rings::schema::names;
use streams_rings::{LinkReader, LinkWriter, Polled, ReliableReader, ReliableWriter, RingsError, Workspace};

use super::mailbox::Mailbox;
use super::messages::{Ask, ObjectHead};

/// Bytes of questions and replays that may wait for one other shard. A replay is bounded by the cache of its track (32 MiB
/// by default), so this is several tracks at once; beyond it the asker is refused and asks again.
const BACKLOG_LEN_MAX: usize = 128 << 20;
/// Messages taken from one link in one turn, so that no link starves the packets.
const POLL_MAX: usize = 256;
/// Objects held for tracks that were asked for and not answered yet. An answer takes well under a millisecond; a shard that
/// takes longer than this much media costs a refill.
const HELD_LEN_MAX: usize = 64 << 20;

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
    scratch: Vec<u8>,
    stats: LinkStats,
}

struct Peer {
    media_in: LinkReader,
    ask_in: ReliableReader,
    ask_out: ReliableWriter,
    backlog: VecDeque<Vec<u8>>,
    backlog_len: usize,
    /// Link ids of tracks that live there and are followed here.
    followed: HashSet<u64>,
    by_name: HashMap<FullTrackName, u64>,
    /// Tracks asked for and not answered. Until then their link id is unknown here, and objects published right after the
    /// answer was written may be read from the media link before the answer is read from the ask link.
    asked: HashSet<FullTrackName>,
    held: Vec<(u64, ObjectHead, Bytes)>,
    held_len: usize,
    /// Ends of tracks, each with the position of the media link that has to be reached first.
    ending: VecDeque<(u64, u64, PublishDone)>,
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
            mailboxes,
            scratch: Vec::new(),
            stats: LinkStats::default(),
        })
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
            busy |= peer.poll_asks(now, other, relay, &mut self.scratch, &mut self.stats);
            busy |= peer.poll_media(now, other, relay, &mut self.scratch, &mut self.stats);
        }
        busy
    }

    /// Carries out the events that concern other shards; gives the rest back.
    pub fn handle(&mut self, event: RelayEvent, tsorig_us: u32) -> Option<RelayEvent> {
        match event {
            RelayEvent::AskShard { shard, name } => {
                if let Some(Some(peer)) = self.peers.get_mut(shard) {
                    peer.asked.insert(name.clone());
                }
                self.send(shard, &Ask::Subscribe(name));
            }
            RelayEvent::DropShard { shard, name } => {
                if let Some(Some(peer)) = self.peers.get_mut(shard)
                    && let Some(link_id) = peer.by_name.remove(&name)
                {
                    peer.followed.remove(&link_id);
                }
                self.send(shard, &Ask::Unsubscribe(name));
            }
            RelayEvent::AnswerShard { shard, name, link_id, priority, pinned, largest, replay } => {
                self.send(shard, &Ask::Accepted { name, link_id, priority, pinned, largest });
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
            RelayEvent::ShardDone { shards, link_id, status } => {
                let media_seq = self.media_out.seq();
                for shard in shards {
                    self.send(shard, &Ask::Done { link_id, status: status.to_u64(), media_seq });
                }
            }
            RelayEvent::ShardObject { link_id, group, object, payload, end_of_group } => {
                let head = ObjectHead { group, object, end_of_group }.encode();
                self.media_out.publish_parts(link_id, tsorig_us, &[&head, &payload]);
                self.stats.media_published += 1;
                self.wake.fill(true);
            }
            other => return Some(other),
        }
        None
    }

    fn send(&mut self, shard: usize, message: &Ask) {
        let Some(Some(peer)) = self.peers.get_mut(shard) else { return };
        let mut wire = Vec::new();
        message.encode(&mut wire);
        if peer.backlog_len + wire.len() > BACKLOG_LEN_MAX {
            self.stats.ask_full += 1;
            return;
        }
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
            ask_in: shards.reliable_reader(&back, shards.fseq(&back)?)?,
            ask_out: shards.reliable_writer(&out, &[shards.fseq(&out)?])?,
            backlog: VecDeque::new(),
            backlog_len: 0,
            followed: HashSet::new(),
            by_name: HashMap::new(),
            asked: HashSet::new(),
            held: Vec::new(),
            held_len: 0,
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
        scratch: &mut Vec<u8>,
        stats: &mut LinkStats,
    ) -> bool {
        for polled in 0..POLL_MAX {
            match self.ask_in.poll(scratch) {
                Polled::Empty => return polled > 0,
                Polled::Message { .. } => match Ask::decode(scratch) {
                    Some(message) => self.ask(now, other, message, relay),
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
            Ask::Accepted { name, link_id, priority, pinned, largest } => {
                // Followed from here on: what the media link brings before the replay is complete is kept by the relay.
                self.followed.insert(link_id);
                if let Some(old) = self.by_name.insert(name.clone(), link_id).filter(|old| *old != link_id) {
                    self.followed.remove(&old);
                }
                relay.remote_accepted(now, other, name.clone(), link_id, priority, pinned, largest);
                for (_, head, payload) in self.held.iter().filter(|(held, ..)| *held == link_id) {
                    relay.remote_object(
                        now,
                        other,
                        link_id,
                        head.group,
                        head.object,
                        payload.clone(),
                        head.end_of_group,
                    );
                }
                self.answered(&name);
            }
            Ask::Refused { name, code, reason } => {
                self.answered(&name);
                relay.remote_refused(now, other, name, code, &reason);
            }
            Ask::Object { link_id, head, payload } => {
                relay.remote_object(now, other, link_id, head.group, head.object, payload, head.end_of_group);
            }
            Ask::Filled { link_id } => relay.remote_filled(now, other, link_id),
            Ask::Done { link_id, status, media_seq } => {
                self.ending.push_back((media_seq, link_id, PublishDone::from_u64(status)));
            }
        }
    }

    fn answered(&mut self, name: &FullTrackName) {
        self.asked.remove(name);
        if self.asked.is_empty() {
            self.held.clear();
            self.held_len = 0;
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

    fn hold(&mut self, now: Instant, other: usize, held: (u64, ObjectHead, Bytes), relay: &mut Relay) {
        self.held_len += held.2.len();
        self.held.push(held);
        if self.held_len > HELD_LEN_MAX {
            self.held.clear();
            self.held_len = 0;
            relay.remote_lost(now, other);
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
            let (followed, holding) = (&self.followed, !self.asked.is_empty());
            match self.media_in.poll(|link_id| holding || followed.contains(&link_id), scratch) {
                Polled::Empty => {
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
                    if self.followed.contains(&sig) {
                        stats.media_received += 1;
                        relay.remote_object(now, other, sig, head.group, head.object, payload, head.end_of_group);
                    } else {
                        self.hold(now, other, (sig, head, payload), relay);
                    }
                }
            }
        }
        self.end_tracks(now, other, relay);
        true
    }
}
