//! What was written is what is read, by our reader and by another one.

mod support;

use bytes::Bytes;
use mp4_atom::{Decode as _, Moof};
use proptest::prelude::*;
use streams_media::fmp4::{
    AUDIO_TRACK_ID, Chunk, InitSegment, Sample, SampleDefaults, SampleFlags, VIDEO_TIMESCALE, boxes, merge,
    same_decoder, write_audio_init, write_chunk, write_video_init,
};
use streams_media::{AacConfig, AvcConfig, CodecConfig};
use support::{Flags, LEADING, NON_SYNC};

/// H.264 Main, 1280x720.
const RECORD: &[u8] = &[
    0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0x80,
];

fn video_init() -> Bytes {
    let avc = AvcConfig::parse(Bytes::from_static(RECORD)).expect("a valid record");
    write_video_init(&CodecConfig::Avc(avc)).expect("written")
}

fn audio_init() -> Bytes {
    let aac = AacConfig::parse(Bytes::from_static(&[0x12, 0x10])).expect("a valid configuration");
    write_audio_init(&CodecConfig::Aac(aac)).expect("written")
}

fn sample() -> impl Strategy<Value = Sample> {
    let data = prop::collection::vec(any::<u8>(), 0..200);
    (any::<u32>(), any::<u32>(), any::<i32>(), data).prop_map(|(duration, flags, composition, data)| Sample {
        duration,
        flags: SampleFlags(flags),
        composition,
        data: data.into(),
    })
}

fn kinds(segment: &[u8]) -> Vec<[u8; 4]> {
    boxes(segment).map(|found| found.expect("whole boxes").kind).collect()
}

proptest! {
    #[test]
    fn samples_are_read_as_they_were_written(
        track_id in any::<u32>(),
        sequence in any::<u32>(),
        tfdt in any::<u64>(),
        samples in prop::collection::vec(sample(), 1..12),
    ) {
        let written = write_chunk(track_id, sequence, tfdt, &samples).expect("written");
        // What every sample says itself is taken, whatever the defaults are.
        let defaults = SampleDefaults { duration: 1, size: 2, flags: SampleFlags(3) };
        let chunk = Chunk::parse(&written, defaults).expect("read");
        prop_assert_eq!(&chunk.samples().expect("inside"), &samples);
        let durations = samples.iter().map(|sample| u64::from(sample.duration));
        prop_assert_eq!(chunk.decode_time, tfdt);
        prop_assert_eq!(chunk.end_time, durations.clone().fold(tfdt, u64::saturating_add));
        prop_assert_eq!(chunk.last_decode_time, durations.take(samples.len() - 1).fold(tfdt, u64::saturating_add));
        prop_assert_eq!(chunk.flags, samples[0].flags);
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.data.to_vec()).collect();
        prop_assert_eq!(&chunk.payload()[..], &data[..]);

        let moof = Moof::decode(&mut &written[..]).expect("another reader takes it");
        prop_assert_eq!(moof.traf[0].tfhd.track_id, track_id);
        prop_assert_eq!(moof.traf[0].trun[0].samples.len(), samples.len());
    }

    #[test]
    fn a_chunk_in_another_file_has_its_samples_at_another_time(
        tfdt in 0..u64::MAX / 2,
        later in 0..u64::MAX / 2,
        samples in prop::collection::vec(sample(), 1..4),
    ) {
        let written = write_chunk(1, 1, tfdt, &samples).expect("written");
        let chunk = Chunk::parse(&written, SampleDefaults::default()).expect("read");
        let mut sequence = 7;
        let moved = chunk.rewrite(9, &mut sequence, |time| time + later).expect("moved");
        prop_assert_eq!(sequence, 8);
        let again = Chunk::parse(&moved, SampleDefaults::default()).expect("read again");
        prop_assert_eq!(again.decode_time, tfdt + later);
        prop_assert_eq!(again.samples().expect("inside"), samples);
        let moof = Moof::decode(&mut &moved[..]).expect("another reader takes it");
        prop_assert_eq!((moof.mfhd.sequence_number, moof.traf[0].tfhd.track_id), (8, 9));
    }
}

