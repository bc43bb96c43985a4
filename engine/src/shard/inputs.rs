//! Live inputs whose home is this shard: who may push, what their media becomes, and how long viewers are kept without it.
//!
//! ```text
//!   idle --admit--> active --connection lost--> reconnecting --admit--> active
//!                     |  graceful end, disabled, deleted   |  window over
//!                     '--------------> idle <--------------'
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use streams_ingest::{AccessUnit, Notice, StreamMetadata};
use streams_relay_core::relay::Relay;
use streams_rings::schema::{Home, RuntimeEntry, names};
use streams_rings::{RingsError, Words, Workspace};

use super::announced::Announced;
use super::broadcast::Broadcast;
use super::group_store::{FileWork, GroupStore};
use super::runtime::RuntimeTable;
use super::tables::{KeyOwner, Tables, sha256_hex};
use super::trouble::Trouble;

/// How an encoder's connection is told to end, from outside its task.
pub struct Kick {
    reason: RefCell<Option<String>>,
    socket: Rc<TcpStream>,
}

impl Kick {
    /// `socket` is the encoder's connection.
    pub fn new(socket: Rc<TcpStream>) -> Rc<Self> {
        Rc::new(Self { reason: RefCell::new(None), socket })
    }

    /// Ends the connection: its task wakes up with end of stream and tells the encoder `reason`.
    fn kick(&self, reason: &str) {
        self.reason.borrow_mut().get_or_insert_with(|| reason.to_owned());
        // A socket that is gone already is what was wanted.
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Why the connection was ended from here, if it was.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }
}

/// Answer to an encoder that asks to publish.
pub enum Admission {
    /// This shard is the input's home.
    Here(Box<KeyOwner>),
    /// Another shard is.
    Elsewhere(usize),
    /// It may not publish: what to tell it, and the input that the key belongs to, if any.
    Refused {
        /// Words for the encoder and the operator.
        reason: &'static str,
        /// `lv_…`
        input: Option<String>,
    },
}

/// One encoder's connection to an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `lv_…`
    pub input: String,
    /// Which of the input's connections; an older one's media is ignored.
    pub connection: u64,
}

struct LiveInput {
    index: usize,
    connection: Option<(u64, Rc<Kick>)>,
    key_sha256: String,
    /// Set while the encoder is away: when the broadcast ends.
    reconnect_until: Option<Instant>,
    reconnect_window: Duration,
    broadcast: Broadcast,
    /// Of the present connection.
    trouble: Trouble,
    runtime: RuntimeEntry,
}

impl LiveInput {
    /// Cuts the encoder when its key no longer counts: rotated, or at the end of its grace.
    fn check_key(&self, owner: &KeyOwner, unix_ms: u64) {
        let mut keys = owner.entry.key_hashes.iter();
        let good = keys.any(|key| key.sha256 == self.key_sha256 && key.expires_at_ms.is_none_or(|end| unix_ms < end));
        if let Some((_, kick)) = self.connection.as_ref().filter(|_| !good) {
            kick.kick("the stream key was rotated");
        }
    }

    /// Brings the warnings up to date. True when they changed.
    fn check_trouble(&mut self, now: Instant) -> bool {
        let without_start_ms = if self.connection.is_some() { self.broadcast.without_start_ms() } else { 0 };
        let warnings = self.trouble.warnings(now, &self.runtime.input, without_start_ms);
        if warnings == self.runtime.warnings {
            return false;
        }
        self.runtime.warnings = warnings;
        if let Some(error) = self.trouble.error(now) {
            self.runtime.last_error = Some(error);
        }
        true
    }
}

/// Everything a step on inputs may touch.
pub struct InputContext<'a> {
    /// Time of this turn.
    pub now: Instant,
    /// Wall clock.
    pub unix_ms: u64,
    /// Where media goes.
    pub relay: &'a mut Relay,
    /// Where the namespace is told to other shards.
    pub announced: &'a mut Announced,
}

