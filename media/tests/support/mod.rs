//! Segments made by hand: as small as a reader allows, every flag as the test wants it.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;

/// `sample_is_non_sync_sample`.
pub const NON_SYNC: u32 = 0x0001_0000;
/// `is_leading` 1.
pub const LEADING: u32 = 0x0400_0000;

/// A box with these bodies, one behind the other.
pub fn boxed(kind: &[u8; 4], bodies: &[&[u8]]) -> Vec<u8> {
    let body = bodies.concat();
    let len = u32::try_from(body.len() + 8).unwrap();
    [&len.to_be_bytes()[..], kind, &body].concat()
}

/// 32-bit numbers.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An init segment whose samples have these flags unless they say otherwise.
pub fn init(timescale: u32, default_flags: u32) -> Bytes {
    let stsd = boxed(b"stsd", &[&words(&[0, 0])]);
    let minf = boxed(b"minf", &[&boxed(b"stbl", &[&stsd])]);
    let mdia = boxed(b"mdia", &[&boxed(b"mdhd", &[&words(&[0, 0, 0, timescale, 0, 0])]), &minf]);
    let trak = boxed(b"trak", &[&boxed(b"tkhd", &[&words(&[0, 0, 0, 1, 0])]), &mdia]);
    let mvex = boxed(b"mvex", &[&boxed(b"trex", &[&words(&[0, 1, 1, 0, 0, default_flags])])]);
    boxed(b"moov", &[&boxed(b"mvhd", &[&words(&[0; 25])]), &trak, &mvex]).into()
}

/// Where a chunk says what flags its sample has.
#[derive(Debug, Clone, Copy)]
pub enum Flags {
    /// In the sample's own entry of the `trun`.
    Sample(u32),
    /// In the `trun`'s field for its first sample.
    First(u32),
    /// In the `tfhd`, for all samples of the fragment.
    Fragment(u32),
    /// Nowhere.
    Unsaid,
}

/// A chunk with one sample at `time`, of `duration` ticks.
pub fn chunk(time: u64, duration: u32, flags: Flags) -> Bytes {
    let (tfhd, trun) = match flags {
        Flags::Sample(flags) => (words(&[0x02_0000, 1]), words(&[0x0501, 1, 0, duration, flags])),
        Flags::First(flags) => (words(&[0x02_0000, 1]), words(&[0x0105, 1, 0, flags, duration])),
        Flags::Fragment(flags) => (words(&[0x02_0038, 1, 9, 9, flags]), words(&[0x0101, 1, 0, duration])),
        Flags::Unsaid => (words(&[0x02_0000, 1]), words(&[0x0101, 1, 0, duration])),
    };
    let tfdt = [&words(&[0x0100_0000])[..], &time.to_be_bytes()].concat();
    let traf = boxed(b"traf", &[&boxed(b"tfhd", &[&tfhd]), &boxed(b"tfdt", &[&tfdt]), &boxed(b"trun", &[&trun])]);
    let moof = boxed(b"moof", &[&boxed(b"mfhd", &[&words(&[0, 1])]), &traf]);
    [moof, boxed(b"mdat", &[b"x"])].concat().into()
}
