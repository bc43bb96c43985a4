//! Which tracks of a catalog to watch.

use bytes::Bytes;
use streams_media::MediaKind;
use streams_media::catalog::{Catalog, CatalogTrack};

use crate::ClientError;

/// A track to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub kind: MediaKind,
    /// The track's name in the broadcast's namespace.
    pub name: String,
    /// Its init segment.
    pub init: Bytes,
    /// The first media group that needs it.
    pub init_group: u64,
}

/// The wanted video rendition, or the highest, and the first audio track. Empty while the catalog has no track yet.
pub(super) fn choose(catalog: &Catalog, rendition: Option<&str>) -> Result<Vec<Chosen>, ClientError> {
    if catalog.tracks.is_empty() {
        return Ok(Vec::new());
    }
    let videos = || catalog.tracks.iter().filter(|track| track.kind == MediaKind::Video);
    let video = match rendition {
        None => videos().max_by_key(|track| (track.height, track.bitrate)),
        Some(wanted) => {
            let named = |track: &&CatalogTrack| track.name == wanted || track.name.rsplit('/').next() == Some(wanted);
            Some(videos().find(named).ok_or_else(|| {
                let names: Vec<_> = videos().map(|track| track.name.as_str()).collect();
                ClientError::not_found(format!("no rendition {wanted}; there is {}", names.join(", ")))
            })?)
        }
    };
    let audio = catalog.tracks.iter().find(|track| track.kind == MediaKind::Audio);
    video.into_iter().chain(audio).map(chosen).collect()
}

fn chosen(track: &CatalogTrack) -> Result<Chosen, ClientError> {
    let init = track.init.clone();
    let init = init.ok_or_else(|| ClientError::failed(format!("the catalog has no init segment of {}", track.name)))?;
    Ok(Chosen { kind: track.kind, name: track.name.clone(), init, init_group: track.init_group.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let document = br#"{"version":1,"live":true,"tracks":[
            {"name":"video/360p","kind":"video","codec":"avc1.42E01E","height":360,"bitrate":800000,"init":"AAAA"},
            {"name":"video/720p","kind":"video","codec":"avc1.42E01F","height":720,"bitrate":2500000,"init":"AAAA"},
            {"name":"video/720p-2","kind":"video","codec":"avc1.42E01F","height":720,"bitrate":1500000,"init":"AAAA"},
            {"name":"audio","kind":"audio","codec":"mp4a.40.2","init":"AAAA"}]}"#;
        Catalog::from_json(document).unwrap()
    }

    fn names(rendition: Option<&str>) -> Vec<String> {
        choose(&catalog(), rendition).unwrap().into_iter().map(|track| track.name).collect()
    }

    #[test]
    fn the_highest_rendition_is_watched_with_sound() {
        assert_eq!(names(None), ["video/720p", "audio"]);
    }

    #[test]
    fn a_rendition_is_named_in_full_or_by_its_last_part() {
        assert_eq!(names(Some("360p")), ["video/360p", "audio"]);
        assert_eq!(names(Some("video/720p-2")), ["video/720p-2", "audio"]);
    }

    #[test]
    fn a_rendition_that_is_not_there_is_not_found_and_the_others_are_named() {
        let error = choose(&catalog(), Some("1080p")).unwrap_err();
        assert_eq!(error.kind, crate::ClientErrorKind::NotFound);
        assert_eq!(error.reason, "no rendition 1080p; there is video/360p, video/720p, video/720p-2");
    }

    #[test]
    fn a_catalog_without_tracks_is_waited_for() {
        assert_eq!(choose(&Catalog::live(Vec::new()), Some("720p")).unwrap(), []);
    }

    #[test]
    fn sound_alone_is_watched_too() {
        let mut catalog = catalog();
        catalog.tracks.retain(|track| track.kind == MediaKind::Audio);
        let chosen = choose(&catalog, None).unwrap();
        assert_eq!((chosen.len(), chosen[0].kind), (1, MediaKind::Audio));
    }
}
