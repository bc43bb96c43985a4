//! MoQT sessions that publish an input: the same admission to home, window and status as any encoder has.
//!
//! A session cannot move to another shard, so the home does: the shard that has it gives an input up that nobody feeds there, or
//! that an encoder feeds, for the newest wins.

use std::time::Duration;

use streams_contract::{InputState, Protocol, RuntimeEntry};
use streams_relay_core::relay::SessionId;
use tracing::{info, warn};

use super::inputs::{InputContext, Inputs, LiveInput, NEWEST_WINS, TAKE_OVER_PATIENCE};
use super::moqt::MoqtSource;
use super::source::Source;
use super::trouble::Trouble;
use crate::directory::{KeyOwner, Tables};

/// How often the home of an input that a session here publishes is asked to give it up.
const YIELD_INTERVAL: Duration = Duration::from_secs(1);

impl Inputs {
    /// A MoQT session began to publish an input.
    pub fn session_began(&mut self, context: &mut InputContext<'_>, tables: &Tables, id: &str, session: SessionId) {
        // One that was disabled just now loses its sessions by itself.
        let Some(owner) = tables.input(id).filter(|owner| owner.entry.enabled) else { return };
        match self.homes.claim(owner.index) {
            Some(home) if home == self.shard => self.begin_session(context, &owner, session),
            Some(home) => {
                self.wanting.entry(id.to_owned()).or_default().push(session);
                self.yields_wanted.push((home, id.to_owned()));
            }
            None => warn!(input = id, "the input has no place in the home table: its status is not shown"),
        }
    }

    /// It publishes no more. `lost`: without having said so.
    pub fn session_ended(&mut self, context: &mut InputContext<'_>, id: &str, session: SessionId, lost: bool) {
        if let Some(wanting) = self.wanting.get_mut(id) {
            wanting.retain(|known| *known != session);
            if wanting.is_empty() {
                self.wanting.remove(id);
            }
        }
        let Some(LiveInput { source: Source::Moqt(source), runtime, .. }) = self.live.get_mut(id) else { return };
        if source.leave(session) && source.is_away() {
            if lost {
                runtime.last_error = Some("the connection was lost".into());
            }
            self.source_gone(context, id, !lost);
        }
    }

    /// Another shard has a session that publishes the input.
    pub fn yield_home(&mut self, context: &mut InputContext<'_>, id: &str) {
        let Some(input) = self.live.get_mut(id) else { return };
        if matches!(&input.source, Source::Moqt(source) if !source.is_away()) {
            // Several sessions may publish one input; this one goes on, and so does its status.
            return;
        }
        let Some(mut input) = self.live.remove(id) else { return };
        if let Some((_, old)) = input.connection.take() {
            old.kick(NEWEST_WINS);
        }
        input.source.give_up(context);
        self.units_dropped += input.source.units_dropped();
        self.releases.push((context.now + TAKE_OVER_PATIENCE, input.source.namespace().clone()));
        self.runtime.clear(id);
        self.homes.release(input.index);
        info!(shard = self.shard, input = id, "another shard is home of the input from now on");
    }

    /// Which shards are to be asked for which inputs.
    pub fn take_yields_wanted(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.yields_wanted)
    }

    /// Housekeeping: homes that have become free, and what nobody took over.
    pub(super) fn tick_sessions(&mut self, context: &mut InputContext<'_>, tables: &Tables) {
        let now = context.now;
        let due: Vec<_> = self.releases.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, namespace) in due {
            // A source that has lost its publisher since keeps what it has for its own window.
            let away = self
                .live
                .values()
                .any(|input| *input.source.namespace() == namespace && input.reconnect_until.is_some());
            if !away {
                context.relay.release(now, &namespace);
            }
        }
        let asks = now >= self.yields_due;
        if asks {
            self.yields_due = now + YIELD_INTERVAL;
        }
        for (id, sessions) in std::mem::take(&mut self.wanting) {
            let Some(owner) = tables.input(&id).filter(|owner| owner.entry.enabled) else { continue };
            match self.homes.claim(owner.index) {
                Some(home) if home == self.shard => {
                    sessions.into_iter().for_each(|session| self.begin_session(context, &owner, session));
                }
                home => {
                    self.yields_wanted.extend(home.filter(|_| asks).map(|home| (home, id.clone())));
                    self.wanting.insert(id, sessions);
                }
            }
        }
    }

    fn begin_session(&mut self, context: &mut InputContext<'_>, owner: &KeyOwner, session: SessionId) {
        let id = owner.entry.id.clone();
        let reconnect_window = Duration::from_secs(u64::from(owner.entry.reconnect_window_s));
        if !reconnect_window.is_zero() {
            context.relay.keep_when_lost(session);
        }
        let runtime = RuntimeEntry {
            input: id.clone(),
            state: InputState::Active,
            protocol: Protocol::Moqt,
            shard: self.shard,
            since_ms: context.unix_ms,
            ..RuntimeEntry::default()
        };
        let input = self.live.entry(id.clone()).or_insert_with(|| LiveInput {
            index: owner.index,
            connection: None,
            key_sha256: String::new(),
            reconnect_until: None,
            reconnect_window,
            source: Source::Moqt(Box::new(MoqtSource::new(context.now, &owner.entry))),
            trouble: Trouble::default(),
            runtime: runtime.clone(),
        });
        if let Some((_, old)) = input.connection.take() {
            old.kick(NEWEST_WINS);
        }
        if matches!(input.source, Source::Encoder(_)) {
            input.source.give_up(context);
            self.units_dropped += input.source.units_dropped();
            self.releases.push((context.now + TAKE_OVER_PATIENCE, input.source.namespace().clone()));
            input.source = Source::Moqt(Box::new(MoqtSource::new(context.now, &owner.entry)));
            input.trouble = Trouble::default();
            input.runtime = runtime.clone();
        }
        if let Source::Moqt(source) = &mut input.source {
            if source.is_away() {
                let tracks = std::mem::take(&mut input.runtime.tracks);
                input.runtime = RuntimeEntry { tracks, ..runtime };
            }
            source.join(context.now, session);
        }
        input.reconnect_until = None;
        input.reconnect_window = reconnect_window;
        self.publish_runtime(&id);
    }
}
