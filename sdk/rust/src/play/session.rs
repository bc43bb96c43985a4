//! One session of a player: namespace, catalog, tracks, objects.

use std::time::{Duration, Instant};

use streams_media::MediaKind;
use streams_media::catalog::{CATALOG_TRACK, Catalog};
use streams_relay_core::wire::{FullTrackName, Namespace, PublishDoneCode};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval_at, sleep_until};

use super::Player;
use super::tracks::{Chosen, choose};
use crate::error::{BROADCAST, request_refused};
use crate::{Client, ClientError, Delivery, PlayEvent, SessionUrl, TrackId, Viewer, ViewerEvent};

/// How long the server may take from its SETUP until it offers the broadcast, which it does as soon as it has ours.
const OFFER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a session may take from the handshake until its first media object.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often statistics are told.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// How a session ends.
pub(super) enum SessionEnd {
    /// Everything was watched.
    Finished,
    /// Another session may go on.
    Lost(ClientError),
    /// No session can.
    Fatal(ClientError),
}

/// What belongs to one session only.
struct Session {
    viewer: Viewer,
    connected: Instant,
    /// When the server's SETUP came.
    ready: Option<Instant>,
    namespace: Option<Namespace>,
    catalog: Option<TrackId>,
    /// Subscriptions and the player's track they feed.
    media: Vec<(TrackId, usize)>,
    ended: Vec<TrackId>,
    first_media: Option<Instant>,
}

impl<F: FnMut(PlayEvent)> Player<F> {
    pub(super) async fn session(&mut self, client: &Client, url: &SessionUrl) -> SessionEnd {
        let began = Instant::now();
        let viewer = tokio::select! {
            connected = Viewer::connect(client, url, Delivery::InOrder) => match connected {
                Ok(viewer) => viewer,
                Err(error) => return SessionEnd::Lost(error),
            },
            () = self.stopping.wait() => return SessionEnd::Finished,
        };
        let connected = Instant::now();
        (self.on_event)(PlayEvent::Connected { took: connected.duration_since(began) });
        let mut session = Session::new(viewer, connected);
        match self.watch(&mut session).await {
            Ok(()) => SessionEnd::Finished,
            Err(end) => end,
        }
    }

    async fn watch(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        let mut second = interval_at(TokioInstant::now() + STATS_INTERVAL, STATS_INTERVAL);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.next_wake(session);
            tokio::select! {
                event = session.viewer.next_event() => {
                    let event = event.map_err(SessionEnd::Lost)?;
                    if self.handle(session, event)? {
                        return self.advance(Instant::now()).await.map_err(SessionEnd::Fatal);
                    }
                }
                () = sleep_until(TokioInstant::from_std(wake)) => {}
                () = self.stopping.wait() => {}
                _ = second.tick(), if self.stats => {
                    let summary = self.summary();
                    (self.on_event)(PlayEvent::Stats(summary));
                }
            }
            let now = Instant::now();
            self.advance(now).await.map_err(SessionEnd::Fatal)?;
            if self.is_over(now) {
                return Ok(());
            }
            if session.start_deadline().is_some_and(|deadline| now >= deadline) {
                return Err(SessionEnd::Lost(not_started(session)));
            }
        }
    }

    fn next_wake(&self, session: &Session) -> Instant {
        let all = [self.lanes.next_timeout(), session.start_deadline(), self.deadline()];
        all.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + START_TIMEOUT)
    }

    /// `true` when everything was watched.
    fn handle(&mut self, session: &mut Session, event: ViewerEvent) -> Result<bool, SessionEnd> {
        match event {
            ViewerEvent::Ready => session.ready = Some(Instant::now()),
            ViewerEvent::Namespace(namespace) if session.namespace.is_none() => {
                let track = named(&namespace, CATALOG_TRACK).map_err(SessionEnd::Fatal)?;
                session.catalog = Some(session.viewer.subscribe(track));
                session.namespace = Some(namespace);
            }
            ViewerEvent::Object { track, payload, .. } if session.catalog == Some(track) => {
                let catalog =
                    Catalog::from_json(&payload).map_err(|error| SessionEnd::Fatal(ClientError::failed(error)))?;
                self.catalog(session, &catalog)?;
            }
            ViewerEvent::Object { track, location, payload, arrival, .. } => {
                let Some(index) = session.index_of(track) else { return Ok(false) };
                let Some(kind) = self.lanes.kind(index) else { return Ok(false) };
                session.first_media.get_or_insert(arrival);
                self.count(kind, payload.len(), arrival);
                self.lanes.push(arrival, index, location, payload);
            }
            ViewerEvent::GroupEnd { track, complete: false, .. } => {
                if let Some(index) = session.index_of(track) {
                    self.totals.skipped_groups = self.totals.skipped_groups.saturating_add(1);
                    self.lanes.lose(index);
                }
            }
            ViewerEvent::Refused { track, code, reason } => {
                let what = if session.catalog == Some(track) { BROADCAST } else { "a track of the broadcast" };
                return Err(SessionEnd::Lost(request_refused(what, code, &reason)));
            }
            ViewerEvent::TrackEnded { track, code } => return session.track_ended(track, code),
            ViewerEvent::Namespace(_)
            | ViewerEvent::GroupEnd { .. }
            | ViewerEvent::Subscribed { .. }
            | ViewerEvent::Goaway => {}
        }
        Ok(false)
    }

    /// The first catalog with tracks decides what is watched; later ones may change how it is decoded.
    fn catalog(&mut self, session: &mut Session, catalog: &Catalog) -> Result<(), SessionEnd> {
        let chosen = choose(catalog, self.rendition.as_deref()).map_err(SessionEnd::Fatal)?;
        if chosen.is_empty() {
            return Ok(());
        }
        if let Some(recording) = &mut self.recording {
            recording.tracks(&chosen).map_err(SessionEnd::Fatal)?;
        }
        self.lanes.set_inits(&chosen);
        if !session.media.is_empty() {
            return Ok(());
        }
        self.tell_tracks(&chosen);
        let namespace = session.namespace.clone().unwrap_or_default();
        for track in &chosen {
            let index = self.lanes.index(track.kind);
            let name = named(&namespace, &track.name).map_err(SessionEnd::Fatal)?;
            let id = session.viewer.subscribe(name);
            session.media.push((id, index));
        }
        self.lanes.set_inits(&chosen);
        Ok(())
    }

    fn tell_tracks(&mut self, chosen: &[Chosen]) {
        let name = |kind| chosen.iter().find(|track| track.kind == kind).map(|track| track.name.clone());
        let (video, audio) = (name(MediaKind::Video), name(MediaKind::Audio));
        (self.totals.video, self.totals.audio) = (video.clone(), audio.clone());
        (self.on_event)(PlayEvent::Tracks { video, audio });
    }
}

