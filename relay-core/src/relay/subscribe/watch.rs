//! SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS: telling sessions what is published under a prefix.

use std::time::Instant;

use crate::directory::Directory;
use crate::relay::Relay;
use crate::relay::keys::{RequestKey, SessionKey, TrackKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::RequestKind;
use crate::wire::{
    ControlMessage, FullTrackName, GroupOrder, Location, Namespace, NamespaceDone, NamespaceFound, Parameters, Publish,
    RequestErrorCode, SUBSCRIBER_PRIORITY_DEFAULT, SubscribeNamespace, SubscribeTracks,
};

use super::subscription::SubscriptionStart;

impl Relay {
    pub(crate) fn on_subscribe_namespace(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: SubscribeNamespace,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        let prefix = message.prefix;
        if let Some(Refusal { code, reason }) = self.refusal_to_watch(key, &prefix, false) {
            self.refuse(key, request, code, reason);
            return Ok(());
        }
        self.set_kind(key, request, RequestKind::WatchNamespaces { prefix: prefix.clone() });
        self.namespace_watchers.push((key, request));
        self.mark_used(key);
        self.reply(key, request, Parameters::default());
        self.show_namespaces(key, request, &prefix);
        Ok(())
    }

    pub(crate) fn on_subscribe_tracks(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: SubscribeTracks,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        let prefix = message.prefix;
        if let Some(Refusal { code, reason }) = self.refusal_to_watch(key, &prefix, true) {
            self.refuse(key, request, code, reason);
            return Ok(());
        }
        let forward = message.parameters.forward.unwrap_or(true);
        let watched = prefix.clone();
        self.set_kind(key, request, RequestKind::WatchTracks { prefix, forward });
        self.track_watchers.push((key, request));
        self.mark_used(key);
        self.reply(key, request, Parameters::default());
        self.seek_offers(now, &watched);
        let tracks: Vec<TrackKey> =
            self.tracks.iter().filter(|(_, track)| track.is_live()).map(|(key, _)| key).collect();
        for track in tracks {
            self.offer(track, key, request);
        }
        Ok(())
    }

    /// REQUEST_UPDATE with a new prefix.
    pub(crate) fn move_watch(
        &mut self,
        now: Instant,
        key: SessionKey,
        request: RequestKey,
        prefix: Namespace,
    ) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let Some(state) = session.requests.get_mut(request) else { return Ok(()) };
        let old = std::mem::replace(&mut state.kind, RequestKind::Fresh);
        let tracks = matches!(old, RequestKind::WatchTracks { .. });
        if let Some(Refusal { code, reason }) = self.refusal_to_watch(key, &prefix, tracks) {
            // MoQT-18 §10.8.1: an update that fails ends the request.
            self.refuse(key, request, code, reason);
            return Ok(());
        }
        let kind = match old {
            RequestKind::WatchTracks { forward, .. } => RequestKind::WatchTracks { prefix, forward },
            _ => RequestKind::WatchNamespaces { prefix: prefix.clone() },
        };
        let namespaces = match &kind {
            RequestKind::WatchNamespaces { prefix } => Some(prefix.clone()),
            _ => None,
        };
        self.set_kind(key, request, kind);
        self.reply(key, request, Parameters::default());
        match namespaces {
            Some(prefix) => self.show_namespaces(key, request, &prefix),
            None => {
                let tracks: Vec<TrackKey> = self.tracks.iter().map(|(track, _)| track).collect();
                tracks.into_iter().for_each(|track| self.offer(track, key, request));
            }
        }
        self.arm_session(now, key);
        Ok(())
    }

    fn set_kind(&mut self, key: SessionKey, request: RequestKey, kind: RequestKind) {
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
            state.kind = kind;
        }
    }

    /// Why a prefix may not be watched, if so.
    fn refusal_to_watch(&self, key: SessionKey, prefix: &Namespace, tracks: bool) -> Option<Refusal> {
        let session = self.sessions.get(key)?;
        if let Err(refusal) = session.scope.as_ref()?.may_watch(prefix) {
            return Some(refusal);
        }
        let watched = session.requests.iter().filter_map(|(_, state)| match &state.kind {
            RequestKind::WatchNamespaces { prefix } if !tracks => Some(prefix),
            RequestKind::WatchTracks { prefix, .. } if tracks => Some(prefix),
            _ => None,
        });
        let mut count = 0;
        for other in watched {
            count += 1;
            if other.starts_with(prefix) || prefix.starts_with(other) {
                return Some(Refusal::new(
                    RequestErrorCode::PrefixOverlap,
                    "the prefix overlaps another one of this session",
                ));
            }
        }
        (count >= self.config.namespaces_per_session_max)
            .then_some(Refusal::new(RequestErrorCode::ExcessiveLoad, "too many prefixes are watched"))
    }

    fn show_namespaces(&mut self, key: SessionKey, request: RequestKey, prefix: &Namespace) {
        let Some(scope) = self.sessions.get(key).and_then(|session| session.scope.as_ref()) else { return };
        let found = self.namespaces.under(prefix).filter(|namespace| scope.may_see(namespace));
        let found: Vec<Namespace> = found.filter_map(|namespace| namespace.suffix(prefix)).collect();
        if found.len() > self.config.namespaces_shown_max {
            let reason = "too many namespaces are under this prefix";
            self.refuse(key, request, RequestErrorCode::NamespaceTooLarge, reason);
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        for suffix in found {
            session.answer(request, &ControlMessage::Namespace(NamespaceFound { suffix }));
        }
    }

    /// Tells everybody who watches that a namespace appeared or is gone.
    pub(crate) fn announce_change(&mut self, namespace: &Namespace, up: bool) {
        let mut watchers = std::mem::take(&mut self.namespace_watchers);
        watchers.retain(|&(key, request)| {
            let Some(session) = self.sessions.get_mut(key) else { return false };
            let Some(state) = session.requests.get(request) else { return false };
            let RequestKind::WatchNamespaces { prefix } = &state.kind else { return false };
            let Some(suffix) = namespace.suffix(prefix) else { return true };
            if !session.scope.as_ref().is_some_and(|scope| scope.may_see(namespace)) {
                return true;
            }
            let message = if up {
                ControlMessage::Namespace(NamespaceFound { suffix })
            } else {
                ControlMessage::NamespaceDone(NamespaceDone { suffix })
            };
            session.answer(request, &message);
            self.mark_dirty(key);
            true
        });
        self.namespace_watchers = watchers;
    }

    /// Whether somebody watches the tracks of its namespace.
    pub(crate) fn is_watched(&self, name: &FullTrackName) -> bool {
        self.track_watchers.iter().any(|&(key, request)| {
            let state = self.sessions.get(key).and_then(|session| session.requests.get(request));
            state.is_some_and(|state| {
                matches!(&state.kind, RequestKind::WatchTracks { prefix, .. } if name.namespace.starts_with(prefix))
            })
        })
    }

    /// Offers a track that has become live to everybody who watches its namespace.
    pub(crate) fn offer_to_watchers(&mut self, track: TrackKey) {
        let mut watchers = std::mem::take(&mut self.track_watchers);
        watchers.retain(|&(key, request)| {
            let state = self.sessions.get(key).and_then(|session| session.requests.get(request));
            state.is_some_and(|state| matches!(state.kind, RequestKind::WatchTracks { .. }))
        });
        for &(key, request) in &watchers {
            self.offer(track, key, request);
        }
        self.track_watchers = watchers;
    }

    /// Sends PUBLISH for a track that is published here, unless the session has it already or publishes it itself.
    fn offer(&mut self, track: TrackKey, key: SessionKey, watch: RequestKey) {
        let requests_max = self.config.requests_max;
        let offered = self.is_offered(track);
        let Some(source) = self.tracks.get_mut(track) else { return };
        let own = source.session_origin(key).is_some();
        if !offered || own {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(watching) = session.requests.get(watch) else { return };
        let RequestKind::WatchTracks { prefix, forward } = &watching.kind else { return };
        let (forward, grant) = (*forward, watching.grant.clone());
        let scope = session.scope.as_ref();
        let allowed = scope.is_some_and(|scope| scope.may_read(grant.as_deref(), &source.name).is_ok());
        if !source.name.namespace.starts_with(prefix)
            || !allowed
            || session.subscription_to(track).is_some()
            || session.requests.len() >= requests_max
        {
            return;
        }
        let (largest_object, name) = (source.cache.largest(), source.name.clone());
        let (track_alias, properties) = (source.serial, source.properties.clone());
        let parameters = Parameters { largest_object, forward: (!forward).then_some(false), ..Parameters::default() };
        let request = session.open_request(RequestKind::Fresh, |request_id| {
            ControlMessage::Publish(Publish { request_id, track: name, track_alias, parameters, properties })
        });
        if let Some(state) = session.requests.get_mut(request) {
            (state.grant, state.reads) = (grant, Some(source.name.name.clone()));
        }
        let start = SubscriptionStart {
            priority: SUBSCRIBER_PRIORITY_DEFAULT,
            order: GroupOrder::Ascending,
            forward,
            start: Location::default(),
            end_group: None,
            timeout: None,
        };
        self.add_subscription(track, key, request, start);
        self.mark_dirty(key);
    }
}
