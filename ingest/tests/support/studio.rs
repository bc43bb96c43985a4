//! A packager, fed by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use mp4_atom::{Decode as _, Moof};
use streams_ingest::{AccessUnit, CodecConfig, Output, Packager, PackagerConfig};

use super::units::{aac, aac_ms, audio, avc, video};
use super::{START_UNIX_MS, objects};

/// A packager with hand-made units in front and everything it put out behind.
pub struct Studio {
    pub packager: Packager,
    pub outputs: Vec<Output>,
    pub video: Arc<CodecConfig>,
    pub audio: Arc<CodecConfig>,
}

impl Studio {
    pub fn new() -> Self {
        Self::with(PackagerConfig::default())
    }

    pub fn with(config: PackagerConfig) -> Self {
        Self { packager: Packager::new(config), outputs: Vec::new(), video: avc(), audio: aac() }
    }

    /// Pushes at the server's time that the unit's own time says.
    pub fn push(&mut self, unit: AccessUnit) {
        let unix_ms = START_UNIX_MS + u64::try_from(unit.dts_us / 1000).expect("broadcast time");
        self.packager.push(unix_ms, unit);
        self.drain();
    }

    pub fn video(&mut self, dts_ms: i64, key: bool) {
        let unit = video(&self.video, dts_ms, key);
        self.push(unit);
    }

    pub fn audio(&mut self, dts_ms: i64) {
        let unit = audio(&self.audio, dts_ms);
        self.push(unit);
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.packager.poll_output() {
            self.outputs.push(output);
        }
    }

    /// Two seconds of both tracks from `from_ms`, interleaved, key frames at `keys_ms`.
    pub fn play(&mut self, from_ms: i64, until_ms: i64, keys_ms: &[i64]) {
        let first_audio = from_ms * 48 / 1024;
        let mut frames = (first_audio..).map(aac_ms).skip_while(|dts_ms| *dts_ms < from_ms).peekable();
        for dts_ms in (from_ms..until_ms).step_by(40) {
            self.video(dts_ms, keys_ms.contains(&dts_ms));
            while let Some(audio_ms) = frames.next_if(|audio_ms| *audio_ms < dts_ms + 40) {
                self.audio(audio_ms);
            }
        }
    }

    pub fn objects(&self, track: &str) -> Vec<(u64, u64, bytes::Bytes)> {
        objects(&self.outputs, track)
    }

    /// Sample flags of every frame.
    pub fn flags(&self) -> Vec<u32> {
        self.objects("video/720p").iter().map(|(_, _, chunk)| flags(chunk)).collect()
    }

    /// Sample flags of the first frame of every video group.
    pub fn openers(&self) -> Vec<u32> {
        self.objects("video/720p").iter().filter(|object| object.1 == 0).map(|(_, _, chunk)| flags(chunk)).collect()
    }

    /// Group ids of a track with the number of objects in each.
    pub fn groups(&self, track: &str) -> Vec<(u64, usize)> {
        let mut groups = BTreeMap::new();
        for (group, _, _) in self.objects(track) {
            *groups.entry(group).or_insert(0) += 1;
        }
        groups.into_iter().collect()
    }
}

/// The `moof` of a chunk; panics when something other than one `moof` and one `mdat` is in it.
pub fn moof(mut chunk: &[u8]) -> Moof {
    let whole = chunk;
    let moof = Moof::decode(&mut chunk).expect("a moof first");
    let (header, data) = chunk.split_at(8);
    assert_eq!(&header[4..], b"mdat");
    assert_eq!(u32::from_be_bytes(header[..4].try_into().expect("four bytes")) as usize, chunk.len(), "only an mdat");
    let samples: usize = moof.traf[0].trun[0].samples.iter().map(|sample| sample.size.expect("a size") as usize).sum();
    assert_eq!(samples, data.len());
    let offset = moof.traf[0].trun[0].data_offset.expect("an offset") as usize;
    assert_eq!(whole.len() - data.len(), offset);
    moof
}

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1): a sync sample; none; none, and leading with a dependency.
pub const SYNC: u32 = 0x0200_0000;
pub const DELTA: u32 = 0x0101_0000;
pub const LEADING: u32 = 0x0501_0000;

pub fn flags(chunk: &[u8]) -> u32 {
    moof(chunk).traf[0].trun[0].samples.get(0).and_then(|sample| sample.flags).expect("flags")
}

pub fn tfdt(chunk: &[u8]) -> u64 {
    moof(chunk).traf[0].tfdt.as_ref().expect("a tfdt").base_media_decode_time
}
