//! SRT ingest: one socket a shard, one task for all its callers. What an encoder does apart from that is [`super::encoder`].
//!
//! ```text
//!   socket --> induction: a cookie goes back, nothing is kept
//!          --> conclusion: stream key --> home here: accepted, media flows
//!          |                          '-> elsewhere: the datagram is tossed there, unanswered
//!          '-> of a connection: the socket id names its shard, which is this one or gets it tossed
//! ```
//!
//! The kernel keeps a caller on one shard's socket, whichever shard is its input's home. Its connection lives at home from its first
//! answer on, and what it sends crosses by the toss link: a copy of 6 Mbit/s, of which nothing waits. So no socket moves, and the
//! shard between keeps nothing.
//!
//! **Pace.** While anybody publishes, the socket is looked at every two milliseconds: packets gather, and so do the times at which
//! buffered ones are due. That is late by a millisecond on average, on a latency of a hundred.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::future;
use streams_ingest::srt::{Opened, SocketId};
use streams_ingest::{Answer, Refusal, Session, SrtFront, SrtRoute, SrtSession};
use streams_logs::Seldom;
use tracing::{debug, warn};

use super::door::Door;
use super::encoder::{Encoder, Step, datagrams};
use super::line::DatagramLine;
use crate::broadcast::Kick;
use crate::host::{HostedSocket, sleep_until};
use crate::shard::Shard;

/// The largest datagram of SRT.
const DATAGRAM_LEN_MAX: usize = 1500;
/// Datagrams taken before timers and others have their turn.
const BATCH: usize = 256;
/// Datagrams handled in one go: of some microseconds each.
const DATAGRAMS_A_SLICE: usize = 16;
/// How long packets and timers gather while somebody publishes.
const GATHER: Duration = Duration::from_millis(2);
/// The longest wait for a first datagram.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a publishing encoder's link is told to its input.
const LINK_INTERVAL: Duration = Duration::from_secs(1);
/// Datagrams tossed to this shard that may wait: of a tenth of a second at 100 Mbit/s.
const TOSSED_MAX: usize = 1_024;
/// Pause after a receive that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(50);

/// A datagram and who sent it.
pub(crate) type Datagram = (Vec<u8>, SocketAddr);

/// What other shards tossed to this one's callers.
#[derive(Default)]
pub(crate) struct Tossed {
    waiting: RefCell<VecDeque<Datagram>>,
    waker: RefCell<Option<Waker>>,
}

