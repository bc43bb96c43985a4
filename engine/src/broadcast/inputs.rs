//! Live inputs whose home is this shard: who may push, and how long viewers are kept without media.
//!
//! ```text
//!   idle --admit--> active --connection lost--> reconnecting --admit--> active
//!                     |  graceful end, disabled, deleted   |  window over
//!                     '--------------> idle <--------------'
//! ```
//!
//! An input has one source at a time, an encoder or MoQT sessions, and the newest wins, also across protocols.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use streams_contract::{InputState, Protocol, RuntimeEntry, RuntimeLink, names};
use streams_ingest::{LinkStats, Notice, Refusal, StreamMetadata};
use streams_media::AccessUnit;
use streams_relay_core::relay::{Namespace, Relay, SessionId};
use streams_rings::{RingsError, Workspace};

use super::encoder::EncoderSource;
use super::group_store::{FileWork, GroupStore};
use super::home::Homes;
use super::runtime::RuntimeTable;
use super::source::Source;
use super::trouble::{Signs, Trouble};
use crate::directory::{Announced, KeyOwner, Tables, sha256_hex};
use crate::edge::line::Line;

/// Told to whoever has to go for a newer publisher.
pub(super) const NEWEST_WINS: &str = "another encoder started with the same stream key; the newest wins";
/// How long what another source may take over is kept for that.
pub(super) const TAKE_OVER_PATIENCE: Duration = Duration::from_secs(5);

/// How an encoder's connection is told to end, from outside its task.
pub struct Kick {
    reason: RefCell<Option<String>>,
    line: Rc<dyn Line>,
}

impl Kick {
    /// `line` is the encoder's connection.
    pub fn new(line: Rc<dyn Line>) -> Rc<Self> {
        Rc::new(Self { reason: RefCell::new(None), line })
    }

    /// Ends the connection: its task wakes up with end of stream and tells the encoder `reason`.
    pub(super) fn kick(&self, reason: &str) {
        self.reason.borrow_mut().get_or_insert_with(|| reason.to_owned());
        self.line.stop_reading();
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
        reason: String,
        /// `lv_…`
        input: Option<String>,
        /// The same for protocols with codes.
        refusal: Refusal,
    },
}

impl Admission {
    /// [`Admission::Refused`].
    pub fn refused(reason: impl Into<String>, input: Option<String>) -> Self {
        Self::refused_as(Refusal::Other, reason, input)
    }

    /// The same with what kind of reason it is.
    pub fn refused_as(refusal: Refusal, reason: impl Into<String>, input: Option<String>) -> Self {
        Self::Refused { reason: reason.into(), input, refusal }
    }
}

/// One encoder's connection to an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `lv_…`
    pub input: String,
    /// Which of the input's connections; an older one's media is ignored.
    pub connection: u64,
}

pub(super) struct LiveInput {
    pub(super) index: usize,
    /// Of the encoder.
    pub(super) connection: Option<(u64, Rc<Kick>)>,
    pub(super) key_sha256: String,
    /// Set while the source is away: when the broadcast ends.
    pub(super) reconnect_until: Option<Instant>,
    pub(super) reconnect_window: Duration,
    pub(super) source: Source,
    /// Of the present connection.
    pub(super) trouble: Trouble,
    pub(super) runtime: RuntimeEntry,
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
    fn check_trouble(&mut self, context: &InputContext<'_>) -> bool {
        let now = context.now;
        let signs = if self.reconnect_until.is_none() { self.source.signs(context) } else { Signs::default() };
        let warnings = self.trouble.warnings(now, &self.runtime.input, signs);
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
    pub(super) shard: usize,
    pub(super) homes: Homes,
    pub(super) runtime: RuntimeTable,
    groups: GroupStore,
    pub(super) live: HashMap<String, LiveInput>,
    connections_made: u64,
    /// By the normalisers of broadcasts that are over.
    pub(super) units_dropped: u64,
    /// MoQT sessions here that publish an input whose home is another shard.
    pub(super) wanting: HashMap<String, Vec<SessionId>>,
    /// Those shards, which are asked to give the input up.
    pub(super) yields_wanted: Vec<(usize, String)>,
    pub(super) yields_due: Instant,
    /// Namespaces that changed their source: when what nobody took over ends.
    pub(super) releases: Vec<(Instant, Namespace)>,
}

impl Inputs {
    /// Joins this shard's runtime table and the homes.
    pub fn join(shards: &Workspace, shard: usize, groups: GroupStore) -> Result<Self, RingsError> {
        Ok(Self {
            shard,
            homes: Homes::new(shards.words(names::HOMES)?, shard),
            runtime: RuntimeTable::new(shards.table(&names::runtime(shard))?),
            groups,
            live: HashMap::new(),
            connections_made: 0,
            units_dropped: 0,
            wanting: HashMap::new(),
            yields_wanted: Vec::new(),
            yields_due: Instant::now(),
            releases: Vec::new(),
        })
    }

