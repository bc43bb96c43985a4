//! What the relay tells the engine.

use bytes::Bytes;

use crate::wire::{FullTrackName, Location, Namespace};

use super::{CachedObject, LinkId, PublishDone, Role, SessionId};

/// Everything the engine has to act on; read by [`super::Relay::poll_event`] until it gives `None`.
#[derive(Clone, Debug)]
pub enum RelayEvent {
    /// A track whose namespace is at `shard` got its first local subscriber: tell that shard's relay
    /// ([`super::Relay::shard_subscribe`]). Asked again when something was lost, or when no answer came in time.
    AskShard {
        /// The shard that has the namespace.
        shard: usize,
        /// The track asked for.
        name: FullTrackName,
    },
    /// The last local subscriber has been gone for the linger time ([`super::Relay::shard_unsubscribe`] over there).
    DropShard {
        /// The shard that has the namespace.
        shard: usize,
        /// The track.
        name: FullTrackName,
    },
    /// Answer to [`super::Relay::shard_subscribe`]: goes over the reliable link to `shard`, as
    /// [`super::Relay::remote_accepted`], one [`super::Relay::remote_object`] for every entry of `replay` and
    /// [`super::Relay::remote_filled`].
    AnswerShard {
        /// The shard that asked.
        shard: usize,
        /// The track.
        name: FullTrackName,
        /// Signature of the track's objects in this shard's media link.
        link_id: LinkId,
        /// Publisher priority.
        priority: u8,
        /// Newest object always kept.
        pinned: bool,
        /// Largest location the track has reached.
        largest: Option<Location>,
        /// The group cache, oldest first.
        replay: Vec<CachedObject>,
    },
    /// Answer to [`super::Relay::shard_subscribe`]: goes to `shard` as [`super::Relay::remote_refused`].
    RefuseShard {
        /// The shard that asked.
        shard: usize,
        /// The track.
        name: FullTrackName,
        /// REQUEST_ERROR code.
        code: u64,
        /// Words for people.
        reason: String,
    },
    /// A new object of a track that other shards follow: published once into this shard's media link.
    ShardObject {
        /// Signature of the message.
        link_id: LinkId,
        /// Group id.
        group: u64,
        /// Object id in the group.
        object: u64,
        /// The bytes, opaque (see [`CachedObject`]).
        payload: Bytes,
        /// No further object follows in the group.
        end_of_group: bool,
    },
    /// A track that other shards follow is over: goes to each of `shards` as [`super::Relay::remote_done`].
    ShardDone {
        /// The shards that follow the track.
        shards: Vec<usize>,
        /// The track's link id.
        link_id: LinkId,
        /// Why.
        status: PublishDone,
    },
    /// Goes over the reliable link to `shard`, as [`super::Relay::shard_message`]; in order, and never dropped, except that
    /// [`super::cut_short`] gives what may go in its place where there is no room.
    ShardMessage {
        /// The other shard.
        shard: usize,
        /// Opaque to the engine.
        message: Bytes,
    },
    /// A local publisher session announced a namespace: the other shards learn it (`remote_namespace_up`).
    NamespaceUp(Namespace),
    /// A local publisher session withdrew a namespace.
    NamespaceDown(Namespace),
    /// A session finished SETUP.
    SessionReady {
        /// The session.
        session: SessionId,
        /// What it may do.
        role: Role,
        /// The id in its path; empty in open mode.
        resource: String,
    },
    /// The relay closed a session (or is about to: the close itself goes through `Transmit::close`).
    SessionClose {
        /// The session.
        session: SessionId,
        /// Session close code (MoQT-18 §3.5).
        code: u64,
        /// Why, safe to log: never a token or key.
        reason: String,
    },
    /// A session of role [`Role::Publish`] began to publish: its first PUBLISH or PUBLISH_NAMESPACE was accepted.
    PublishBegan {
        /// The session.
        session: SessionId,
        /// The live input's id.
        input: String,
    },
    /// It publishes nothing any more.
    PublishEnded {
        /// The session.
        session: SessionId,
        /// The live input's id.
        input: String,
        /// The session is over although it had not ended what it published.
        lost: bool,
    },
    /// A session of role [`Role::Publish`] may publish now.
    PublishReady {
        /// The session.
        session: SessionId,
        /// The live input's id.
        input: String,
    },
}