impl Session {
    fn new(viewer: Viewer, connected: Instant) -> Self {
        let (media, ended) = (Vec::new(), Vec::new());
        Self { viewer, connected, ready: None, namespace: None, catalog: None, media, ended, first_media: None }
    }

    /// When to stop waiting for a beginning; `None` once there was one.
    fn start_deadline(&self) -> Option<Instant> {
        if self.first_media.is_some() {
            return None;
        }
        let ready = self.ready.filter(|_| self.namespace.is_none());
        Some(start_deadline(self.connected, ready))
    }

    fn index_of(&self, track: TrackId) -> Option<usize> {
        self.media.iter().find(|(id, _)| *id == track).map(|&(_, index)| index)
    }

    /// `Ok(true)` when that was the last media track and the broadcast is over.
    fn track_ended(&mut self, track: TrackId, code: PublishDoneCode) -> Result<bool, SessionEnd> {
        match code {
            PublishDoneCode::TrackEnded | PublishDoneCode::SubscriptionEnded => {
                if self.index_of(track).is_some() {
                    self.ended.push(track);
                }
                let all = !self.media.is_empty() && self.media.iter().all(|(id, _)| self.ended.contains(id));
                Ok(all)
            }
            PublishDoneCode::Unauthorized | PublishDoneCode::Expired => {
                Err(SessionEnd::Fatal(ClientError::auth(format!("auth_failed: the subscription ended ({code})"))))
            }
            code => Err(SessionEnd::Lost(ClientError::failed(format!("the server ended the track ({code})")))),
        }
    }
}

/// The deadline of a session that connected at `connected`, and whose server is `ready` since then and has offered nothing. A slow
/// handshake says nothing about the broadcast, so it counts against neither limit.
fn start_deadline(connected: Instant, ready: Option<Instant>) -> Instant {
    ready.map_or(connected + START_TIMEOUT, |ready| ready + OFFER_TIMEOUT)
}

fn not_started(session: &Session) -> ClientError {
    let seconds = START_TIMEOUT.as_secs();
    match (&session.namespace, session.media.is_empty()) {
        (None, _) if session.ready.is_none() => {
            ClientError::unreachable(format!("the server set no session up within {seconds} s"))
        }
        (None, _) => ClientError::not_found("the server offers no broadcast there: check the id in the URL"),
        (Some(_), true) => ClientError::not_found(format!("the broadcast has no track after {seconds} s: is it live?")),
        (Some(_), false) => ClientError::failed(format!("no media came within {seconds} s")),
    }
}

fn named(namespace: &Namespace, name: &str) -> Result<FullTrackName, ClientError> {
    FullTrackName::new(namespace.clone(), name).map_err(ClientError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_the_whole_time_from_its_setup_on_to_offer_the_broadcast() {
        let connected = Instant::now();
        let late_setup = connected + OFFER_TIMEOUT * 2;
        assert_eq!(start_deadline(connected, None), connected + START_TIMEOUT);
        assert_eq!(start_deadline(connected, Some(late_setup)), late_setup + OFFER_TIMEOUT);
    }
}