#[test]
fn several_fragments_of_an_object_are_one_row_of_samples() {
    let sample =
        |byte: u8| Sample { duration: 10, flags: SampleFlags::SYNC, composition: 0, data: Bytes::from(vec![byte; 3]) };
    let pieces: Vec<Bytes> =
        [(1, 100), (2, 110)].map(|(byte, tfdt)| write_chunk(2, 1, tfdt, &[sample(byte)]).expect("written")).into();
    let object = Bytes::from(pieces.concat());
    let chunk = Chunk::parse(&object, SampleDefaults::default()).expect("read");
    assert_eq!((chunk.decode_time, chunk.last_decode_time, chunk.end_time), (100, 110, 120));
    assert_eq!(chunk.samples().expect("inside"), [sample(1), sample(2)]);
}

#[test]
fn a_sample_has_the_flags_of_the_nearest_box_that_says_some() {
    let defaults = InitSegment::parse(&support::init(1000, NON_SYNC)).expect("an init segment").defaults;
    let parsed = |flags, defaults| {
        let chunk = Chunk::parse(&support::chunk(7, 40, flags), defaults).expect("a chunk");
        assert_eq!((chunk.decode_time, chunk.end_time), (7, 47));
        (chunk.flags.is_sync(), chunk.flags.is_leading())
    };
    assert_eq!(parsed(Flags::Unsaid, defaults), (false, false));
    assert_eq!(parsed(Flags::Unsaid, SampleDefaults::default()), (true, false));
    for said in [Flags::Sample, Flags::First, Flags::Fragment] {
        assert_eq!(parsed(said(0), defaults), (true, false), "{:?}", said(0));
        assert_eq!(parsed(said(NON_SYNC | LEADING), defaults), (false, true), "{:?}", said(0));
        // Values 2 and 3: no leading picture, and one that can be decoded.
        assert_eq!(parsed(said(2 * LEADING), defaults), (true, false));
        assert_eq!(parsed(said(3 * LEADING), defaults), (true, false));
    }
}

#[test]
fn init_segments_tell_their_timescale_and_what_samples_are_by_default() {
    let (video, audio) = (video_init(), audio_init());
    let read = |segment| InitSegment::parse(segment).expect("an init segment");
    assert_eq!((read(&video).timescale, read(&audio).timescale), (VIDEO_TIMESCALE, 44_100));
    assert_eq!(read(&video).defaults.flags, SampleFlags::DELTA);
    assert_eq!(read(&audio).defaults.flags, SampleFlags::SYNC);
    assert_eq!(read(&video).time(135_000).as_millis(), 1500);
    assert!(same_decoder(&video, &video).expect("two init segments"));
    assert!(!same_decoder(&video, &audio).expect("two init segments"));
}

#[test]
fn two_tracks_become_one_file_with_numbers_of_their_own() {
    let inits = [video_init(), audio_init()].map(|segment| InitSegment::parse(&segment).expect("an init segment"));
    let merged = merge(&[&inits[0], &inits[1]]).expect("merged");
    assert_eq!(kinds(&merged), [*b"ftyp", *b"moov"]);
    let mut rest = &merged[..];
    mp4_atom::Ftyp::decode(&mut rest).expect("a file type");
    let moov = mp4_atom::Moov::decode(&mut rest).expect("another reader takes it");
    let tracks: Vec<u32> = moov.trak.iter().map(|trak| trak.tkhd.track_id).collect();
    let defaults: Vec<u32> = moov.mvex.expect("fragments").trex.iter().map(|trex| trex.track_id).collect();
    assert_eq!((tracks, defaults, moov.mvhd.next_track_id), (vec![1, AUDIO_TRACK_ID], vec![1, AUDIO_TRACK_ID], 3));
    assert!(InitSegment::parse(&merged).is_err(), "a segment of one track is wanted");
}