    /// Files to be written or removed since this was asked last.
    pub fn take_file_work(&mut self) -> Vec<FileWork> {
        self.groups.take_work()
    }

    /// Checks a stream key and claims the input's home.
    pub fn admit(&self, tables: &Tables, protocol: &Protocol, key: &str, unix_ms: u64) -> Admission {
        let Some(owner) = tables.input_of_key(key, unix_ms) else {
            let reason = "the stream key is not valid (wrong, rotated or deleted)";
            return Admission::refused_as(Refusal::Key, reason, None);
        };
        if !owner.entry.enabled {
            return Admission::refused_as(Refusal::Disabled, "this live input is disabled", Some(owner.entry.id));
        }
        if !owner.entry.ingest.takes(protocol) {
            let reason = format!("this live input takes {} and not {protocol}", owner.entry.ingest);
            return Admission::refused_as(Refusal::OtherKind, reason, Some(owner.entry.id));
        }
        match self.homes.claim(owner.index) {
            Some(home) if home != self.shard => Admission::Elsewhere(home),
            Some(_) => Admission::Here(Box::new(owner)),
            None => Admission::refused("the input has no place in the home table", Some(owner.entry.id)),
        }
    }

    /// An admitted encoder does not begin after all: the home that was claimed for it is free again, unless the input is live.
    pub fn unclaim(&self, owner: &KeyOwner) {
        if !self.live.contains_key(&owner.entry.id) {
            self.homes.release(owner.index);
        }
    }

