//! MP4 files of ffmpeg, read as a publisher reads them.

use std::path::Path;

use bytes::Bytes;
use streams_media::fmp4::boxes;
use streams_media::movie::{Movie, MovieSample};
use streams_media::{MediaKind, RandomAccess};

/// Seeds of the fuzz target: a second of 96x64 at 10 frames a second with a key frame every half second, and sound.
fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/movie");
    std::fs::read(folder.join(name)).expect("the seed is there")
}

/// The file's samples, each with its bytes.
fn read(file: &[u8]) -> (Movie, Vec<(MovieSample, Bytes)>) {
    let (mut movie, mut all) = (None::<Movie>, Vec::new());
    let take = |sample: &MovieSample, from: usize| {
        let begin = from + usize::try_from(sample.offset).expect("a small file");
        (*sample, Bytes::copy_from_slice(&file[begin..begin + sample.len]))
    };
    for found in boxes(file).map(|found| found.expect("whole boxes")) {
        let whole = &file[found.start..found.end];
        match &found.kind {
            b"moov" => movie = Some(Movie::parse(whole).expect("a moov of ffmpeg")),
            b"moof" => {
                let samples = movie.as_mut().expect("behind its moov").fragment(whole).expect("a moof of ffmpeg");
                all.extend(samples.iter().map(|sample| take(sample, found.start)));
            }
            _ => {}
        }
    }
    let movie = movie.expect("a moov");
    if !movie.is_fragmented() {
        all = movie.samples().expect("tables of ffmpeg").iter().map(|sample| take(sample, 0)).collect();
    }
    (movie, all)
}

#[test]
fn a_whole_file_and_one_in_fragments_hold_the_same_units() {
    let units = |name: &str| {
        let (mut movie, samples) = read(&file(name));
        let units = samples.iter().map(|(sample, data)| {
            let unit = movie.unit(sample, data.clone()).expect("an access unit");
            (unit.kind(), unit.data.clone(), unit.access)
        });
        let mut units: Vec<_> = units.collect();
        units.sort_by_key(|unit| unit.0 == MediaKind::Audio);
        units
    };
    let (whole, fragments) = (units("whole_b_frames"), units("fragments"));
    assert_eq!(whole, fragments);
    let starts = whole.iter().filter(|unit| unit.0 == MediaKind::Video && unit.2 != RandomAccess::None).count();
    assert_eq!(whole.iter().filter(|unit| unit.0 == MediaKind::Video).count(), 10);
    assert_eq!(starts, 2, "a key frame every half second");
}

#[test]
fn zero_is_what_a_player_shows_first() {
    for name in ["whole_b_frames", "opus"] {
        let (mut movie, samples) = read(&file(name));
        assert!(movie.has(MediaKind::Video) && movie.has(MediaKind::Audio));
        let mut first_us = [i64::MAX; 2];
        for (sample, data) in &samples {
            let unit = movie.unit(sample, data.clone()).expect("an access unit");
            let first_us = &mut first_us[usize::from(unit.kind() == MediaKind::Audio)];
            *first_us = unit.pts_us.min(*first_us);
        }
        let [picture_us, sound_us] = first_us;
        assert_eq!(picture_us, 0, "{name}: B-frames delay nothing");
        // What an encoder of sound puts in front lies before the first picture.
        assert!((0..=30_000).contains(&(picture_us - sound_us)), "{name}: {sound_us} us to {picture_us} us");
        assert!(samples.windows(2).all(|pair| pair[0].0.dts_us <= pair[1].0.dts_us), "{name}");
    }
}

#[test]
fn a_moov_that_is_none_is_refused_by_name() {
    let whole = file("whole_b_frames");
    let moov = boxes(&whole).map(|found| found.expect("whole")).find(|found| &found.kind == b"moov").expect("a moov");
    let cut = Movie::parse(&whole[moov.start..moov.end - 40]).expect_err("refused");
    assert_eq!(cut.to_string(), "the media is malformed: its moov cannot be read");
}
