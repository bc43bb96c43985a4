//! Joining a broadcast as a native viewer.

use std::time::Duration;

use streams_media::MediaKind;
use streams_media::catalog::{CATALOG_TRACK, Catalog};
use streams_relay_core::wire::{FullTrackName, Namespace};
use streams_sdk::{Client, Delivery, SessionUrl, TrackId, Trust, Viewer, ViewerEvent};
use tokio::time::timeout;

use crate::error::BenchError;

/// How long a viewer may take from connecting to knowing the tracks.
const JOIN_MAX: Duration = Duration::from_secs(20);

/// How to reach a broadcast.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Where, with a token.
    pub url: SessionUrl,
    /// Whom to believe.
    pub trust: Trust,
}

/// A viewer that has asked for its tracks.
#[derive(Debug)]
pub struct Watching {
    /// The session.
    pub viewer: Viewer,
    /// What was asked for, in the catalog's order.
    pub tracks: Vec<(TrackId, MediaKind)>,
    /// Its socket: every viewer has its own, as viewers do, and so the kernel spreads them over the shards.
    pub client: Client,
}

/// A session that is connected and has not asked for anything.
#[derive(Debug)]
pub struct Connected {
    viewer: Viewer,
    client: Client,
}

impl Connected {
    /// Connects.
    ///
    /// # Errors
    /// [`BenchError::Viewer`] when the server cannot be reached.
    pub async fn to(broadcast: &Broadcast) -> Result<Self, BenchError> {
        let client = Client::new(&broadcast.trust)?;
        let viewer = Viewer::connect(&client, &broadcast.url, Delivery::AsItComes).await?;
        Ok(Self { viewer, client })
    }

    /// Reads the catalog and subscribes to the tracks that are `wanted`.
    ///
    /// # Errors
    /// [`BenchError::Viewer`] when the session ends, [`BenchError::TooLong`] when there is no catalog.
    pub async fn watch(self, wanted: impl Fn(MediaKind) -> bool) -> Result<Watching, BenchError> {
        let Self { mut viewer, client } = self;
        let joining = join(&mut viewer, wanted);
        let too_long = |_| BenchError::TooLong { what: "a viewer gets the catalog", patience: JOIN_MAX };
        let tracks = timeout(JOIN_MAX, joining).await.map_err(too_long)??;
        Ok(Watching { viewer, tracks, client })
    }
}

async fn join(
    viewer: &mut Viewer,
    wanted: impl Fn(MediaKind) -> bool,
) -> Result<Vec<(TrackId, MediaKind)>, BenchError> {
    let mut offered: Option<(Namespace, TrackId)> = None;
    loop {
        match (viewer.next_event().await?, &offered) {
            (ViewerEvent::Namespace(namespace), None) => {
                let catalog = viewer.subscribe(named(&namespace, CATALOG_TRACK)?);
                offered = Some((namespace, catalog));
            }
            (ViewerEvent::Object { track, payload, .. }, Some((namespace, catalog))) if track == *catalog => {
                let catalog =
                    Catalog::from_json(&payload).map_err(|_| BenchError::Protocol("the catalog cannot be read"))?;
                let chosen = catalog.tracks.iter().filter(|track| wanted(track.kind));
                let tracks: Result<Vec<_>, BenchError> =
                    chosen.map(|track| Ok((viewer.subscribe(named(namespace, &track.name)?), track.kind))).collect();
                // A broadcast may tell its tracks one after the other; the next catalog has more.
                let tracks = tracks?;
                if !tracks.is_empty() {
                    return Ok(tracks);
                }
            }
            (ViewerEvent::Refused { .. }, _) => return Err(BenchError::Protocol("the catalog was refused")),
            (ViewerEvent::TrackEnded { .. }, _) => return Err(BenchError::Protocol("the broadcast has ended")),
            _ => {}
        }
    }
}

fn named(namespace: &Namespace, name: &str) -> Result<FullTrackName, BenchError> {
    FullTrackName::new(namespace.clone(), name).map_err(|_| BenchError::Protocol("the catalog names a bad track"))
}
