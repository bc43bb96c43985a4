//! Entry points for fuzzing. Whatever the bytes are, none of these panics, and none holds more than the bounds of what it drives.

use bytes::Bytes;

use crate::catalog::Catalog;
use crate::fmp4::{Chunk, InitSegment, SampleDefaults, boxes, merge, write_video_init};
use crate::movie::{Movie, MovieSample};
use crate::{AacConfig, Av1Config, AvcConfig, CodecConfig, HevcConfig, MediaError, Vp9Config};

/// Reads a catalog and prints it in both forms: what was read can be printed and read again.
pub fn catalog(data: &[u8]) {
    let Ok(read) = Catalog::from_json(data) else { return };
    if let Some(first) = read.tracks.first() {
        assert_eq!(read.track(&first.name).map(|track| &track.name), Some(&first.name));
    }
    let _ = read.to_msf_json(1_800_000_000_000);
    let Ok(printed) = read.to_json() else { return };
    let again = Catalog::from_json(&printed);
    // Numbers may take more room than they came in.
    assert!(matches!(&again, Ok(_) | Err(MediaError::CatalogLen { .. })), "{again:?}");
    if let Ok(again) = again {
        let named = |catalog: &Catalog| {
            let tracks = catalog.tracks.iter().map(|track| (track.name.clone(), track.init.clone()));
            tracks.collect::<Vec<_>>()
        };
        assert_eq!((again.live, named(&again)), (read.live, named(&read)));
    }
}

/// An AVC configuration record, and the same bytes as an access unit by it.
pub fn avc_config(bytes: &[u8]) {
    if let Ok(avc) = AvcConfig::parse(Bytes::copy_from_slice(bytes)) {
        let _ = (avc.scan(bytes, false), avc.scan(bytes, true));
    }
}

/// Configuration records of the other video codecs, and the same bytes as an access unit by each.
pub fn video_config(bytes: &[u8]) {
    let record = Bytes::copy_from_slice(bytes);
    let read = [
        HevcConfig::parse(record.clone()).map(CodecConfig::Hevc),
        Av1Config::parse(record.clone()).map(CodecConfig::Av1),
        // A record and a key frame in one.
        Vp9Config::parse(record.clone(), bytes.get(12..).unwrap_or_default()).map(CodecConfig::Vp9),
    ];
    for config in read.into_iter().flatten() {
        let _ = (config.access(bytes, false), config.picture(), write_video_init(&config));
    }
    assert!(Av1Config::without_delimiter(record).len() <= bytes.len());
}

/// An AudioSpecificConfig.
pub fn aac_config(bytes: &[u8]) {
    // What it says of the bytes is not judged here.
    let _ = AacConfig::parse(Bytes::copy_from_slice(bytes));
}

/// Fragmented MP4: an init segment, and chunks of its track. Samples lie within their chunk, and a chunk that was put into
/// another file reads as it did, at its new time.
pub fn fmp4(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut defaults = SampleDefaults::default();
    if let Ok(init) = InitSegment::parse(&bytes) {
        let _ = merge(&[&init, &init]);
        defaults = init.defaults;
    }
    let Ok(chunk) = Chunk::parse(&bytes, defaults) else { return };
    // Fragments of one object may lie in any order of time, so that its end need not follow its begin.
    if let Ok(samples) = chunk.samples() {
        assert!(samples.iter().all(|sample| sample.data.len() <= bytes.len()));
    }
    let Ok(moved) = chunk.rewrite(7, &mut 0, |time| time) else { return };
    match Chunk::parse(&moved, defaults) {
        Ok(again) => assert_eq!((again.decode_time, again.end_time), (chunk.decode_time, chunk.end_time)),
        Err(error) => panic!("a rewritten chunk cannot be read: {error}"),
    }
}

/// A file: its `moov`, the samples that it describes, and those of its fragments.
pub fn movie(bytes: &[u8]) {
    let mut read = None;
    for found in boxes(bytes).map_while(Result::ok) {
        let Some(whole) = bytes.get(found.start..found.end) else { return };
        match &found.kind {
            b"moov" => read = Movie::parse(whole).ok(),
            b"moof" => {
                let Some(movie) = &mut read else { continue };
                let samples = movie.fragment(whole).unwrap_or_default();
                units(movie, samples, bytes.get(found.start..).unwrap_or_default());
            }
            _ => {}
        }
    }
    if let Some(mut movie) = read {
        let samples = movie.samples().unwrap_or_default();
        units(&mut movie, samples, bytes);
    }
}

/// Reads the samples that lie within `data`.
fn units(movie: &mut Movie, samples: Vec<MovieSample>, data: &[u8]) {
    for sample in samples.iter().take(1_000) {
        let Ok(offset) = usize::try_from(sample.offset) else { continue };
        if let Some(data) = data.get(offset..).and_then(|rest| rest.get(..sample.len)) {
            let _ = movie.unit(sample, Bytes::copy_from_slice(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_read_and_printed() {
        catalog(
            br#"{"version":1,"live":true,"tracks":[{"name":"audio","kind":"audio","codec":"opus","init":"AA=="}]}"#,
        );
        catalog(b"{}");
    }
}
