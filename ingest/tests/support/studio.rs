//! A packager, fed by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use streams_ingest::{Output, Packager, PackagerConfig};
use streams_media::fmp4::{self, Chunk, Sample, SampleDefaults, SampleFlags};
use streams_media::{AccessUnit, CodecConfig};

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

    pub fn objects(&self, track: &str) -> Vec<(u64, u64, Bytes)> {
        objects(&self.outputs, track)
    }

    /// Sample flags of every frame.
    pub fn flags(&self) -> Vec<SampleFlags> {
        self.objects("video/720p").iter().map(|(_, _, chunk)| flags(chunk)).collect()
    }

    /// Sample flags of the first frame of every video group.
    pub fn openers(&self) -> Vec<SampleFlags> {
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

/// The samples of a chunk; panics when there is something else than one `moof` and one `mdat` that holds them and no more.
pub fn samples(chunk: &Bytes) -> Vec<Sample> {
    let kinds: Vec<_> = fmp4::boxes(chunk).map(|found| found.expect("whole boxes").kind).collect();
    assert_eq!(kinds, [*b"moof", *b"mdat"]);
    let chunk = read(chunk);
    let samples = chunk.samples().expect("inside of the chunk");
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.data.to_vec()).collect();
    assert_eq!(data, chunk.payload());
    samples
}

/// A chunk says everything itself.
pub fn read(chunk: &Bytes) -> Chunk {
    Chunk::parse(chunk, SampleDefaults::default()).expect("a chunk")
}

pub fn flags(chunk: &Bytes) -> SampleFlags {
    read(chunk).flags
}

pub fn tfdt(chunk: &Bytes) -> u64 {
    read(chunk).decode_time
}