/// The inputs of one shard.
pub struct Inputs {
    shard: usize,
    homes: Words,
    runtime: RuntimeTable,
    groups: GroupStore,
    live: HashMap<String, LiveInput>,
    connections_made: u64,
    /// By the normalisers of broadcasts that are over.
    units_dropped: u64,
}

impl Inputs {
    /// Joins this shard's runtime table and the homes.
    pub fn join(shards: &Workspace, shard: usize, groups: GroupStore) -> Result<Self, RingsError> {
        Ok(Self {
            shard,
            homes: shards.words(names::HOMES)?,
            runtime: RuntimeTable::new(shards.table(&names::runtime(shard))?),
            groups,
            live: HashMap::new(),
            connections_made: 0,
            units_dropped: 0,
        })
    }

    /// Files to be written or removed since this was asked last.
    pub fn take_file_work(&mut self) -> Vec<FileWork> {
        self.groups.take_work()
    }

    /// Checks a stream key and claims the input's home.
    pub fn admit(&self, tables: &Tables, key: &str, unix_ms: u64) -> Admission {
        let Some(owner) = tables.input_of_key(key, unix_ms) else {
            return Admission::Refused {
                reason: "the stream key is not valid (wrong, rotated or deleted)",
                input: None,
            };
        };
        if !owner.entry.enabled {
            return Admission::Refused { reason: "this live input is disabled", input: Some(owner.entry.id) };
        }
        if !matches!(owner.entry.ingest.as_str(), "rtmp" | "any") {
            return Admission::Refused { reason: "this live input does not take RTMP", input: Some(owner.entry.id) };
        }
        match self.claim(owner.index) {
            Some(home) if home != self.shard => Admission::Elsewhere(home),
            Some(_) => Admission::Here(Box::new(owner)),
            None => {
                Admission::Refused { reason: "the input has no place in the home table", input: Some(owner.entry.id) }
            }
        }
    }

    /// The first shard that swaps itself in is home until the broadcast is over.
    fn claim(&self, index: usize) -> Option<usize> {
        if index >= self.homes.count() {
            return None;
        }
        let word = self.homes.get(index);
        let mut current = word.load(Ordering::Acquire);
        loop {
            if let Some(home) = Home::from_word(current) {
                return Some(usize::from(home.shard));
            }
            let mine = Home { shard: u16::try_from(self.shard).ok()?, epoch: (current >> 16) + 1 }.to_word();
            match word.compare_exchange(current, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(self.shard),
                Err(other) => current = other,
            }
        }
    }