impl Tossed {
    /// Datagrams of this shard's callers. What finds no room is lost as on the way, and sent again; gives how many.
    pub(crate) fn put(&self, datagrams: Vec<Datagram>) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let room = TOSSED_MAX.saturating_sub(waiting.len());
        let lost = datagrams.len().saturating_sub(room);
        waiting.extend(datagrams.into_iter().take(room));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        lost
    }

    fn take(&self) -> Option<Datagram> {
        self.waiting.borrow_mut().pop_front()
    }

    async fn any(&self) {
        poll_fn(|context| {
            if !self.waiting.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A caller whose encoder publishes.
struct Caller {
    encoder: Encoder<SrtSession>,
    line: Rc<DatagramLine>,
    peer: SocketAddr,
    /// Its own socket id, by which a repeated conclusion is known.
    id: u32,
    link_due: Instant,
}

/// SRT at one shard.
pub(crate) struct SrtEdge {
    shard: Rc<RefCell<Shard>>,
    index: u8,
    socket: HostedSocket,
    local: SocketAddr,
    front: SrtFront,
    door: Rc<Door>,
    tossed: Rc<Tossed>,
    callers: HashMap<SocketId, Caller>,
    by_peer: HashMap<(SocketAddr, u32), SocketId>,
    connections_made: u32,
    out: Vec<u8>,
}

impl SrtEdge {
    /// Of a bound socket.
    pub(crate) fn new(
        shard: Rc<RefCell<Shard>>,
        socket: HostedSocket,
        front: SrtFront,
        door: Rc<Door>,
        tossed: Rc<Tossed>,
    ) -> std::io::Result<Self> {
        let local = socket.local_addr()?;
        let index = u8::try_from(shard.borrow().index()).unwrap_or(u8::MAX);
        shard.borrow_mut().take_datagrams_of(local.port());
        Ok(Self {
            shard,
            index,
            socket,
            local,
            front,
            door,
            tossed,
            callers: HashMap::new(),
            by_peer: HashMap::new(),
            connections_made: 0,
            out: Vec::new(),
        })
    }

    /// Serves callers until the shard ends.
    pub(crate) async fn run(mut self) {
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        loop {
            let gathers = Instant::now() + GATHER;
            if self.callers.is_empty() {
                future::or(self.socket.readable(Instant::now() + PATIENCE), self.tossed.any()).await;
            } else {
                sleep_until(gathers).await;
            }
            self.receive(&mut buffer).await;
            self.timers().await;
            self.count();
        }
    }

    fn count(&self) {
        let counters = self.front.counters();
        let mut shard = self.shard.borrow_mut();
        let stats = shard.ingest_stats();
        (stats.srt_rate_limited, stats.srt_junk) = (counters.rate_limited, counters.junk);
    }

    async fn receive(&mut self, buffer: &mut [u8]) {
        for number in 1..=BATCH {
            let received = match self.socket.receive(buffer) {
                Ok(received) => received,
                Err(error) => {
                    static FAILED: Seldom = Seldom::new();
                    if let Some(left_out) = FAILED.pass(Instant::now()) {
                        warn!(%error, left_out, "an SRT datagram could not be received");
                    }
                    return sleep_until(Instant::now() + FAILED_PAUSE).await;
                }
            };
            let tossed = self.tossed.take();
            if received.is_none() && tossed.is_none() {
                return;
            }
            if let Some((len, peer)) = received {
                self.datagram(peer, buffer.get(..len).unwrap_or_default(), false).await;
            }
            if let Some((datagram, peer)) = tossed {
                self.datagram(peer, &datagram, true).await;
            }
            if number % DATAGRAMS_A_SLICE == 0 {
                future::yield_now().await;
            }
        }
    }

    /// `tossed` here by another shard: it is tossed no further.
    async fn datagram(&mut self, peer: SocketAddr, datagram: &[u8], tossed: bool) {
        let now = Instant::now();
        match self.front.route(now, datagram) {
            SrtRoute::Junk => {}
            SrtRoute::Induction => {
                if let Some(answer) = self.front.induction(now, peer, datagram) {
                    self.send(&answer, peer);
                }
            }
            SrtRoute::Conclusion { caller } => match self.by_peer.get(&(peer, caller)).copied() {
                Some(socket) => self.give(socket, peer, datagram).await,
                None => self.conclusion(peer, caller, datagram, tossed).await,
            },
            SrtRoute::Connection(socket) if socket.shard() == self.index => self.give(socket, peer, datagram).await,
            SrtRoute::Connection(socket) if !tossed => self.toss(socket.shard(), peer, datagram),
            SrtRoute::Connection(_) => {}
        }
    }

    async fn give(&mut self, socket: SocketId, peer: SocketAddr, datagram: &[u8]) {
        let Some(caller) = self.callers.get_mut(&socket).filter(|caller| caller.peer == peer) else { return };
        let step = caller.encoder.datagram(Some(datagram), &mut self.out).await;
        self.after(socket, peer, step);
    }

    /// A caller that may become an encoder.
    async fn conclusion(&mut self, peer: SocketAddr, id: u32, datagram: &[u8], tossed: bool) {
        self.connections_made = self.connections_made.wrapping_add(1);
        let socket = SocketId::new(self.index, self.connections_made);
        let mut session = match SrtSession::open(&self.front, Instant::now(), peer, socket, datagram) {
            Opened::Session(session) => session,
            Opened::Refused { answer, reason } => {
                if let Some(answer) = answer {
                    debug!(%peer, reason, "SRT caller refused");
                    self.shard.borrow_mut().ingest_stats().refused += 1;
                    self.send(&answer, peer);
                }
                return;
            }
        };
        let line = Rc::new(DatagramLine::default());
        let place = self.door.enter(peer.ip(), &line, &mut self.shard.borrow_mut().ingest_stats().refused);
        let Some(place) = place else {
            // Every place is held by those who are known here.
            let _ = session.answer(Answer::RefuseAs(Refusal::Full, "every place is taken"));
            session.poll_transmit(&mut self.out);
            let answer = std::mem::take(&mut self.out);
            return self.send(&answer, peer);
        };
        let kick = Kick::new(line.clone());
        let mut encoder = Encoder::new(self.shard.clone(), session, place, peer, kick);
        let step = encoder.datagram(None, &mut self.out).await;
        if let Step::HandOver(home, _) = step {
            if !tossed {
                self.toss(u8::try_from(home).unwrap_or(u8::MAX), peer, datagram);
                self.shard.borrow_mut().ingest_stats().hand_overs += 1;
            }
            return;
        }
        self.by_peer.insert((peer, id), socket);
        self.callers.insert(socket, Caller { encoder, line, peer, id, link_due: Instant::now() + LINK_INTERVAL });
        self.after(socket, peer, step);
    }

    /// Sends what a caller is told, and forgets one that is over.
    fn after(&mut self, socket: SocketId, peer: SocketAddr, step: Step) {
        let out = std::mem::take(&mut self.out);
        datagrams(&out).for_each(|datagram| self.send(datagram, peer));
        self.out = out;
        self.out.clear();
        if !matches!(step, Step::Go)
            && let Some(mut caller) = self.callers.remove(&socket)
        {
            caller.encoder.leave();
            self.by_peer.remove(&(caller.peer, caller.id));
        }
    }

    /// Connections that were ended from outside, or whose time has come.
    async fn timers(&mut self) {
        let now = Instant::now();
        let due: Vec<SocketId> = self
            .callers
            .iter()
            .filter(|(_, caller)| caller.line.is_ended() || caller.encoder.next_timeout().is_some_and(|due| due <= now))
            .map(|(socket, _)| *socket)
            .collect();
        for (number, socket) in due.into_iter().enumerate() {
            let Some(caller) = self.callers.get_mut(&socket) else { continue };
            let peer = caller.peer;
            let step = if caller.line.is_ended() {
                caller.encoder.ended(&mut self.out);
                Step::End
            } else {
                caller.encoder.datagram(None, &mut self.out).await
            };
            if caller.link_due <= now {
                caller.link_due = now + LINK_INTERVAL;
                caller.encoder.tell_link();
            }
            self.after(socket, peer, step);
            if number % DATAGRAMS_A_SLICE == DATAGRAMS_A_SLICE - 1 {
                future::yield_now().await;
            }
        }
    }

    fn toss(&self, home: u8, peer: SocketAddr, datagram: &[u8]) {
        self.shard.borrow_mut().toss_datagram(home, datagram, peer, self.local);
    }

    fn send(&self, datagram: &[u8], peer: SocketAddr) {
        if let Err(error) = self.socket.send(datagram, peer) {
            debug!(%peer, %error, "an SRT datagram could not be sent");
        }
    }
}
