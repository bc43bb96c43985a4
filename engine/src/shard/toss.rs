//! Tossed datagrams: a connection stays with the shard that accepted it, wherever later datagrams of it arrive.
//!
//! ```text
//!   shard i: datagram whose connection id names j  ->  toss.<i>.<j>  ->  shard j: QUIC endpoint, or SRT by its port
//! ```
//!
//! Every ordered pair of shards has a link (sizes: `contract::ShardsSizes`). Nobody waits: what an owner is too slow for is
//! lost like a packet on the way, counted, and QUIC sends it again. The owner answers from its own socket, so only what peers
//! send crosses, which is little: acknowledgements and requests of viewers that changed their address.

use std::sync::Arc;

use streams_contract::names;
use streams_rings::{Fseq, LinkReader, LinkWriter, Polled, RingsError, Workspace};

use super::mailbox::Mailbox;
use crate::address::{ADDRESS_LEN, decode, encode};
use crate::quic::Arrival;

/// Datagrams taken from one link in one turn, so that no shard starves the packets of this one.
const POLL_MAX: usize = 256;
/// `sig` of a datagram.
const SIG_DATAGRAM: u64 = 0;

/// What was tossed and caught since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TossStats {
    /// Datagrams handed to their owners.
    pub tossed: u64,
    /// Datagrams taken from other shards.
    pub caught: u64,
    /// Their bytes.
    pub caught_len: u64,
    /// Frags (one a datagram of up to 2 KiB) that others tossed and this shard was too slow for.
    pub overrun: u64,
}

/// One shard's ends of the toss links.
pub struct Tosses {
    peers: Vec<Option<Peer>>,
    scratch: Vec<u8>,
    stats: TossStats,
}

struct Peer {
    out: LinkWriter,
    back: LinkReader,
    /// Where `back` is, for monitors.
    position: Fseq,
    mailbox: Arc<Mailbox>,
    /// Datagrams left to take in this turn.
    budget: usize,
    /// Something was tossed there since the shard was woken last.
    wake: bool,
}

impl Tosses {
    /// Joins the links of `shard` among as many shards as there are mailboxes.
    pub fn join(shards: &Workspace, shard: usize, mailboxes: &[Arc<Mailbox>]) -> Result<Self, RingsError> {
        let join = |(other, mailbox): (usize, &Arc<Mailbox>)| {
            let peer = || -> Result<Peer, RingsError> {
                let back = names::toss(other, shard);
                let (back, position) = (shards.link_reader(&back)?, shards.fseq(&back)?);
                position.publish(back.seq());
                Ok(Peer {
                    out: shards.link_writer(&names::toss(shard, other))?,
                    back,
                    position,
                    mailbox: mailbox.clone(),
                    budget: POLL_MAX,
                    wake: false,
                })
            };
            (other != shard).then(peer).transpose()
        };
        let peers = mailboxes.iter().enumerate().map(join).collect::<Result<_, _>>()?;
        Ok(Self { peers, scratch: Vec::new(), stats: TossStats::default() })
    }

    /// Shows monitors what this shard lost of the others' links.
    pub fn tell_lost(&self) {
        for peer in self.peers.iter().flatten() {
            peer.position.tell_lost(peer.back.stats().lost_frags);
        }
    }

    /// Counters.
    pub fn stats(&self) -> TossStats {
        self.stats
    }