    /// An admitted encoder begins. An older source of the same input is told and closed: the newest wins.
    pub fn start(
        &mut self,
        context: &mut InputContext<'_>,
        owner: &KeyOwner,
        key: &str,
        protocol: Protocol,
        kick: Rc<Kick>,
    ) -> Publication {
        self.connections_made += 1;
        let connection = self.connections_made;
        let id = owner.entry.id.clone();
        let reconnect_window = Duration::from_secs(u64::from(owner.entry.reconnect_window_s));
        // `active` is told when there is something to watch: when the catalog is out, or media flows again.
        let runtime = RuntimeEntry {
            input: id.clone(),
            state: InputState::Idle,
            protocol,
            shard: self.shard,
            since_ms: context.unix_ms,
            ..RuntimeEntry::default()
        };
        match self.live.get_mut(&id) {
            Some(input) => {
                if let Some((_, old)) = input.connection.take() {
                    old.kick(NEWEST_WINS);
                }
                match &mut input.source {
                    Source::Encoder(source) => source.reconnect(context),
                    Source::Moqt(_) => {
                        context.relay.disconnect_publishers(context.now, &id, NEWEST_WINS);
                        input.source.give_up(context);
                        self.releases.push((context.now + TAKE_OVER_PATIENCE, input.source.namespace().clone()));
                        let last = input.source.last_group().max(self.groups.load(&id));
                        input.source = encoder_source(context, owner, last);
                    }
                }
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
                let source = encoder_source(context, owner, self.groups.load(&id));
                let input = LiveInput {
                    index: owner.index,
                    connection: Some((connection, kick)),
                    key_sha256: sha256_hex(key.as_bytes()),
                    reconnect_until: None,
                    reconnect_window,
                    source,
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
        let Source::Encoder(source) = &mut input.source else { return false };
        let tracks_changed = source.unit(context, unit);
        let begins = input.runtime.state != InputState::Active && source.catalog().is_some();
        if begins {
            input.runtime.state = InputState::Active;
            input.runtime.since_ms = context.unix_ms;
        }
        if tracks_changed {
            input.runtime.tracks = input.source.runtime_tracks();
        }
        if tracks_changed || begins {
            self.publish_runtime(&publication.input);
        }
        true
    }

    /// The encoder's hints.
    pub fn metadata(&mut self, publication: &Publication, metadata: &StreamMetadata) {
        if let Some(LiveInput { source: Source::Encoder(source), .. }) = current(&mut self.live, publication) {
            source.metadata(metadata);
        }
    }

    /// The session found something that the broadcaster should know.
    pub fn notice(&mut self, context: &mut InputContext<'_>, publication: &Publication, notice: Notice) {
        if let Some(input) = current(&mut self.live, publication) {
            input.trouble.notice(context.now, notice);
        }
    }

    /// How the encoder's datagrams come through.
    pub(crate) fn link(&mut self, publication: &Publication, link: &LinkStats) {
        let Some(input) = current(&mut self.live, publication) else { return };
        let us = |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_micros()).ok());
        input.runtime.link = Some(RuntimeLink {
            packets: link.received,
            lost: link.lost,
            retransmitted: link.retransmitted,
            dropped: link.dropped,
            damaged: link.damaged,
            rtt_us: us(link.round_trip),
            latency_us: us(link.latency),
            encrypted: link.encrypted,
        });
        self.publish_runtime(&publication.input);
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
        input.runtime.link = None;
        if let Some(error) = error {
            input.runtime.last_error = Some(error.to_owned());
        }
        self.source_gone(context, &publication.input, graceful);
    }

    /// Nobody feeds the input now. `graceful`: that is how the broadcaster wanted it.
    pub(super) fn source_gone(&mut self, context: &mut InputContext<'_>, id: &str, graceful: bool) {
        let Some(input) = self.live.get_mut(id) else { return };
        input.trouble = Trouble::default();
        input.runtime.warnings.clear();
        if graceful || input.reconnect_window.is_zero() {
            return self.end(context, id);
        }
        input.source.pause(context);
        input.reconnect_until = Some(context.now + input.reconnect_window);
        input.runtime.state = InputState::Reconnecting;
        input.runtime.since_ms = context.unix_ms;
        self.groups.save(id, input.source.last_group());
        self.publish_runtime(id);
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
                state: InputState::Idle,
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
        self.tick_sessions(context, tables);
        for (id, input) in &mut self.live {
            let tracks_changed = input.source.tick(context);
            if tracks_changed {
                input.runtime.tracks = input.source.runtime_tracks();
            }
            self.groups.save(id, input.source.last_group());
            if let Some(owner) = tables.input(id) {
                input.check_key(&owner, context.unix_ms);
            }
            if input.check_trouble(context) || tracks_changed {
                self.runtime.write(&input.runtime);
            }
        }
    }

    /// The broadcast is over for its viewers.
    pub(super) fn end(&mut self, context: &mut InputContext<'_>, id: &str) {
        let Some(mut input) = self.live.remove(id) else { return };
        input.source.end(context);
        self.units_dropped += input.source.units_dropped();
        self.groups.save(id, input.source.last_group());
        self.homes.release(input.index);
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
        self.units_dropped + self.live.values().map(|input| input.source.units_dropped()).sum::<u64>()
    }

    pub(super) fn publish_runtime(&mut self, id: &str) {
        if let Some(input) = self.live.get(id) {
            self.runtime.write(&input.runtime);
        }
    }
}

/// An encoder begins to feed an input in which `last` was the highest group id so far.
fn encoder_source(context: &mut InputContext<'_>, owner: &KeyOwner, last: Option<u64>) -> Source {
    let first_group_min = last.map_or(0, |last| last.saturating_add(1));
    Source::Encoder(Box::new(EncoderSource::start(context, &owner.entry, first_group_min)))
}

fn current<'a>(live: &'a mut HashMap<String, LiveInput>, publication: &Publication) -> Option<&'a mut LiveInput> {
    live.get_mut(&publication.input)
        .filter(|input| input.connection.as_ref().is_some_and(|(id, _)| *id == publication.connection))
}
