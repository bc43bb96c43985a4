//! Where a broadcast's media comes from, and what all sources have in common.

use bytes::Bytes;
use streams_contract::{InputEntry, RuntimeTrack};
use streams_media::catalog::Catalog;
use streams_relay_core::relay::Namespace;

use super::encoder::EncoderSource;
use super::inputs::InputContext;
use super::moqt::MoqtSource;
use super::trouble::Signs;

/// First field of every namespace that belongs to a live input or asset (interfaces: the tuple `stream`, org, id).
const NAMESPACE_ROOT: &[u8] = b"stream";

/// The source of one broadcast.
pub(super) enum Source {
    /// An encoder of any protocol: its access units become CMAF here.
    Encoder(Box<EncoderSource>),
    /// MoQT sessions that publish finished tracks.
    Moqt(Box<MoqtSource>),
}

impl Source {
    /// The media is away for a while: what is half done goes out, the tracks stay open.
    pub(super) fn pause(&mut self, context: &mut InputContext<'_>) {
        match self {
            Self::Encoder(source) => source.pause(context),
            // The relay keeps what its lost sessions published.
            Self::Moqt(_) => {}
        }
    }

    /// Lets it act on time that passed. True when the list of tracks changed.
    pub(super) fn tick(&mut self, context: &mut InputContext<'_>) -> bool {
        match self {
            Self::Encoder(source) => source.tick(context),
            Self::Moqt(source) => source.tick(context),
        }
    }

    /// The broadcast is over: every track ends, the namespace goes.
    pub(super) fn end(&mut self, context: &mut InputContext<'_>) {
        match self {
            Self::Encoder(source) => source.end(context),
            Self::Moqt(source) => source.end(context),
        }
    }

    /// Another source of the same input begins: what it does not take over is left in the relay for a while.
    pub(super) fn give_up(&mut self, context: &mut InputContext<'_>) {
        match self {
            Self::Encoder(source) => source.give_up(context),
            Self::Moqt(source) => source.give_up(context),
        }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        match self {
            Self::Encoder(source) => source.namespace(),
            Self::Moqt(source) => source.namespace(),
        }
    }

    pub(super) fn catalog(&self) -> Option<&Catalog> {
        match self {
            Self::Encoder(source) => source.catalog(),
            Self::Moqt(source) => source.catalog(),
        }
    }

    /// The highest group id used.
    pub(super) fn last_group(&self) -> Option<u64> {
        match self {
            Self::Encoder(source) => source.last_group(),
            Self::Moqt(source) => source.last_group(),
        }
    }

    /// Access units that were dropped on the way.
    pub(super) fn units_dropped(&self) -> u64 {
        match self {
            Self::Encoder(source) => source.units_dropped(),
            Self::Moqt(_) => 0,
        }
    }

    /// What may spoil the broadcast.
    pub(super) fn signs(&self, context: &InputContext<'_>) -> Signs {
        match self {
            Self::Encoder(source) => Signs { without_start_ms: source.without_start_ms(), ..Signs::default() },
            Self::Moqt(source) => Signs { without_catalog: source.without_catalog(context.now), ..Signs::default() },
        }
    }

    /// The tracks as an operator sees them.
    pub(super) fn runtime_tracks(&self) -> Vec<RuntimeTrack> {
        let tracks = self.catalog().into_iter().flat_map(|catalog| &catalog.tracks);
        tracks
            .map(|track| RuntimeTrack {
                name: track.name.clone(),
                codec: track.codec.clone(),
                width: track.width,
                height: track.height,
                framerate: track.framerate,
                sample_rate: track.sample_rate,
                channels: track.channels,
                bitrate: track.bitrate,
            })
            .collect()
    }
}

/// The namespace of an input.
pub(super) fn namespace_of(entry: &InputEntry) -> Namespace {
    let fields = [NAMESPACE_ROOT, entry.org.as_bytes(), entry.id.as_bytes()];
    Namespace(fields.iter().map(|field| Bytes::copy_from_slice(field)).collect())
}
