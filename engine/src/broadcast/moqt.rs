//! MoQT sessions as the source of a broadcast. Their tracks are in the relay already; what is known of them here is read from
//! the catalog that they publish.

use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_contract::InputEntry;
use streams_media::catalog::{CATALOG_TRACK, Catalog, MSF_CATALOG_TRACK};
use streams_relay_core::relay::{FullTrackName, Location, Namespace, SessionId};
use tracing::warn;

use super::inputs::InputContext;
use super::source::namespace_of;

/// A publisher that offers no catalog yet is asked for it again after this time, so often.
const CATALOG_RETRY: Duration = Duration::from_secs(1);
const CATALOG_TRIES_MAX: u32 = 8;
/// How often the highest group id is looked for among the tracks.
const GROUP_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The sessions that publish one input, and the catalog that they gave.
pub(super) struct MoqtSource {
    namespace: Namespace,
    sessions: Vec<SessionId>,
    /// Tracks that may hold the catalog, and where the newest that was read stood.
    documents: [(FullTrackName, Option<Location>); 2],
    catalog: Option<Catalog>,
    /// A catalog of a kind that is not read here came.
    other_catalog: bool,
    since: Instant,
    tries: u32,
    next_try: Instant,
    last_group: Option<u64>,
    next_look: Instant,
}

impl MoqtSource {
    /// Nobody publishes yet.
    pub(super) fn new(now: Instant, entry: &InputEntry) -> Self {
        let namespace = namespace_of(entry);
        let track = |name: &'static str| {
            (FullTrackName { namespace: namespace.clone(), name: Bytes::from_static(name.as_bytes()) }, None)
        };
        Self {
            documents: [track(CATALOG_TRACK), track(MSF_CATALOG_TRACK)],
            namespace,
            sessions: Vec::new(),
            catalog: None,
            other_catalog: false,
            since: now,
            tries: 0,
            next_try: now,
            last_group: None,
            next_look: now,
        }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    /// The highest group id seen.
    pub(super) fn last_group(&self) -> Option<u64> {
        self.last_group
    }

    fn look_at_groups(&mut self, context: &InputContext<'_>) {
        self.last_group = self.last_group.max(context.relay.largest_group(&self.namespace));
        self.next_look = context.now + GROUP_LOOK_INTERVAL;
    }

    /// One more session publishes.
    pub(super) fn join(&mut self, now: Instant, session: SessionId) {
        self.sessions.push(session);
        // It may have the catalog that the others had not.
        (self.tries, self.next_try) = (0, now);
    }

    /// A session publishes no more. `false`: it did not here.
    pub(super) fn leave(&mut self, session: SessionId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|known| *known != session);
        self.sessions.len() < before
    }

    pub(super) fn is_away(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How long somebody has published without a catalog.
    pub(super) fn without_catalog(&self, now: Instant) -> Option<Duration> {
        let missing = self.catalog.is_none() && !self.other_catalog && !self.is_away();
        missing.then(|| now.duration_since(self.since))
    }

    /// Reads the newest catalog. True when it changed.
    pub(super) fn tick(&mut self, context: &mut InputContext<'_>) -> bool {
        self.ask(context);
        if context.now >= self.next_look {
            self.look_at_groups(context);
        }
        let mut changed = false;
        for (at, (track, read)) in self.documents.iter_mut().enumerate() {
            let Some((location, document)) = context.relay.newest_first_object(track) else { continue };
            if *read == Some(location) {
                continue;
            }
            *read = Some(location);
            if at > 0 {
                self.other_catalog = true;
                continue;
            }
            match Catalog::from_json(&document) {
                Ok(catalog) => (self.catalog, changed) = (Some(catalog), true),
                Err(error) => {
                    warn!(namespace = ?self.namespace, %error, "a MoQT publisher's catalog cannot be read");
                }
            }
        }
        changed
    }

    /// Asks the publisher for its catalogs, as a viewer would.
    fn ask(&mut self, context: &mut InputContext<'_>) {
        if self.is_away() || self.tries >= CATALOG_TRIES_MAX || context.now < self.next_try {
            return;
        }
        self.tries += 1;
        self.next_try = context.now + CATALOG_RETRY;
        for (track, _) in &self.documents {
            // Refused where nobody has it: then it is asked for again, or another document comes.
            context.relay.follow(context.now, track);
        }
    }

    pub(super) fn end(&mut self, context: &mut InputContext<'_>) {
        self.give_up(context);
        context.relay.release(context.now, &self.namespace);
    }

    pub(super) fn give_up(&mut self, context: &mut InputContext<'_>) {
        self.look_at_groups(context);
        for (track, _) in &self.documents {
            context.relay.unfollow(context.now, track);
        }
    }
}