    /// Hands a datagram to its owner. False when there is no such other shard: this engine ran with more of them once.
    pub fn toss(&mut self, owner: u8, datagram: &[u8], arrival: Arrival, now_us: u32) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(usize::from(owner)) else { return false };
        peer.out.publish_parts(SIG_DATAGRAM, now_us, &[&encode(arrival.from), &encode(arrival.to), datagram]);
        peer.wake = true;
        self.stats.tossed += 1;
        true
    }

    /// Datagrams that were caught and found no room.
    pub fn count_lost(&mut self, count: u64) {
        self.stats.overrun += count;
    }

    /// Wakes the shards that something was tossed to.
    pub fn flush(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if std::mem::take(&mut peer.wake) {
                peer.mailbox.wake();
            }
        }
    }

    /// A turn begins: a share of each link may be taken.
    pub fn begin_turn(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            peer.budget = POLL_MAX;
        }
    }

    /// The next datagram of another shard, in memory of this shard's own so that it can be decrypted in place. `None`: no more,
    /// or none in this turn.
    pub fn next(&mut self) -> Option<(&mut [u8], Arrival)> {
        let Self { peers, scratch, stats } = self;
        for peer in peers.iter_mut().flatten() {
            while peer.budget > 0 {
                match peer.back.poll(|_| true, scratch) {
                    Polled::Empty => break,
                    Polled::Skipped => peer.budget -= 1,
                    Polled::Overrun { lost } => {
                        peer.budget -= 1;
                        stats.overrun += lost;
                    }
                    Polled::Message { .. } => {
                        peer.budget -= 1;
                        stats.caught += 1;
                        let (from, rest) = scratch.split_first_chunk_mut::<ADDRESS_LEN>()?;
                        let (to, datagram) = rest.split_first_chunk_mut::<ADDRESS_LEN>()?;
                        stats.caught_len += datagram.len() as u64;
                        return Some((datagram, Arrival { from: decode(from), to: decode(to) }));
                    }
                }
            }
            if peer.budget < POLL_MAX {
                peer.position.publish(peer.back.seq());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use streams_contract::{ShardsSizes, shards_workspace};

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn shards(count: usize) -> (Vec<Tosses>, Folder) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("streams-toss-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(unique));
        std::fs::create_dir(&folder.0).expect("a folder");
        let sizes = ShardsSizes { rx_len: 1 << 20, media_len: 1 << 20, ask_len: 1 << 20, ..ShardsSizes::default() };
        let workspace = shards_workspace(count, sizes).create(folder.0.join("shards.1")).expect("a workspace");
        let mailboxes: Vec<_> = (0..count).map(|_| Mailbox::new().expect("an eventfd")).collect();
        let join = |shard| Tosses::join(&workspace, shard, &mailboxes).expect("the links are there");
        ((0..count).map(join).collect(), folder)
    }

    fn arrival(port: u16) -> Arrival {
        let from: SocketAddr = ([192, 0, 2, 7], port).into();
        Arrival { from, to: "[2001:db8::1]:4433".parse().expect("an address") }
    }

    fn caught(tosses: &mut Tosses) -> Vec<(Vec<u8>, SocketAddr, SocketAddr)> {
        tosses.begin_turn();
        let mut all = Vec::new();
        while let Some((datagram, arrival)) = tosses.next() {
            all.push((datagram.to_vec(), arrival.from, arrival.to));
        }
        all
    }

    #[test]
    fn a_datagram_reaches_its_owner_alone_with_both_addresses() {
        let (mut shards, _folder) = shards(3);
        assert!(shards[0].toss(2, b"for two", arrival(1), 0));
        assert!(shards[1].toss(2, &[7; 1500], arrival(2), 0));
        let to = arrival(0).to;
        assert_eq!(caught(&mut shards[1]), []);
        assert_eq!(caught(&mut shards[0]), []);
        let wanted = [(b"for two".to_vec(), arrival(1).from, to), (vec![7; 1500], arrival(2).from, to)];
        assert_eq!(caught(&mut shards[2]), wanted);
        assert_eq!(caught(&mut shards[2]), []);
        assert_eq!(shards[0].stats().tossed, 1);
        assert_eq!(shards[2].stats(), TossStats { tossed: 0, caught: 2, caught_len: 1_507, overrun: 0 });
    }

    #[test]
    fn nothing_is_tossed_to_a_shard_that_is_not_there_nor_to_oneself() {
        let (mut shards, _folder) = shards(2);
        for owner in [0, 2, 255] {
            assert!(!shards[0].toss(owner, b"?", arrival(1), 0));
        }
        assert_eq!(shards[0].stats(), TossStats::default());
    }

    #[test]
    fn what_an_owner_is_too_slow_for_is_counted_and_the_newest_goes_on() {
        let (mut shards, _folder) = shards(2);
        for number in 0..5_000u32 {
            shards[0].toss(1, &number.to_le_bytes(), arrival(1), 0);
        }
        assert_eq!(caught(&mut shards[1]), []);
        assert!(shards[0].toss(1, b"newest", arrival(1), 0));
        assert_eq!(caught(&mut shards[1]).len(), 1);
        let (sent, got) = (shards[0].stats(), shards[1].stats());
        assert_eq!(sent.tossed, got.caught + got.overrun);
        assert_eq!((got.caught, got.overrun), (1, 5_000));
    }

    #[test]
    fn one_turn_takes_a_share_and_the_next_the_rest() {
        let (mut shards, _folder) = shards(2);
        for _ in 0..POLL_MAX + 10 {
            shards[0].toss(1, b"x", arrival(1), 0);
        }
        assert_eq!(caught(&mut shards[1]).len(), POLL_MAX);
        assert_eq!(caught(&mut shards[1]).len(), 10);
    }
}