    fn release(&self, index: usize) {
        if index >= self.homes.count() {
            return;
        }
        let word = self.homes.get(index);
        let current = word.load(Ordering::Acquire);
        if Home::from_word(current).is_some_and(|home| usize::from(home.shard) == self.shard) {
            // The epoch stays, the shard goes: a late compare-and-swap on the old word fails.
            let _ = word.compare_exchange(current, current & !0xffff, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// An admitted encoder does not begin after all: the home that was claimed for it is free again, unless the input is live.
    pub fn unclaim(&self, owner: &KeyOwner) {
        if !self.live.contains_key(&owner.entry.id) {
            self.release(owner.index);
        }
    }

    /// An admitted encoder begins. An older connection of the same input is told and closed: the newest wins.
    pub fn start(
        &mut self,
        context: &mut InputContext<'_>,
        owner: &KeyOwner,
        key: &str,
        kick: Rc<Kick>,
    ) -> Publication {
        self.connections_made += 1;
        let connection = self.connections_made;
        let id = owner.entry.id.clone();
        let reconnect_window = Duration::from_secs(u64::from(owner.entry.reconnect_window_s));
        // `active` is told when there is something to watch: when the catalog is out, or media flows again.
        let runtime = RuntimeEntry {
            input: id.clone(),
            state: "idle".into(),
            protocol: "rtmp".into(),
            shard: self.shard,
            since_ms: context.unix_ms,
            ..RuntimeEntry::default()
        };
        match self.live.get_mut(&id) {
            Some(input) => {
                if let Some((_, old)) = input.connection.take() {
                    old.kick("another encoder started with the same stream key; the newest wins");
                }
                input.broadcast.reconnect(context);
                let (tracks, state) =
                    (std::mem::take(&mut input.runtime.tracks), std::mem::take(&mut input.runtime.state));
                input.runtime = RuntimeEntry { tracks, state, ..runtime };
                input.trouble = Trouble::default();
                input.connection = Some((connection, kick));
                input.reconnect_until = None;
                input.reconnect_window = reconnect_window;
                input.key_sha256 = sha256_hex(key.as_bytes());
            }
            None => {
                let first_group_min = self.groups.load(&id).map_or(0, |last| last + 1);
                let broadcast = Broadcast::start(context, &owner.entry, first_group_min);
                let input = LiveInput {
                    index: owner.index,
                    connection: Some((connection, kick)),
                    key_sha256: sha256_hex(key.as_bytes()),
                    reconnect_until: None,
                    reconnect_window,
                    broadcast,
                    trouble: Trouble::default(),
                    runtime,
                };
                self.live.insert(id.clone(), input);
            }
        }
        self.publish_runtime(&id);
        Publication { input: id, connection }
    }

    /// One access unit. False: this connection is no longer the input's, or its media cannot be used.
    pub fn unit(&mut self, context: &mut InputContext<'_>, publication: &Publication, unit: AccessUnit) -> bool {
        let Some(input) = current(&mut self.live, publication) else { return false };
        let tracks_changed = input.broadcast.unit(context, unit);
        let begins = input.runtime.state != "active" && input.broadcast.has_catalog();
        if begins {
            input.runtime.state = "active".into();
            input.runtime.since_ms = context.unix_ms;
        }
        if tracks_changed {
            input.runtime.tracks = input.broadcast.runtime_tracks();
        }
        if tracks_changed || begins {
            self.publish_runtime(&publication.input);
        }
        true
    }

    /// The encoder's hints.
    pub fn metadata(&mut self, publication: &Publication, metadata: &StreamMetadata) {
        if let Some(input) = current(&mut self.live, publication) {
            input.broadcast.metadata(metadata);
        }
    }

    /// The session found something that the broadcaster should know.
    pub fn notice(&mut self, context: &mut InputContext<'_>, publication: &Publication, notice: Notice) {
        if let Some(input) = current(&mut self.live, publication) {
            input.trouble.notice(context.now, notice);
        }
    }

    /// The connection is over. `graceful`: the broadcaster ended the stream; otherwise viewers are kept for the window.
    pub fn lost(
        &mut self,
        context: &mut InputContext<'_>,
        publication: &Publication,
        graceful: bool,
        error: Option<&str>,
    ) {
        let Some(input) = current(&mut self.live, publication) else { return };
        input.connection = None;
        input.trouble = Trouble::default();
        input.runtime.warnings.clear();
        if let Some(error) = error {
            input.runtime.last_error = Some(error.to_owned());
        }
        if graceful || input.reconnect_window.is_zero() {
            return self.end(context, &publication.input);
        }
        input.broadcast.pause(context);
        input.reconnect_until = Some(context.now + input.reconnect_window);
        input.runtime.state = "reconnecting".into();
        input.runtime.since_ms = context.unix_ms;
        self.groups.save(&publication.input, input.broadcast.last_group());
        self.publish_runtime(&publication.input);
    }

    /// A refusal that an operator should see in the input's status although there is no broadcast.
    pub fn refused(&mut self, input: &str, unix_ms: u64, reason: &str) {
        let entry = match self.live.get_mut(input) {
            Some(live) => {
                live.runtime.last_error = Some(reason.to_owned());
                live.runtime.clone()
            }
            None => RuntimeEntry {
                input: input.to_owned(),
                state: "idle".into(),
                shard: self.shard,
                since_ms: unix_ms,
                last_error: Some(reason.to_owned()),
                ..RuntimeEntry::default()
            },
        };
        self.runtime.write(&entry);
    }

    /// Cuts an input's encoder; it may come back.
    pub fn disconnect(&self, input: &str, reason: &str) {
        if let Some((_, kick)) = self.live.get(input).and_then(|live| live.connection.as_ref()) {
            kick.kick(reason);
        }
    }

    /// Control changed entries: disabled and deleted inputs end, encoders on a key that no longer counts are cut.
    pub fn entries_changed(&mut self, context: &mut InputContext<'_>, tables: &Tables, changed: &[String]) {
        for id in changed {
            let (owner, live) = (tables.input(id), self.live.contains_key(id));
            match owner {
                // Some other shard's, if anybody's; one of them does the house work.
                None if !live && self.shard == 0 => self.groups.forget(id),
                _ if !live => {}
                Some(owner) if owner.entry.enabled => {
                    if let Some(input) = self.live.get(id) {
                        input.check_key(&owner, context.unix_ms);
                    }
                }
                Some(_) => {
                    self.disconnect(id, "this live input was disabled");
                    self.end(context, id);
                }
                None => {
                    self.disconnect(id, "this live input was deleted");
                    self.end(context, id);
                    self.groups.forget(id);
                }
            }
        }
    }

    /// Has what is saved of inputs that are in no table removed. The tables must be complete.
    pub fn forget_unknown(&mut self, tables: &Tables) {
        self.groups.forget_all_but(&tables.input_ids());
    }

    /// Housekeeping: windows that are over, keys whose grace has ended, group ids to disk.
    pub fn tick(&mut self, context: &mut InputContext<'_>, tables: &Tables) {
        let over: Vec<String> = self
            .live
            .iter()
            .filter(|(_, input)| input.reconnect_until.is_some_and(|until| context.now >= until))
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.end(context, &id);
        }
        for (id, input) in &mut self.live {
            input.broadcast.tick(context);
            self.groups.save(id, input.broadcast.last_group());
            if let Some(owner) = tables.input(id) {
                input.check_key(&owner, context.unix_ms);
            }
            if input.check_trouble(context.now) {
                self.runtime.write(&input.runtime);
            }
        }
    }

    /// The broadcast is over for its viewers.
    fn end(&mut self, context: &mut InputContext<'_>, id: &str) {
        let Some(mut input) = self.live.remove(id) else { return };
        input.broadcast.end(context);
        self.units_dropped += input.broadcast.units_dropped();
        self.groups.save(id, input.broadcast.last_group());
        self.release(input.index);
        match input.runtime.last_error.take() {
            Some(error) => self.refused(id, context.unix_ms, &error),
            None => self.runtime.clear(id),
        }
    }

    /// Ends every broadcast: the engine stops in good order.
    pub fn end_all(&mut self, context: &mut InputContext<'_>) {
        let ids: Vec<String> = self.live.keys().cloned().collect();
        for id in ids {
            self.disconnect(&id, "the server is shutting down");
            self.end(context, &id);
        }
    }

    /// Access units that normalisers dropped, of broadcasts that are over too.
    pub fn units_dropped(&self) -> u64 {
        self.units_dropped + self.live.values().map(|input| input.broadcast.units_dropped()).sum::<u64>()
    }

    fn publish_runtime(&mut self, id: &str) {
        if let Some(input) = self.live.get(id) {
            self.runtime.write(&input.runtime);
        }
    }
}

fn current<'a>(live: &'a mut HashMap<String, LiveInput>, publication: &Publication) -> Option<&'a mut LiveInput> {
    live.get_mut(&publication.input)
        .filter(|input| input.connection.as_ref().is_some_and(|(id, _)| *id == publication.connection))
}

/// Names of tracks are shared by all their objects.
pub(super) type TrackName = Arc<str>;
