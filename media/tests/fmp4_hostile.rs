//! Boxes that lie: nothing panics, and nothing costs more than its bytes.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use streams_media::MediaError;
use streams_media::fmp4::{Chunk, InitSegment, Sample, SampleDefaults, SampleFlags, boxes, merge, write_chunk};
use support::{Flags, boxed, words};

/// Reading takes microseconds; a machine that is busy with other tests may take long breaks.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two chunks in one object, so that there is something behind every box.
fn object() -> Bytes {
    let sample = |len| Sample { duration: 9, flags: SampleFlags::DELTA, composition: -3, data: vec![7; len].into() };
    let chunk = |samples: &[Sample]| write_chunk(2, 1, 1 << 40, samples).expect("written");
    [chunk(&[sample(5), sample(0)]), chunk(&[sample(3)])].concat().into()
}

/// Everything that can be asked of an object.
fn read(bytes: Bytes) -> Result<Chunk, MediaError> {
    let began = Instant::now();
    let _ = InitSegment::parse(&bytes).map(|init| merge(&[&init, &init]));
    let chunk = Chunk::parse(&bytes, SampleDefaults { duration: u32::MAX, size: 1, flags: SampleFlags::SYNC });
    if let Ok(chunk) = &chunk {
        let _ = chunk.samples().map(|samples| assert!(samples.len() <= 65_536));
        let _ = (chunk.payload(), chunk.rewrite(3, &mut 0, |time| time.wrapping_add(1)));
    }
    assert!(began.elapsed() < PATIENCE);
    chunk
}

#[test]
fn an_object_or_init_segment_that_is_cut_short_is_refused() {
    let object = support::chunk(7, 40, Flags::Sample(0));
    for len in 0..object.len() {
        assert!(read(object.slice(..len)).is_err(), "{len}");
    }
    let init = support::init(1000, 0);
    for len in 0..init.len() {
        assert!(InitSegment::parse(&init.slice(..len)).is_err(), "{len}");
    }
}

#[test]
fn every_byte_at_its_extremes_is_read_or_refused() {
    let (object, init) = (object(), support::init(1000, 0));
    for whole in [object, init] {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[at] = value;
                let _ = read(damaged.into());
            }
        }
    }
}

#[test]
fn lengths_beyond_the_buffer_are_refused() {
    let huge = |len: u64| [&words(&[1])[..], b"moof", &len.to_be_bytes(), &[0; 64]].concat();
    for len in [0, 15, 1 << 32, u64::MAX, u64::MAX - 15, i64::MAX as u64] {
        assert!(read(huge(len).into()).is_err(), "{len}");
    }
    for len in [7, 0x7fff_ffff, 0xffff_ffff] {
        assert!(read([&words(&[len])[..], b"moof", &[0; 64]].concat().into()).is_err(), "{len}");
    }
}

#[test]
fn a_run_cannot_claim_more_samples_than_it_describes() {
    let with_run = |run: &[u32]| {
        let tfdt = boxed(b"tfdt", &[&words(&[0x0100_0000, 0, 5])]);
        let tfhd = boxed(b"tfhd", &[&words(&[0x02_0000, 1])]);
        let traf = boxed(b"traf", &[&tfhd, &tfdt, &boxed(b"trun", &[&words(run)])]);
        let moof = boxed(b"moof", &[&boxed(b"mfhd", &[&words(&[0, 1])]), &traf]);
        read([moof, boxed(b"mdat", &[b"x"])].concat().into()).map(|chunk| chunk.end_time)
    };
    // With a table, it has to fit; without one, a chunk has 65,536 samples at most.
    for count in [2, 65_536, u32::MAX] {
        assert!(with_run(&[0x101, count, 0, 40]).is_err(), "{count}");
    }
    assert_eq!(with_run(&[0x101, 1, 0, 40]).expect("one sample"), 45);
    assert_eq!(with_run(&[0x001, 65_536, 0]).expect("the most"), 5 + 65_536 * u64::from(u32::MAX));
    for count in [65_537, u32::MAX] {
        assert!(with_run(&[0x001, count, 0]).is_err(), "{count}");
    }
}

#[test]
fn samples_outside_of_the_object_are_refused_when_they_are_asked_for() {
    let object = support::chunk(7, 40, Flags::Sample(0));
    for offset in [i32::MIN, -1, i32::MAX] {
        // The offset of the handmade chunk is the first field behind the number of samples.
        let trun = object.windows(4).position(|kind| kind == b"trun").expect("a run");
        let mut moved = object.to_vec();
        moved[trun + 12..trun + 16].copy_from_slice(&offset.to_be_bytes());
        let chunk = Chunk::parse(&moved.into(), SampleDefaults { size: 1, ..SampleDefaults::default() });
        assert!(chunk.expect("its times are right").samples().is_err(), "{offset}");
    }
}

#[test]
fn nesting_and_crowds_of_boxes_cost_what_their_bytes_do() {
    let nested = (0..5_000).fold(Vec::new(), |inner, _| boxed(b"moof", &[&inner]));
    assert!(read(nested.into()).is_err());
    let crowd = boxed(b"free", &[]).repeat(1_000_000);
    assert!(matches!(read(crowd.clone().into()), Err(MediaError::Malformed("more boxes than any segment has"))));
    assert_eq!(boxes(&crowd).filter(Result::is_ok).count(), 4096);
    let moov = boxed(b"moov", &[&crowd]);
    assert!(read(moov.into()).is_err());
}

proptest! {
    #[test]
    fn noise_and_damaged_objects_are_read_or_refused(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let _ = read(noise.into());
        let mut damaged = object().to_vec();
        for (at, value) in edits {
            let at = at.index(damaged.len());
            damaged[at] = value;
        }
        let _ = read(damaged.into());
    }
}
