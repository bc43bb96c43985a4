//! Which tracks of a catalog to watch.

use bytes::Bytes;
use streams_relay_core::catalog::{Catalog, CatalogTrack, TrackKind};

use crate::PlayError;
use crate::mp4::TrackRole;

/// A track to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub role: TrackRole,
    /// The track's name in the broadcast's namespace.
    pub name: String,
    /// Its init segment.
    pub init: Bytes,
}

/// The wanted video rendition, or the highest, and the first audio track. Empty while the catalog has no track yet.
pub(super) fn choose(catalog: &Catalog, rendition: Option<&str>) -> Result<Vec<Chosen>, PlayError> {
    if catalog.tracks.is_empty() {
        return Ok(Vec::new());
    }
    let videos = || catalog.tracks.iter().filter(|track| track.kind == TrackKind::Video);
    let video = match rendition {
        None => videos().max_by_key(|track| (track.height, track.bitrate)),
        Some(wanted) => {
            let named = |track: &&CatalogTrack| track.name == wanted || track.name.rsplit('/').next() == Some(wanted);
            Some(videos().find(named).ok_or_else(|| {
                let names: Vec<_> = videos().map(|track| track.name.as_str()).collect();
                PlayError::not_found(format!("no rendition {wanted}; there is {}", names.join(", ")))
            })?)
        }
    };
    let audio = catalog.tracks.iter().find(|track| track.kind == TrackKind::Audio);
    let video = video.map(|track| (TrackRole::Video, track));
    let audio = audio.map(|track| (TrackRole::Audio, track));
    video.into_iter().chain(audio).map(|(role, track)| chosen(role, track)).collect()
}

fn chosen(role: TrackRole, track: &CatalogTrack) -> Result<Chosen, PlayError> {
    let init = track.init_bytes().map_err(PlayError::failed)?;
    let init = init.ok_or_else(|| PlayError::failed(format!("the catalog has no init segment of {}", track.name)))?;
    Ok(Chosen { role, name: track.name.clone(), init })
}
